//! Makes a response from steps, and the events of its stream on the way.
//!
//! *Invariants:* sequence numbers have no gaps; one item is open at a time, and everything that was added to it is done
//! before the next begins; ids derive from the response's id, so that the same steps give the same events.

use super::items::stored_output;
use super::step::{Ending, Step};
use super::tools::Names;
use super::{THINKING, base_of};
use crate::api::openai::TokenLogprob;
use crate::api::openai::responses::{
    Event, EventBody, FunctionCall, IncompleteDetails, OutputItem, OutputMessage, OutputText,
    ReasoningItem, ReasoningText, Response, Status,
};
use crate::chat::{CallPart, ToolCall};
use crate::history::Item;
use crate::seal::Seal;

/// What a request selects for its response besides the text.
#[derive(Debug, Clone, Default)]
pub struct Style {
    /// Whether thinking is returned as a summary.
    pub(super) summarizes: bool,
    /// The seal, if thinking is also returned in a form that only we can read.
    pub(super) seal: Option<Seal>,
    pub(super) names: Names,
}

/// A response in progress.
#[derive(Debug)]
pub struct Writer {
    response: Response,
    style: Style,
    sequence: u64,
    /// Whether the last item of the output is still open.
    is_open: bool,
    /// Log-probabilities of tokens whose text has not come yet.
    logprobs: Vec<TokenLogprob>,
}

/// The receiver of the events.
type Tell<'t> = &'t mut dyn FnMut(&Event<'_>);

fn tell(
    sequence: &mut u64,
    to: &mut dyn FnMut(&Event<'_>),
    kind: &'static str,
    body: EventBody<'_>,
) {
    to(&Event {
        kind,
        sequence_number: *sequence,
        body,
    });
    *sequence += 1;
}

impl Writer {
    /// Starts from a response without output.
    pub fn new(response: Response, style: Style) -> Self {
        Self {
            response,
            style,
            sequence: 0,
            is_open: false,
            logprobs: Vec::new(),
        }
    }

    /// The response in its present state.
    pub fn response(&self) -> &Response {
        &self.response
    }

    /// The response and the style that it was made with.
    pub fn parts(&self) -> (&Response, &Style) {
        (&self.response, &self.style)
    }

    /// The output, in the form in which it is stored.
    pub fn stored_output(&self) -> Vec<Item> {
        stored_output(&self.response.output)
    }

    /// Marks the response as not stored.
    pub fn set_unstored(&mut self) {
        self.response.store = false;
    }

    /// The events before the first step.
    pub fn begin(&mut self, to: Tell<'_>) {
        self.tell_response("response.created", to);
        if self.response.status == Status::Queued {
            self.tell_response("response.queued", to);
        }
        self.response.status = Status::InProgress;
        self.tell_response("response.in_progress", to);
    }

    /// Adds a step.
    pub fn push(&mut self, mut step: Step, to: Tell<'_>) {
        if self.is_calling() {
            // Everything else in the step comes after the call.
            for part in step.parts.drain(..) {
                self.call_part(part, to);
            }
            if !step.calls.is_empty() {
                step.calls.remove(0);
                self.close(Status::Completed, to);
            }
        }
        if !step.thinking.is_empty() {
            self.think(&step.thinking, to);
        }
        // Thinking and calls have no place for log-probabilities.
        if step.thinking.is_empty() && step.calls.is_empty() && step.parts.is_empty() {
            self.logprobs.extend(step.logprobs);
        }
        if !step.content.is_empty() {
            self.say(&step.content, to);
        }
        for part in step.parts {
            self.call_part(part, to);
        }
        for call in step.calls {
            if self.is_calling() {
                // All parts of this call have been sent.
                self.close(Status::Completed, to);
            } else {
                self.call(call, to);
            }
        }
    }

    /// Ends the output. The event about it follows with [`Self::last`].
    pub fn end(&mut self, ending: Ending, to: Tell<'_>) {
        let is_silent = |item: &OutputItem| matches!(item, OutputItem::Reasoning(_));
        if ending.is_answer && self.response.output.iter().all(is_silent) {
            self.say("", to);
        }
        let status = match ending.status {
            Status::Completed if !self.is_calling() => Status::Completed,
            _ => Status::Incomplete,
        };
        self.close(status, to);
        let response = &mut self.response;
        response.status = ending.status;
        response.usage = ending.usage;
        response.error = ending.error;
        response.completed_at = (ending.status == Status::Completed).then_some(ending.at);
        response.incomplete_details =
            (ending.status == Status::Incomplete).then(|| IncompleteDetails {
                reason: "max_output_tokens".into(),
            });
    }

    /// Sends the last event. A cancelled response has no event of its own.
    pub fn last(&mut self, to: Tell<'_>) {
        let kind = match self.response.status {
            Status::Completed => "response.completed",
            Status::Failed => "response.failed",
            _ => "response.incomplete",
        };
        self.tell_response(kind, to);
    }

    fn tell_response(&mut self, kind: &'static str, to: Tell<'_>) {
        let response = &self.response;
        tell(
            &mut self.sequence,
            to,
            kind,
            EventBody::Response { response },
        );
    }

    fn new_id(&self, prefix: &str) -> String {
        let base = base_of(&self.response.id);
        format!("{prefix}_{base}o{}", self.response.output.len())
    }

    fn open(&mut self, item: OutputItem, to: Tell<'_>) {
        self.close(Status::Completed, to);
        self.response.output.push(item);
        self.is_open = true;
        let output_index = self.response.output.len() - 1;
        let item = &self.response.output[output_index];
        let body = EventBody::Item { output_index, item };
        tell(&mut self.sequence, to, "response.output_item.added", body);
    }

    fn think(&mut self, delta: &str, to: Tell<'_>) {
        let is_thinking = matches!(self.response.output.last(), Some(OutputItem::Reasoning(_)));
        if !(self.is_open && is_thinking) {
            let item = ReasoningItem {
                id: self.new_id("rs"),
                summary: Vec::new(),
                content: Vec::new(),
                encrypted_content: None,
                status: Status::InProgress,
            };
            self.open(OutputItem::Reasoning(item), to);
        }
        let output_index = self.response.output.len() - 1;
        let Some(OutputItem::Reasoning(item)) = self.response.output.last_mut() else {
            return;
        };
        let (item_id, sequence) = (item.id.as_str(), &mut self.sequence);
        let (parts, empty) = if self.style.summarizes {
            let text = String::new();
            (&mut item.summary, ReasoningText::SummaryText { text })
        } else {
            let text = String::new();
            (&mut item.content, ReasoningText::ReasoningText { text })
        };
        if parts.is_empty() {
            let (kind, body) = reasoning_part(item_id, output_index, &empty, false);
            tell(sequence, to, kind, body);
            parts.push(empty);
        }
        parts[0].text_mut().push_str(delta);
        let (kind, body) = if self.style.summarizes {
            let body = EventBody::SummaryDelta {
                item_id,
                output_index,
                summary_index: 0,
                delta,
            };
            ("response.reasoning_summary_text.delta", body)
        } else {
            let body = EventBody::ReasoningDelta {
                item_id,
                output_index,
                content_index: 0,
                delta,
            };
            ("response.reasoning_text.delta", body)
        };
        tell(sequence, to, kind, body);
    }

    fn say(&mut self, delta: &str, to: Tell<'_>) {
        let is_message = matches!(self.response.output.last(), Some(OutputItem::Message(_)));
        if !(self.is_open && is_message) {
            let item = OutputMessage {
                id: self.new_id("msg"),
                status: Status::InProgress,
                role: "assistant".to_owned(),
                content: Vec::new(),
            };
            self.open(OutputItem::Message(item), to);
        }
        let output_index = self.response.output.len() - 1;
        let Some(OutputItem::Message(item)) = self.response.output.last_mut() else {
            return;
        };
        let (item_id, sequence) = (item.id.as_str(), &mut self.sequence);
        if item.content.is_empty() {
            let part = OutputText {
                text: String::new(),
                annotations: Vec::new(),
                logprobs: Vec::new(),
            };
            let body = EventBody::Part {
                item_id,
                output_index,
                content_index: 0,
                part: &part,
            };
            tell(sequence, to, "response.content_part.added", body);
            item.content.push(part);
        }
        if delta.is_empty() {
            return;
        }
        let body = EventBody::TextDelta {
            item_id,
            output_index,
            content_index: 0,
            delta,
            logprobs: &self.logprobs,
        };
        tell(sequence, to, "response.output_text.delta", body);
        let part = &mut item.content[0];
        part.text.push_str(delta);
        part.logprobs.append(&mut self.logprobs);
    }

    /// Whether a call is incomplete.
    fn is_calling(&self) -> bool {
        let last = self.response.output.last();
        self.is_open && matches!(last, Some(OutputItem::FunctionCall(_)))
    }

    /// Sends a call of which no part has been sent.
    fn call(&mut self, call: ToolCall, to: Tell<'_>) {
        let function = call.function;
        self.call_part(
            CallPart {
                index: function.index,
                id: call.id,
                name: function.name,
                arguments: serde_json::Value::Object(function.arguments).to_string(),
            },
            to,
        );
        self.close(Status::Completed, to);
    }

    fn call_part(&mut self, part: CallPart, to: Tell<'_>) {
        self.logprobs.clear();
        if !self.is_calling() {
            self.open_call(part.id, part.name, to);
        }
        let output_index = self.response.output.len() - 1;
        let Some(OutputItem::FunctionCall(item)) = self.response.output.last_mut() else {
            return;
        };
        item.arguments.push_str(&part.arguments);
        let body = EventBody::ArgumentsDelta {
            item_id: &item.id,
            output_index,
            delta: &part.arguments,
        };
        let kind = "response.function_call_arguments.delta";
        tell(&mut self.sequence, to, kind, body);
    }

    fn open_call(&mut self, call_id: String, name: String, to: Tell<'_>) {
        let (namespace, name) = match self.style.names.split(&name) {
            Some((namespace, name)) => (Some(namespace.to_owned()), name.to_owned()),
            None => (None, name),
        };
        let item = FunctionCall {
            id: self.new_id("fc"),
            status: Status::InProgress,
            call_id,
            name,
            namespace,
            arguments: String::new(),
        };
        self.open(OutputItem::FunctionCall(item), to);
    }

    /// Ends the open item.
    fn close(&mut self, status: Status, to: Tell<'_>) {
        if !std::mem::take(&mut self.is_open) {
            return;
        }
        let output_index = self.response.output.len() - 1;
        let sequence = &mut self.sequence;
        match self.response.output.last_mut() {
            Some(OutputItem::Reasoning(item)) => {
                item.status = status;
                let parts = if self.style.summarizes {
                    &item.summary
                } else {
                    &item.content
                };
                if let Some(part) = parts.first() {
                    let (kind, body) = reasoning_done(&item.id, output_index, part);
                    tell(sequence, to, kind, body);
                    let (kind, body) = reasoning_part(&item.id, output_index, part, true);
                    tell(sequence, to, kind, body);
                    let seal = self.style.seal.as_ref();
                    item.encrypted_content = seal.map(|seal| seal.close(THINKING, part.text()));
                }
            }
            Some(OutputItem::Message(item)) => {
                item.status = status;
                for (content_index, part) in item.content.iter_mut().enumerate() {
                    let rest = std::mem::take(&mut self.logprobs);
                    part.logprobs.extend(rest);
                    let body = EventBody::TextDone {
                        item_id: &item.id,
                        output_index,
                        content_index,
                        text: &part.text,
                        logprobs: &part.logprobs,
                    };
                    tell(sequence, to, "response.output_text.done", body);
                    let body = EventBody::Part {
                        item_id: &item.id,
                        output_index,
                        content_index,
                        part,
                    };
                    tell(sequence, to, "response.content_part.done", body);
                }
            }
            Some(OutputItem::FunctionCall(item)) => {
                item.status = status;
                let body = EventBody::ArgumentsDone {
                    item_id: &item.id,
                    output_index,
                    name: &item.name,
                    arguments: &item.arguments,
                };
                tell(sequence, to, "response.function_call_arguments.done", body);
            }
            Some(OutputItem::Compaction(_)) | None => {}
        }
        if let Some(item) = self.response.output.last() {
            let body = EventBody::Item { output_index, item };
            tell(sequence, to, "response.output_item.done", body);
        }
    }
}

fn reasoning_part<'a>(
    item_id: &'a str,
    output_index: usize,
    part: &'a ReasoningText,
    is_done: bool,
) -> (&'static str, EventBody<'a>) {
    match part {
        ReasoningText::SummaryText { .. } => {
            let kind = if is_done {
                "response.reasoning_summary_part.done"
            } else {
                "response.reasoning_summary_part.added"
            };
            let body = EventBody::SummaryPart {
                item_id,
                output_index,
                summary_index: 0,
                part,
            };
            (kind, body)
        }
        ReasoningText::ReasoningText { .. } => {
            let kind = if is_done {
                "response.content_part.done"
            } else {
                "response.content_part.added"
            };
            let body = EventBody::ReasoningPart {
                item_id,
                output_index,
                content_index: 0,
                part,
            };
            (kind, body)
        }
    }
}

fn reasoning_done<'a>(
    item_id: &'a str,
    output_index: usize,
    part: &'a ReasoningText,
) -> (&'static str, EventBody<'a>) {
    match part {
        ReasoningText::SummaryText { text } => {
            let body = EventBody::SummaryDone {
                item_id,
                output_index,
                summary_index: 0,
                text,
            };
            ("response.reasoning_summary_text.done", body)
        }
        ReasoningText::ReasoningText { text } => {
            let body = EventBody::ReasoningDone {
                item_id,
                output_index,
                content_index: 0,
                text,
            };
            ("response.reasoning_text.done", body)
        }
    }
}
