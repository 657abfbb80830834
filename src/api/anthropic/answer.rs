//! A message as the answer to a request, and the events that build it.

use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

/// The whole answer.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = anthropic::Message)]
pub struct Message {
    pub id: String,
    /// `message`
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// `assistant`
    pub role: &'static str,
    /// The name as the client sent it.
    pub model: String,
    pub content: Vec<ContentBlock>,
    /// `None` while the answer is in progress.
    #[schema(required)]
    pub stop_reason: Option<StopReason>,
    #[schema(required)]
    pub stop_sequence: Option<String>,
    pub usage: Usage,
}

/// Why an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum StopReason {
    EndTurn,
    MaxTokens,
    StopSequence,
    ToolUse,
}

/// A block of an answer. In a stream, it starts empty.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
#[schema(as = anthropic::ContentBlock)]
pub enum ContentBlock {
    Thinking {
        thinking: String,
        signature: String,
    },
    /// Without `citations`: the AI SDK refuses `null` there, although Anthropic documents it.
    Text {
        text: String,
    },
    ToolUse {
        id: String,
        name: String,
        input: Map<String, Value>,
    },
}

/// Token counters of an answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = anthropic::Usage)]
pub struct Usage {
    /// Prompt tokens that were not in the cache.
    pub input_tokens: u64,
    /// Always 0: caching is automatic.
    pub cache_creation_input_tokens: u64,
    /// Prompt tokens that were in the cache.
    pub cache_read_input_tokens: u64,
    pub output_tokens: u64,
    pub output_tokens_details: OutputTokensDetails,
}

/// Parts of the output.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = anthropic::OutputTokensDetails)]
pub struct OutputTokensDetails {
    pub thinking_tokens: u64,
}

/// Answer of `POST /v1/messages/count_tokens`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct TokenCount {
    pub input_tokens: u64,
}

/// An event of a stream.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
#[schema(as = anthropic::Event)]
pub enum Event {
    MessageStart {
        message: Message,
    },
    ContentBlockStart {
        index: usize,
        content_block: ContentBlock,
    },
    ContentBlockDelta {
        index: usize,
        delta: BlockDelta,
    },
    ContentBlockStop {
        index: usize,
    },
    MessageDelta {
        delta: MessageDelta,
        usage: Usage,
    },
    MessageStop,
    Ping,
}

impl Event {
    /// The name in the line `event:`, the same as `type`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::MessageStart { .. } => "message_start",
            Self::ContentBlockStart { .. } => "content_block_start",
            Self::ContentBlockDelta { .. } => "content_block_delta",
            Self::ContentBlockStop { .. } => "content_block_stop",
            Self::MessageDelta { .. } => "message_delta",
            Self::MessageStop => "message_stop",
            Self::Ping => "ping",
        }
    }
}

/// What an event adds to a block.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(tag = "type")]
pub enum BlockDelta {
    #[serde(rename = "text_delta")]
    Text { text: String },
    #[serde(rename = "thinking_delta")]
    Thinking { thinking: String },
    #[serde(rename = "signature_delta")]
    Signature { signature: String },
    /// A piece of the JSON text of `input`.
    #[serde(rename = "input_json_delta")]
    InputJson { partial_json: String },
}

/// The end of a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = anthropic::MessageDelta)]
pub struct MessageDelta {
    #[schema(required)]
    pub stop_reason: Option<StopReason>,
    #[schema(required)]
    pub stop_sequence: Option<String>,
}
