//! `/v1/responses` and `/v1/conversations`.
//!
//! Items of a request stay JSON: there are some thirty kinds, most of which only pass through, and stored items are
//! returned as they were sent.

mod conversation;
mod event;
mod output;
mod request;
mod response;

pub use conversation::{
    Conversation, ConversationDeleted, ConversationRequest, ItemList, NewItems, ResponseDeleted,
};
pub use event::{Event, EventBody};
pub use output::{
    Compaction, FunctionCall, OutputItem, OutputMessage, OutputText, ReasoningItem, ReasoningText,
    Status,
};
pub use request::{CompactRequest, Reasoning, ResponseRequest, Text};
pub use response::{
    Compacted, ConversationId, IncompleteDetails, InputTokens, InputTokensDetails,
    OutputTokensDetails, Response, ResponseError, ResponseUsage,
};
