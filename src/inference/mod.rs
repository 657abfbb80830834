//! The use cases: chat, generate, embed, load, unload; native types in, chunks out.
//!
//! *Invariant:* nothing here knows a wire format, and nothing here blocks the runtime: the store is read on
//! the blocking pool, and llama.cpp and models' templates run in other processes.

mod answer;
mod calls;
mod chat;
pub mod chat_format;
mod context;
mod deadline;
pub mod decide;
mod echo;
mod embed;
mod engine_words;
mod error;
mod files;
mod fit;
mod forced;
mod format;
mod generate;
pub mod history;
mod images;
mod load;
mod params;
mod permit;
mod prepare;
mod refusal;
mod render;
mod rerank;
mod sampling;
mod spec;
#[cfg(test)]
mod tests;
mod tokens;
pub mod truncate;
pub mod types;
mod waiting;

use std::sync::Arc;

use crate::keys::Keys;
use crate::protocol::Token;
use crate::runner_client::Tokenize;
use crate::scheduler::{Fit, SchedulerHandle};
use crate::store::Store;
use crate::workers::Workers;
pub use fit::FitRequest;
pub use params::bounded_n_predict;

use chat_format::ChatFormats;
use context::Context;
pub use deadline::{after, earlier, exceeded, timeout};
use decide::{DecideRequest, Decisions};
use error::RequestError;
pub use permit::no_access;
#[cfg(any(test, fuzzing))]
pub use spec::place_header;
pub use types::{
    ChatRequest, Chunk, ChunkStream, Done, DoneReason, Echo, EmbedRequest, EmbedResponse,
    GenerateRequest, Logprob, MustCall, Pair, PromptToken, RequestOptions, RerankRequest,
    RerankResponse, Started, Timings, TopLogprob,
};
pub use waiting::{Place, Waiting};

/// The use cases; cheap to clone.
#[derive(Debug, Clone)]
pub struct Inference(Context);

impl Inference {
    /// Makes the use cases; `wants_template` is `OLLAMA_GO_TEMPLATE`.
    pub fn new(
        store: Store,
        scheduler: SchedulerHandle,
        workers: Workers,
        keys: Keys,
        wants_template: Option<bool>,
    ) -> Self {
        Self(Context {
            store,
            scheduler,
            formats: Arc::new(ChatFormats::new(wants_template)),
            files: Arc::default(),
            workers,
            keys,
        })
    }

    /// Stops rendering prompts.
    pub fn close(&self) {
        self.0.workers.close();
    }

    /// Chat; an empty message list loads (or, with a keep-alive of zero, unloads) the model:
    /// then the stream has one chunk with `DoneReason::Load` or `Unload`.
    /// Resolves when the engine has accepted the prompt.
    ///
    /// # Errors
    /// All errors that occur before the first token.
    pub async fn chat(&self, request: ChatRequest) -> Result<ChunkStream, RequestError> {
        Ok(self.start_chat(request).await?.chunks)
    }

    /// Like [`Self::chat`], with the length of the prompt.
    ///
    /// # Errors
    /// All errors that occur before the first token.
    pub async fn start_chat(&self, request: ChatRequest) -> Result<Started, RequestError> {
        let deadline = request.common.deadline;
        let started = deadline::within(deadline, Box::pin(chat::run(&self.0, request))).await?;
        Ok(Started {
            chunks: deadline::until(deadline, started.chunks),
            ..started
        })
    }

    /// Counts the tokens of a request's prompt, tools and images included. Loads the model.
    ///
    /// # Errors
    /// See [`RequestError`].
    pub async fn count_tokens(&self, request: ChatRequest) -> Result<u32, RequestError> {
        let deadline = request.common.deadline;
        deadline::within(deadline, Box::pin(chat::count(&self.0, request))).await
    }

    /// Generate; an empty prompt loads or unloads, as in [`Self::chat`].
    ///
    /// # Errors
    /// All errors that occur before the first token.
    pub async fn generate(&self, request: GenerateRequest) -> Result<ChunkStream, RequestError> {
        let deadline = request.common.deadline;
        let chunks = deadline::within(deadline, Box::pin(generate::run(&self.0, request))).await?;
        Ok(deadline::until(deadline, chunks))
    }

    /// Scores how well documents match queries.
    ///
    /// # Errors
    /// See [`RequestError`].
    pub async fn rerank(&self, request: RerankRequest) -> Result<RerankResponse, RequestError> {
        let deadline = request.common.deadline;
        deadline::within(deadline, Box::pin(rerank::run(&self.0, request))).await
    }

    /// Answers typed questions by probabilities.
    ///
    /// # Errors
    /// See [`RequestError`].
    pub async fn decide(&self, request: DecideRequest) -> Result<Decisions, RequestError> {
        let deadline = request.common.deadline;
        deadline::within(deadline, Box::pin(decide::run(&self.0, request))).await
    }

    /// Turns a text into tokens. Loads the model.
    ///
    /// # Errors
    /// See [`RequestError`].
    pub async fn tokenize(
        &self,
        common: RequestOptions,
        question: Tokenize,
    ) -> Result<Vec<Token>, RequestError> {
        tokens::tokenize(&self.0, common, question).await
    }

    /// Turns tokens into a text, special tokens printed. Loads the model.
    ///
    /// # Errors
    /// See [`RequestError`].
    pub async fn detokenize(
        &self,
        common: RequestOptions,
        tokens: Vec<Token>,
    ) -> Result<String, RequestError> {
        tokens::detokenize(&self.0, common, tokens).await
    }

    /// Says where a model would be loaded, without loading it.
    ///
    /// # Errors
    /// See [`RequestError`].
    pub async fn fit(&self, request: FitRequest) -> Result<Fit, RequestError> {
        fit::run(&self.0, request).await
    }

    /// Embeddings; an empty input list only loads.
    ///
    /// # Errors
    /// See [`RequestError`].
    pub async fn embed(&self, request: EmbedRequest) -> Result<EmbedResponse, RequestError> {
        let deadline = request.common.deadline;
        deadline::within(deadline, Box::pin(embed::run(&self.0, request))).await
    }
}
