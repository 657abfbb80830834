//! The events of a stream. They borrow from the response in progress, since there is one for every token.

use serde::Serialize;
use utoipa::ToSchema;

use super::{OutputItem, OutputText, ReasoningText, Response};
use crate::api::openai::TokenLogprob;

/// One event.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, ToSchema)]
#[schema(as = responses::Event)]
pub struct Event<'a> {
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// Counts from zero without gaps.
    pub sequence_number: u64,
    #[serde(flatten)]
    pub body: EventBody<'a>,
}

/// The content of an event, by its kind.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, ToSchema)]
#[serde(untagged)]
#[schema(as = responses::EventBody)]
pub enum EventBody<'a> {
    Response {
        response: &'a Response,
    },
    Item {
        output_index: usize,
        item: &'a OutputItem,
    },
    Part {
        item_id: &'a str,
        output_index: usize,
        content_index: usize,
        part: &'a OutputText,
    },
    ReasoningPart {
        item_id: &'a str,
        output_index: usize,
        content_index: usize,
        part: &'a ReasoningText,
    },
    SummaryPart {
        item_id: &'a str,
        output_index: usize,
        summary_index: usize,
        part: &'a ReasoningText,
    },
    TextDelta {
        item_id: &'a str,
        output_index: usize,
        content_index: usize,
        delta: &'a str,
        logprobs: &'a [TokenLogprob],
    },
    TextDone {
        item_id: &'a str,
        output_index: usize,
        content_index: usize,
        text: &'a str,
        logprobs: &'a [TokenLogprob],
    },
    ReasoningDelta {
        item_id: &'a str,
        output_index: usize,
        content_index: usize,
        delta: &'a str,
    },
    ReasoningDone {
        item_id: &'a str,
        output_index: usize,
        content_index: usize,
        text: &'a str,
    },
    SummaryDelta {
        item_id: &'a str,
        output_index: usize,
        summary_index: usize,
        delta: &'a str,
    },
    SummaryDone {
        item_id: &'a str,
        output_index: usize,
        summary_index: usize,
        text: &'a str,
    },
    ArgumentsDelta {
        item_id: &'a str,
        output_index: usize,
        delta: &'a str,
    },
    ArgumentsDone {
        item_id: &'a str,
        output_index: usize,
        name: &'a str,
        arguments: &'a str,
    },
    Error {
        code: Option<&'a str>,
        message: &'a str,
        param: Option<&'a str>,
    },
}
