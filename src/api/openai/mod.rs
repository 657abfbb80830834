//! OpenAI's wire types (<https://github.com/openai/openai-openapi>), as far as Ollama serves them and the
//! official clients read them.
//!
//! Requests only decode and responses only encode: the daemon never calls these routes. Fields whose errors need
//! Ollama's texts (`content`, `stop`, `input`, …) stay JSON, and the dialect parses them. Keys are emitted
//! in Ollama's order.

mod arguments;
mod batch;
mod chat;
mod completion;
mod content;
mod decision;
mod embedding;
mod error;
mod file;
mod models;
pub mod responses;
mod shared;
mod stored;
mod timings;
mod transcription;

pub use arguments::Arguments;
pub use batch::{
    BatchError, BatchErrors, BatchInputDetails, BatchObject, BatchOutputDetails, BatchRequest,
    BatchUsage, RequestCounts,
};
pub use chat::{
    AnswerMessage, AnswerToolCall, CallDelta, CalledFunction, ChatChoice, ChatChunk,
    ChatCompletion, ChatRequest, ChunkChoice, Delta, FunctionDelta, JsonSchemaFormat, Message,
    Prediction, Reasoning, ResponseFormat, TemplateArguments, ToolCall, ToolCallFunction,
};
pub use completion::{
    Completion, CompletionChoice, CompletionChunk, CompletionLogprobs, CompletionRequest,
};
pub use content::{Content, File, Part};
pub use decision::{
    ChoiceProbability, Decision, DecisionAnswer, DecisionChoice, DecisionLevel, DecisionQuestion,
    DecisionRequest, LevelProbability,
};
pub use embedding::{
    Embedding, EmbeddingItem, EmbeddingRequest, EmbeddingResponse, EmbeddingUsage,
};
pub use error::{ErrorBody, ErrorDetail};
pub use file::{
    CompleteRequest, Deleted, ExpiresAfter, FileObject, Page, PartObject, UploadObject,
    UploadRequest,
};
pub use models::{Model, ModelList};
pub use shared::{
    CompletionTokensDetails, FinishReason, Guided, Logprobs, PromptTokensDetails, StreamOptions,
    TokenLogprob, TopLogprob, Usage,
};
pub use stored::{ChatSettings, ChatUpdate, StoredCall, StoredChat, StoredMessage};
pub use timings::Timings;
pub use transcription::{Transcription, TranscriptionRequest};
