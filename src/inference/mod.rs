//! The use cases: chat, generate, embed, load, unload; native types in, chunks out.

// STUB (owner: integrator)

pub mod types;

use std::pin::Pin;
use std::sync::Arc;

use futures_util::Stream;

use crate::config::Config;
use crate::scheduler::SchedulerHandle;
use crate::store::Store;
pub use types::{
    ChatRequest, Chunk, Done, DoneReason, EmbedRequest, EmbedResponse, GenerateRequest,
    InferenceError, InferenceErrorKind, Logprob, RequestOptions, Timings, TopLogprob,
};

/// The pieces of an answer; exactly one has `done`, the last. Dropping it cancels the work.
pub type ChunkStream = Pin<Box<dyn Stream<Item = Result<Chunk, InferenceError>> + Send>>;

/// What the endpoints call; cheap to clone.
#[derive(Debug, Clone)]
pub struct Inference {
    pub store: Store,
    pub scheduler: SchedulerHandle,
    pub config: Arc<Config>,
}

impl Inference {
    /// Chat; an empty message list loads (or, with a keep-alive of zero, unloads) the model:
    /// then the stream has one chunk with `DoneReason::Load` or `Unload`.
    /// Resolves when the engine has accepted the prompt.
    ///
    /// # Errors
    /// Everything that is known before the first token.
    pub async fn chat(&self, _request: ChatRequest) -> Result<ChunkStream, InferenceError> {
        todo!()
    }

    /// Generate; an empty prompt loads or unloads, as in [`Self::chat`].
    ///
    /// # Errors
    /// Everything that is known before the first token.
    pub async fn generate(&self, _request: GenerateRequest) -> Result<ChunkStream, InferenceError> {
        todo!()
    }

    /// Embeddings; an empty input list only loads.
    ///
    /// # Errors
    /// See [`InferenceError`].
    pub async fn embed(&self, _request: EmbedRequest) -> Result<EmbedResponse, InferenceError> {
        todo!()
    }
}
