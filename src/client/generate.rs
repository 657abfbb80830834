//! Answers and embeddings.

use super::{Client, ClientError, Lines};
use crate::api::ollama::{
    ChatRequest, ChatResponse, EmbedRequest, EmbedResponse, GenerateRequest, GenerateResponse,
};

impl Client {
    /// Continues a prompt; also loads (empty prompt) and unloads (and keep-alive 0) a model.
    ///
    /// # Errors
    /// Fails when the daemon refuses; the stream itself may fail later.
    pub async fn generate(
        &self,
        request: &GenerateRequest,
    ) -> Result<Lines<GenerateResponse>, ClientError> {
        self.post_stream("/api/generate", request).await
    }

    /// Answers a conversation.
    ///
    /// # Errors
    /// See [`Self::generate`].
    pub async fn chat(&self, request: &ChatRequest) -> Result<Lines<ChatResponse>, ClientError> {
        self.post_stream("/api/chat", request).await
    }

    /// Turns texts into vectors.
    ///
    /// # Errors
    /// Fails when the daemon refuses.
    pub async fn embed(&self, request: &EmbedRequest) -> Result<EmbedResponse, ClientError> {
        self.post("/api/embed", request).await
    }
}
