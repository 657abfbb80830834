//! OpenAI's routes with a model that answers.

mod answers;
mod batches;
mod call_parts;
mod chats;
mod clients;
mod decisions;
mod extra;
mod fields;
mod files;
mod killed;
mod prompt_logprobs;
mod responses;
#[cfg(feature = "llama")]
mod sound;

use serde_json::{Value, json};

use crate::support::TestServer;

/// The vector of an input from the model `embed`.
async fn embed(server: &TestServer, input: Value) -> Value {
    let body = json!({"model": "embed", "input": input});
    server.post("/v1/embeddings", &body).await.ok().json()
}
