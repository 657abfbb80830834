//! The items that a response consists of.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::openai::TokenLogprob;

/// The state of a response or an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = responses::Status)]
pub enum Status {
    /// A response in the background that has not begun.
    Queued,
    InProgress,
    Completed,
    Incomplete,
    /// Responses only.
    Failed,
    /// Responses only.
    Cancelled,
}

impl Status {
    /// Whether the response will not change any more.
    pub fn is_final(self) -> bool {
        !matches!(self, Self::Queued | Self::InProgress)
    }
}

/// An item of `output`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum OutputItem {
    Reasoning(ReasoningItem),
    Message(OutputMessage),
    FunctionCall(FunctionCall),
    Compaction(Compaction),
}

impl OutputItem {
    pub fn id(&self) -> &str {
        match self {
            Self::Reasoning(item) => &item.id,
            Self::Message(item) => &item.id,
            Self::FunctionCall(item) => &item.id,
            Self::Compaction(item) => &item.id,
        }
    }
}

/// The model's thinking: as `summary` if the request asks for one, else as `content`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ReasoningItem {
    pub id: String,
    pub summary: Vec<ReasoningText>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub content: Vec<ReasoningText>,
    /// The same in a form that only we can read, if requested.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encrypted_content: Option<String>,
    pub status: Status,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ReasoningText {
    SummaryText { text: String },
    ReasoningText { text: String },
}

impl ReasoningText {
    pub fn text(&self) -> &str {
        match self {
            Self::SummaryText { text } | Self::ReasoningText { text } => text,
        }
    }

    pub fn text_mut(&mut self) -> &mut String {
        match self {
            Self::SummaryText { text } | Self::ReasoningText { text } => text,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct OutputMessage {
    pub id: String,
    pub status: Status,
    /// `assistant`
    pub role: String,
    pub content: Vec<OutputText>,
}

/// A part of a message.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", rename = "output_text")]
pub struct OutputText {
    pub text: String,
    /// Always empty, since drover does not search.
    #[schema(value_type = Vec<Value>)]
    pub annotations: Vec<()>,
    pub logprobs: Vec<TokenLogprob>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FunctionCall {
    pub id: String,
    pub status: Status,
    pub call_id: String,
    pub name: String,
    /// The function's namespace, if it was sent in one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// JSON in a string.
    pub arguments: String,
}

/// A summary of a conversation, in a form that only we can read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Compaction {
    pub id: String,
    pub encrypted_content: String,
}
