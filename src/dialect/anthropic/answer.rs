//! Makes the whole answer.

use super::Head;
use super::signature::Signer;
use crate::api::anthropic::{ContentBlock, Message, OutputTokensDetails, StopReason, Usage};
use crate::chat::ToolCall;
use crate::inference::{Chunk, Done, DoneReason};

/// The prefix of tool call ids.
const CALL: &str = "toolu_";

/// Collects the whole answer.
#[derive(Debug)]
pub struct MessageFold {
    message: Message,
    hides_thinking: bool,
    /// The signer of the last block, if that is thinking.
    signer: Option<Signer>,
}

impl MessageFold {
    /// Starts an answer.
    pub fn new(head: Head) -> Self {
        Self {
            hides_thinking: head.hides_thinking,
            message: empty(head, 0),
            signer: None,
        }
    }

    /// Adds a chunk.
    pub fn push(&mut self, chunk: Chunk) {
        if !chunk.thinking.is_empty() {
            self.think(&chunk.thinking);
        }
        if !chunk.content.is_empty() {
            self.sign();
            match self.message.content.last_mut() {
                Some(ContentBlock::Text { text, .. }) => text.push_str(&chunk.content),
                _ => self.message.content.push(ContentBlock::Text {
                    text: chunk.content,
                }),
            }
        }
        for call in chunk.tool_calls {
            self.sign();
            self.message.content.push(tool_use(call));
        }
        if let Some(done) = chunk.done {
            let content = &self.message.content;
            let is_call = |block: &ContentBlock| matches!(block, ContentBlock::ToolUse { .. });
            let has_calls = content.iter().any(is_call);
            self.message.usage = usage(&done);
            let (reason, sequence) = stop_reason(done.reason, has_calls);
            self.message.stop_reason = Some(reason);
            self.message.stop_sequence = sequence;
        }
    }

    /// The answer, once it has ended.
    pub fn end(mut self) -> Message {
        self.sign();
        self.message
    }

    fn think(&mut self, text: &str) {
        let is_first = self.signer.is_none();
        let hides_thinking = self.hides_thinking;
        let signer = self
            .signer
            .get_or_insert_with(|| Signer::new(hides_thinking));
        signer.push(text);
        if is_first {
            self.message.content.push(ContentBlock::Thinking {
                thinking: String::new(),
                signature: String::new(),
            });
        }
        if let Some(ContentBlock::Thinking { thinking, .. }) = self.message.content.last_mut()
            && !hides_thinking
        {
            thinking.push_str(text);
        }
    }

    /// Ends a thinking block.
    fn sign(&mut self) {
        let Some(signer) = self.signer.take() else {
            return;
        };
        if let Some(ContentBlock::Thinking { signature, .. }) = self.message.content.last_mut() {
            *signature = signer.finish();
        }
    }
}

/// A message without content.
pub(super) fn empty(head: Head, n_prompt: u32) -> Message {
    Message {
        id: head.id,
        kind: "message",
        role: "assistant",
        model: head.model,
        content: Vec::new(),
        stop_reason: None,
        stop_sequence: None,
        usage: Usage {
            input_tokens: n_prompt.into(),
            ..Usage::default()
        },
    }
}

pub(super) fn tool_use(call: ToolCall) -> ContentBlock {
    let id = call.id.strip_prefix("call_").unwrap_or(&call.id);
    ContentBlock::ToolUse {
        id: format!("{CALL}{id}"),
        name: call.function.name,
        input: call.function.arguments,
    }
}

/// The counters; as in Anthropic's API, cached tokens do not count as input tokens.
pub(super) fn usage(done: &Done) -> Usage {
    let Some(timings) = &done.timings else {
        return Usage::default();
    };
    Usage {
        input_tokens: timings.n_prompt.saturating_sub(timings.n_cached).into(),
        cache_creation_input_tokens: 0,
        cache_read_input_tokens: timings.n_cached.into(),
        output_tokens: timings.n_generated.into(),
        output_tokens_details: OutputTokensDetails {
            thinking_tokens: timings.n_thinking.into(),
        },
    }
}

/// Why an answer ended, with the stop sequence that ended it.
pub(super) fn stop_reason(reason: DoneReason, has_calls: bool) -> (StopReason, Option<String>) {
    match reason {
        DoneReason::Length => (StopReason::MaxTokens, None),
        _ if has_calls => (StopReason::ToolUse, None),
        DoneReason::StopSequence(text) => (StopReason::StopSequence, Some(text)),
        DoneReason::Stop | DoneReason::Load | DoneReason::Unload | DoneReason::Debug => {
            (StopReason::EndTurn, None)
        }
    }
}
