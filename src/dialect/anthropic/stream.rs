//! Makes the events of a stream: one block is open at a time, and indices count blocks.

use super::Head;
use super::answer::{empty, stop_reason, tool_use, usage};
use super::signature::Signer;
use crate::api::anthropic::{BlockDelta, ContentBlock, Event, MessageDelta};
use crate::chat::{CallPart, ToolCall, ToolCallFunction};
use crate::inference::{Chunk, Done};

/// Makes the events of a stream.
#[derive(Debug)]
pub struct MessageStream {
    hides_thinking: bool,
    open: Open,
    /// How many blocks have ended.
    n_ended: usize,
    has_calls: bool,
}

/// The open block.
#[derive(Debug)]
enum Open {
    Nothing,
    Text,
    Thinking(Signer),
    /// An incomplete call.
    Call,
}

impl MessageStream {
    /// Starts a stream for a prompt of `n_prompt` tokens; returns its first event.
    pub fn new(head: Head, n_prompt: u32) -> (Self, Event) {
        let stream = Self {
            hides_thinking: head.hides_thinking,
            open: Open::Nothing,
            n_ended: 0,
            has_calls: false,
        };
        let message = empty(head, n_prompt);
        (stream, Event::MessageStart { message })
    }

    /// Converts a chunk to zero or more events; those of the last chunk end the stream.
    pub fn push(&mut self, mut chunk: Chunk) -> Vec<Event> {
        let mut events = Vec::new();
        if matches!(self.open, Open::Call) {
            // Everything else in the chunk comes after the call.
            for part in chunk.call_parts.drain(..) {
                self.part(part, &mut events);
            }
            if !chunk.tool_calls.is_empty() {
                chunk.tool_calls.remove(0);
                self.has_calls = true;
                self.close(&mut events);
            }
        }
        if !chunk.thinking.is_empty() {
            self.think(chunk.thinking, &mut events);
        }
        if !chunk.content.is_empty() {
            if !matches!(self.open, Open::Text) {
                self.start(
                    ContentBlock::Text {
                        text: String::new(),
                    },
                    &mut events,
                );
                self.open = Open::Text;
            }
            let text = chunk.content;
            events.push(self.delta(BlockDelta::Text { text }));
        }
        for part in chunk.call_parts {
            self.part(part, &mut events);
        }
        for call in chunk.tool_calls {
            self.has_calls = true;
            if matches!(self.open, Open::Call) {
                // All parts of this call have been sent.
                self.close(&mut events);
            } else {
                self.call(call, &mut events);
            }
        }
        if let Some(done) = chunk.done {
            self.finish(done, &mut events);
        }
        events
    }

    fn think(&mut self, thinking: String, events: &mut Vec<Event>) {
        if !matches!(self.open, Open::Thinking(_)) {
            self.start(
                ContentBlock::Thinking {
                    thinking: String::new(),
                    signature: String::new(),
                },
                events,
            );
            self.open = Open::Thinking(Signer::new(self.hides_thinking));
        }
        if let Open::Thinking(signer) = &mut self.open {
            signer.push(&thinking);
        }
        if !self.hides_thinking {
            events.push(self.delta(BlockDelta::Thinking { thinking }));
        }
    }

    fn part(&mut self, part: CallPart, events: &mut Vec<Event>) {
        if !matches!(self.open, Open::Call) {
            self.start_call(part.id, part.name, events);
        }
        let partial_json = part.arguments;
        events.push(self.delta(BlockDelta::InputJson { partial_json }));
    }

    /// Sends a call of which no part has been sent.
    fn call(&mut self, call: ToolCall, events: &mut Vec<Event>) {
        let function = call.function;
        self.start_call(call.id, function.name, events);
        let partial_json = serde_json::Value::Object(function.arguments).to_string();
        events.push(self.delta(BlockDelta::InputJson { partial_json }));
        self.close(events);
    }

    fn start_call(&mut self, id: String, name: String, events: &mut Vec<Event>) {
        let block = tool_use(ToolCall {
            id,
            function: ToolCallFunction {
                name,
                ..ToolCallFunction::default()
            },
        });
        self.start(block, events);
        self.open = Open::Call;
    }

    fn finish(&mut self, done: Done, events: &mut Vec<Event>) {
        self.close(events);
        let usage = usage(&done);
        let (reason, stop_sequence) = stop_reason(done.reason, self.has_calls);
        let delta = MessageDelta {
            stop_reason: Some(reason),
            stop_sequence,
        };
        events.extend([Event::MessageDelta { delta, usage }, Event::MessageStop]);
    }

    /// Starts a block; ends the open one first.
    fn start(&mut self, content_block: ContentBlock, events: &mut Vec<Event>) {
        self.close(events);
        events.push(Event::ContentBlockStart {
            index: self.n_ended,
            content_block,
        });
    }

    fn delta(&self, delta: BlockDelta) -> Event {
        Event::ContentBlockDelta {
            index: self.n_ended,
            delta,
        }
    }

    /// Ends the open block, if there is one.
    fn close(&mut self, events: &mut Vec<Event>) {
        match std::mem::replace(&mut self.open, Open::Nothing) {
            Open::Nothing => return,
            Open::Text | Open::Call => {}
            Open::Thinking(signer) => {
                let signature = signer.finish();
                events.push(self.delta(BlockDelta::Signature { signature }));
            }
        }
        self.stop(events);
    }

    fn stop(&mut self, events: &mut Vec<Event>) {
        events.push(Event::ContentBlockStop {
            index: self.n_ended,
        });
        self.n_ended += 1;
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::inference::DoneReason;

    fn told(chunks: Vec<Chunk>) -> Vec<Value> {
        let head = Head {
            id: "msg_1".to_owned(),
            model: "m".to_owned(),
            hides_thinking: false,
        };
        let (mut stream, _) = MessageStream::new(head, 1);
        let events = chunks.into_iter().flat_map(|chunk| stream.push(chunk));
        events
            .map(|event| serde_json::to_value(event).unwrap())
            .collect()
    }

    fn part(name: &str, arguments: &str) -> Chunk {
        Chunk {
            call_parts: vec![CallPart {
                index: 0,
                id: "call_1".to_owned(),
                name: name.to_owned(),
                arguments: arguments.to_owned(),
            }],
            ..Chunk::default()
        }
    }

    fn whole(content: &str) -> Chunk {
        let call = json!({"id": "call_1", "function": {"name": "f", "arguments": {"a": 1}}});
        Chunk {
            content: content.to_owned(),
            tool_calls: vec![serde_json::from_value(call).unwrap()],
            ..Chunk::default()
        }
    }

    #[test]
    fn a_call_in_parts_is_one_block() {
        let last = Chunk {
            call_parts: part("", "1}").call_parts,
            ..whole("so")
        };
        let events = told(vec![part("f", "{\"a\":"), last]);
        let input = |text: &str| {
            json!({"type": "content_block_delta", "index": 0,
                "delta": {"type": "input_json_delta", "partial_json": text}})
        };
        let start = json!({"type": "content_block_start", "index": 0, "content_block":
            {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}}});
        let stop = json!({"type": "content_block_stop", "index": 0});
        assert_eq!(
            events[..4],
            [start.clone(), input("{\"a\":"), input("1}"), stop.clone()]
        );
        assert_eq!(
            (&events[4]["index"], &events[4]["content_block"]["type"]),
            (&json!(1), &json!("text"))
        );
        // A whole call gives the same events, with the input in one piece.
        assert_eq!(told(vec![whole("")]), [start, input("{\"a\":1}"), stop]);
    }

    #[test]
    fn a_call_that_is_cut_closes_its_block() {
        let done = Done {
            reason: DoneReason::Length,
            timings: None,
            context: None,
            debug: None,
            prompt_truncated: false,
        };
        let end = Chunk {
            done: Some(done),
            ..Chunk::default()
        };
        let events = told(vec![part("f", "{"), end]);
        assert_eq!(events[2]["type"], "content_block_stop");
        assert_eq!(events[3]["delta"]["stop_reason"], "max_tokens");
    }
}
