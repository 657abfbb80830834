//! Anthropic's wire types (<https://docs.anthropic.com/en/api/messages>), as far as drover serves them and
//! the official clients read them.
//!
//! Requests only decode and responses only encode: the daemon never calls these routes. Unknown fields are
//! ignored: clients send many that concern Anthropic's own service.

mod answer;
mod batches;
mod content;
mod error;
mod models;
mod request;

pub use answer::{
    BlockDelta, ContentBlock, Event, Message, MessageDelta, OutputTokensDetails, StopReason,
    TokenCount, Usage,
};
pub use batches::{MessageBatch, MessageBatchCounts, MessageBatchDeleted, MessageBatchList};
pub use content::{Block, Content, Part, Source, SourceData, TextBlock};
pub use error::{ErrorBody, ErrorDetail};
pub use models::{Model, ModelList};
pub use request::{
    MessagesRequest, OutputConfig, OutputFormat, RequestMessage, Thinking, Tool, ToolChoice,
};
