//! `POST /v1/embeddings`

use axum::extract::State;
use axum::response::Response;

use super::answer;
use crate::api::openai::EmbeddingRequest;
use crate::dialect::openai::embedding;
use crate::server::error::OpenAiError;
use crate::server::extract::{Client, OpenAiJson};
use crate::server::state::App;
use crate::server::stream::to_bytes;

pub(super) async fn embeddings(
    State(app): State<App>,
    client: Client,
    OpenAiJson(request): OpenAiJson<EmbeddingRequest>,
) -> Result<Response, OpenAiError> {
    let model = request.model.clone();
    let (mut native, encoding) = embedding::request(request)?;
    client.mark(&mut native.common);
    let vectors = app.inference.embed(native).await?;
    // Many long vectors are megabytes of text.
    let spelling = app
        .tasks
        .spawn_blocking(move || to_bytes(&embedding::response(model, vectors, encoding)));
    Ok(answer(spelling.await?))
}
