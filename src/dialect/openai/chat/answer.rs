//! Makes a stream's events, or the whole response, from the chunks of one or more choices.

use super::super::head::{FINGERPRINT, Head};
use super::super::tally::Tally;
use super::super::values::{finish_reason, logprob, stop_reason};
use crate::api::ollama::DebugInfo;
use crate::api::openai::{
    AnswerMessage, AnswerToolCall, CallDelta, ChatChoice, ChatChunk, ChatCompletion, ChunkChoice,
    Delta, FinishReason, FunctionDelta, Logprobs, ToolCallFunction, Usage,
};
use crate::chat::{CallPart, ToolCall};
use crate::inference::{Chunk, Logprob};

const ASSISTANT: &str = "assistant";
const FUNCTION: &str = "function";

/// The variants of a response that a request selects.
#[derive(Debug, Clone, Copy, Default)]
pub struct Style {
    /// Whether a stream ends with the counters.
    pub include_usage: bool,
    /// Whether the request uses the deprecated `functions`, and so does the response.
    pub has_functions: bool,
    /// The service tier that the request names ([`super::service_tier`]).
    pub service_tier: Option<&'static str>,
    /// Whether the request has a prediction.
    pub is_predicted: bool,
}

impl Style {
    fn usage(self, tally: Tally) -> Usage {
        if self.is_predicted {
            tally.predicted_usage()
        } else {
            tally.usage()
        }
    }

    /// The finish reason of an answer with calls.
    fn of_calls(self, has_calls: bool) -> Option<FinishReason> {
        has_calls.then_some(if self.has_functions {
            FinishReason::FunctionCall
        } else {
            FinishReason::ToolCalls
        })
    }
}

/// Makes the events of a stream.
#[derive(Debug)]
pub struct ChatStream {
    head: Head,
    choices: Vec<Progress>,
    tally: Tally,
    style: Style,
}

/// The state of a choice.
#[derive(Debug, Clone, Copy, Default)]
struct Progress {
    has_role: bool,
    has_calls: bool,
    /// Whether parts of a call have been sent.
    is_calling: bool,
}

impl ChatStream {
    /// Starts a stream of `n` choices.
    pub fn new(head: Head, n: usize, style: Style) -> Self {
        Self {
            head,
            choices: vec![Progress::default(); n],
            tally: Tally::default(),
            style,
        }
    }

    /// Converts a chunk of the choice `index` to zero or more events.
    pub fn push(&mut self, index: usize, chunk: Chunk) -> Vec<ChatChunk<'_>> {
        let Some(progress) = self.choices.get_mut(index) else {
            return Vec::new();
        };
        if let Some(done) = &chunk.done {
            self.tally.add(done.timings.as_ref(), index > 0);
        }
        let pieces = progress.pieces(index, chunk, self.style);
        let (head, usage) = (&self.head, self.style.include_usage.then_some(None));
        pieces
            .into_iter()
            .map(|piece| ChatChunk {
                usage,
                service_tier: self.style.service_tier,
                ..event(head, vec![piece])
            })
            .collect()
    }

    /// The event after the last choice has ended: the counters, if requested.
    pub fn end(&self) -> Option<ChatChunk<'_>> {
        self.style.include_usage.then(|| ChatChunk {
            usage: Some(Some(self.style.usage(self.tally))),
            timings: self.tally.timings(),
            service_tier: self.style.service_tier,
            ..event(&self.head, Vec::new())
        })
    }
}

fn event(head: &Head, choices: Vec<ChunkChoice>) -> ChatChunk<'_> {
    ChatChunk {
        id: &head.id,
        object: "chat.completion.chunk",
        created: head.created,
        model: &head.model,
        system_fingerprint: FINGERPRINT,
        choices,
        service_tier: None,
        usage: None,
        timings: None,
    }
}

impl Progress {
    fn pieces(&mut self, index: usize, chunk: Chunk, style: Style) -> Vec<ChunkChoice> {
        let mut pieces = Vec::new();
        self.has_calls |= !chunk.tool_calls.is_empty();
        let mut content = Delta {
            content: Some(chunk.content),
            ..Delta::default()
        };
        if style.has_functions {
            let call = chunk.tool_calls.into_iter().next();
            content.function_call = call.map(|call| tool_call(call).function);
        } else {
            content.tool_calls = self.calls(chunk.call_parts, chunk.tool_calls);
        }
        let mut logprobs = logprobs(chunk.logprobs);
        let has_content = content
            .content
            .as_ref()
            .is_some_and(|text| !text.is_empty())
            || !content.tool_calls.is_empty()
            || content.function_call.is_some();
        if has_content && !chunk.thinking.is_empty() {
            let reasoning = Delta {
                reasoning: chunk.thinking,
                ..Delta::default()
            };
            pieces.push(self.piece(index, reasoning, logprobs.take()));
            pieces.push(self.piece(index, content, None));
        } else if has_content || !chunk.thinking.is_empty() || logprobs.is_some() || !self.has_role
        {
            content.reasoning = chunk.thinking;
            pieces.push(self.piece(index, content, logprobs));
        }
        if let Some(done) = chunk.done {
            pieces.push(ChunkChoice {
                index,
                finish_reason: finish_reason(&done.reason, style.of_calls(self.has_calls)),
                stop_reason: stop_reason(done.reason),
                ..ChunkChoice::default()
            });
        }
        pieces
    }

    /// Sends parts of calls as they come, and calls of which no part was sent.
    fn calls(&mut self, parts: Vec<CallPart>, whole: Vec<ToolCall>) -> Vec<CallDelta> {
        let mut deltas = Vec::with_capacity(parts.len() + whole.len());
        for part in parts {
            let is_first = !std::mem::replace(&mut self.is_calling, true);
            deltas.push(CallDelta {
                id: if is_first { part.id } else { String::new() },
                index: part.index,
                kind: is_first.then_some(FUNCTION),
                function: FunctionDelta {
                    name: part.name,
                    arguments: part.arguments,
                },
            });
        }
        for call in whole {
            if std::mem::take(&mut self.is_calling) {
                continue;
            }
            let call = tool_call(call);
            deltas.push(CallDelta {
                id: call.id,
                index: call.index,
                kind: Some(call.kind),
                function: FunctionDelta {
                    name: call.function.name,
                    arguments: call.function.arguments,
                },
            });
        }
        deltas
    }

    fn piece(&mut self, index: usize, delta: Delta, logprobs: Option<Logprobs>) -> ChunkChoice {
        let is_first = !std::mem::replace(&mut self.has_role, true);
        ChunkChoice {
            index,
            delta: Delta {
                role: is_first.then_some(ASSISTANT),
                ..delta
            },
            finish_reason: None,
            stop_reason: None,
            logprobs,
        }
    }
}

/// Collects the whole answer.
#[derive(Debug)]
pub struct ChatFold {
    head: Head,
    choices: Vec<ChatChoice>,
    style: Style,
    tally: Tally,
    debug: Option<DebugInfo>,
}

impl ChatFold {
    /// Starts an answer of `n` choices.
    pub fn new(head: Head, n: usize, style: Style) -> Self {
        let choices = (0..n).map(|index| ChatChoice {
            index,
            message: AnswerMessage {
                role: ASSISTANT,
                ..AnswerMessage::default()
            },
            finish_reason: None,
            stop_reason: None,
            logprobs: None,
        });
        Self {
            head,
            choices: choices.collect(),
            style,
            tally: Tally::default(),
            debug: None,
        }
    }

    /// Adds a chunk of the choice `index`.
    pub fn push(&mut self, index: usize, chunk: Chunk) {
        let Some(choice) = self.choices.get_mut(index) else {
            return;
        };
        let message = &mut choice.message;
        message.content.push_str(&chunk.content);
        message.reasoning.push_str(&chunk.thinking);
        message
            .tool_calls
            .extend(chunk.tool_calls.into_iter().map(tool_call));
        if let Some(more) = logprobs(chunk.logprobs) {
            match &mut choice.logprobs {
                Some(logprobs) => logprobs.content.extend(more.content),
                none => *none = Some(more),
            }
        }
        if let Some(done) = chunk.done {
            let has_calls = !message.tool_calls.is_empty();
            choice.finish_reason = finish_reason(&done.reason, self.style.of_calls(has_calls));
            if self.style.has_functions {
                let calls = std::mem::take(&mut message.tool_calls);
                message.function_call = calls.into_iter().next().map(|call| call.function);
            }
            choice.stop_reason = stop_reason(done.reason);
            self.tally.add(done.timings.as_ref(), index > 0);
            if let Some((rendered_template, n_images)) = done.debug {
                self.debug = Some(DebugInfo {
                    rendered_template,
                    image_count: n_images as u64,
                });
            }
        }
    }

    /// The answer, once every choice has ended.
    pub fn end(self) -> ChatCompletion {
        ChatCompletion {
            id: self.head.id,
            object: "chat.completion",
            created: self.head.created,
            model: self.head.model,
            system_fingerprint: FINGERPRINT,
            choices: self.choices,
            service_tier: self.style.service_tier,
            usage: self.style.usage(self.tally),
            timings: self.tally.timings(),
            debug_info: self.debug,
        }
    }
}

fn tool_call(call: ToolCall) -> AnswerToolCall {
    let function = call.function;
    AnswerToolCall {
        id: call.id,
        index: function.index,
        kind: FUNCTION,
        function: ToolCallFunction {
            name: function.name,
            arguments: serde_json::Value::Object(function.arguments).to_string(),
        },
    }
}

fn logprobs(native: Vec<Logprob>) -> Option<Logprobs> {
    (!native.is_empty()).then(|| Logprobs {
        content: native.into_iter().map(logprob).collect(),
        refusal: None,
    })
}
