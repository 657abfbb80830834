//! OpenAI's wire types, as far as Ollama serves them and the official clients read them
//! (OpenAI specification A.1 to A.5, B.1 to B.4).
//!
//! Requests only decode, answers only encode: the daemon never calls these routes. Values whose
//! mistakes have a text of Ollama's (`content`, `stop`, `input`, …) stay JSON; the dialect reads
//! them. Keys are emitted in Ollama's order.

mod arguments;
mod chat;
mod completion;
mod content;
mod embedding;
mod error;
mod models;
mod shared;
mod transcription;

pub use arguments::Arguments;
pub use chat::{
    AnswerMessage, AnswerToolCall, CalledFunction, ChatChoice, ChatChunk, ChatCompletion,
    ChatRequest, ChunkChoice, Delta, JsonSchemaFormat, Message, Reasoning, ResponseFormat,
    ToolCall, ToolCallFunction,
};
pub use completion::{
    Completion, CompletionChoice, CompletionChunk, CompletionLogprobs, CompletionRequest,
};
pub use content::{Content, File, Part};
pub use embedding::{
    Embedding, EmbeddingItem, EmbeddingRequest, EmbeddingResponse, EmbeddingUsage,
};
pub use error::{ErrorBody, ErrorDetail};
pub use models::{Model, ModelList};
pub use shared::{
    CompletionTokensDetails, FinishReason, Guided, Logprobs, PromptTokensDetails, StreamOptions,
    TokenLogprob, TopLogprob, Usage,
};
pub use transcription::{Transcription, TranscriptionRequest};
