//! Stored chats: `/v1/chat/completions/{id}` and the lists.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::ChatCompletion;
use super::chat::ToolCallFunction;
use crate::chat::ToolDefinition;

/// A stored chat: the answer, and the settings of its request.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct StoredChat {
    #[serde(flatten)]
    pub completion: ChatCompletion,
    #[serde(flatten)]
    pub asked: ChatSettings,
}

/// The settings in the request of a stored chat.
#[derive(Debug, Clone, Default, PartialEq, Serialize, ToSchema)]
pub struct ChatSettings {
    /// Always `null`.
    #[schema(required)]
    pub request_id: Option<String>,
    #[schema(required)]
    pub tools: Option<Vec<ToolDefinition>>,
    pub tool_choice: Value,
    pub response_format: Value,
    pub temperature: f64,
    pub top_p: f64,
    pub presence_penalty: f64,
    pub frequency_penalty: f64,
    #[schema(required)]
    pub seed: Option<i64>,
    /// The request's `user`.
    #[schema(required)]
    pub input_user: Option<String>,
    /// Texts, by name.
    pub metadata: Value,
}

/// A message of a stored chat's request.
#[derive(Debug, Clone, Default, PartialEq, Serialize, ToSchema)]
pub struct StoredMessage {
    pub id: String,
    pub role: String,
    /// `null` if it has parts.
    #[schema(required)]
    pub content: Option<String>,
    #[schema(required)]
    pub name: Option<String>,
    #[schema(required)]
    pub content_parts: Option<Vec<Value>>,
    /// Always `null`.
    #[schema(required)]
    pub refusal: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool_calls: Option<Vec<StoredCall>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool_call_id: Option<String>,
}

/// A call in a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct StoredCall {
    pub id: String,
    /// `function`
    #[serde(rename = "type")]
    pub kind: &'static str,
    pub function: ToolCallFunction,
}

/// Body of `POST /v1/chat/completions/{id}`.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(default)]
pub struct ChatUpdate {
    /// Texts, by name.
    pub metadata: Value,
}
