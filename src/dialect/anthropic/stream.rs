//! Makes the events of a stream: one block is open at a time, and indices count blocks.

use super::Head;
use super::answer::{empty, stop_reason, tool_use, usage};
use super::signature::Signer;
use crate::api::anthropic::{BlockDelta, ContentBlock, Event, MessageDelta};
use crate::chat::ToolCall;
use crate::inference::{Chunk, Done};

/// Makes the events of a stream.
#[derive(Debug)]
pub struct MessageStream {
    hides_thinking: bool,
    open: Open,
    /// Blocks that have ended.
    n_ended: usize,
    has_calls: bool,
}

/// The open block.
#[derive(Debug)]
enum Open {
    Nothing,
    Text,
    Thinking(Signer),
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

    /// Converts a chunk to zero or more events; the last chunk's end the stream.
    pub fn push(&mut self, chunk: Chunk) -> Vec<Event> {
        let mut events = Vec::new();
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
        for call in chunk.tool_calls {
            self.call(call, &mut events);
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

    /// A call comes whole: models' formats say where one ends, not what it holds before.
    fn call(&mut self, call: ToolCall, events: &mut Vec<Event>) {
        let ContentBlock::ToolUse { id, name, input } = tool_use(call) else {
            return;
        };
        self.has_calls = true;
        let block = ContentBlock::ToolUse {
            id,
            name,
            input: serde_json::Map::new(),
        };
        self.start(block, events);
        let partial_json = serde_json::Value::Object(input).to_string();
        events.push(self.delta(BlockDelta::InputJson { partial_json }));
        self.stop(events);
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

    /// Starts a block after the open one.
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
            Open::Text => {}
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
