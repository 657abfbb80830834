//! Converts the messages of a request to turns that alternate between user and assistant, as the templates
//! of many models require.

use std::collections::HashSet;

use super::{invalid, signature};
use crate::api::anthropic::{
    Block as Wire, Content, Part, RequestMessage, Source, SourceData, TextBlock,
};
use crate::chat::{Block, Image, ToolCall, ToolCallFunction, ToolResult, Turn};
use crate::dialect::called::Called;
use crate::error::RequestError;

/// Separates the texts of the system prompt.
const BREAK: &str = "\n\n";

/// The prefix of a block that agents put first in the system prompt. It is meant for billing, says nothing to a model,
/// and changes with each request, so that no request would find its prefix in the cache.
const BILLING: &str = "x-anthropic-billing-header:";

/// A converted conversation.
#[derive(Debug, Default)]
pub(super) struct Conversation {
    system: Vec<String>,
    turns: Vec<Turn>,
    called: Called,
    /// The tools that tool results have loaded.
    pub(super) referenced: HashSet<String>,
    n_calls: u32,
}

impl Conversation {
    /// Converts a request's system prompt and messages.
    ///
    /// # Errors
    /// Refuses unknown roles, incomplete tool calls and files that cannot be read.
    pub(super) fn new(
        system: Content<TextBlock>,
        messages: Vec<RequestMessage>,
    ) -> Result<Self, RequestError> {
        let system = texts(system).into_iter();
        let mut conversation = Self {
            system: system.filter(|text| !text.starts_with(BILLING)).collect(),
            ..Self::default()
        };
        for (index, message) in messages.into_iter().enumerate() {
            conversation.add(message, &format!("messages.{index}"))?;
        }
        Ok(conversation)
    }

    /// The turns, with the system prompt first.
    pub(super) fn into_turns(self) -> Vec<Turn> {
        let system = self.system.join(BREAK);
        let system = (!system.is_empty()).then(|| Turn::text("system", system));
        system.into_iter().chain(self.turns).collect()
    }

    fn add(&mut self, message: RequestMessage, place: &str) -> Result<(), RequestError> {
        let role = message.role.to_lowercase();
        match role.as_str() {
            "system" => {
                self.instruct(message.content);
                return Ok(());
            }
            "user" | "assistant" => {}
            _ => {
                let what = "Input should be 'user' or 'assistant'";
                return Err(invalid(&format!("{place}.role"), what));
            }
        }
        let wire = match message.content {
            Content::Absent => {
                return Err(invalid(&format!("{place}.content"), "Field required"));
            }
            Content::Text(text) => {
                self.say(&role, vec![Block::Text(text)]);
                return Ok(());
            }
            Content::Blocks(blocks) => blocks,
        };
        let mut blocks = Vec::with_capacity(wire.len());
        for (index, block) in wire.into_iter().enumerate() {
            let place = format!("{place}.content.{index}");
            blocks.extend(self.block(block, &place)?);
        }
        self.say(&role, blocks);
        Ok(())
    }

    /// Adds blocks to the last turn if it has the same role, or starts a turn.
    fn say(&mut self, role: &str, blocks: Vec<Block>) {
        match self.turns.last_mut() {
            Some(turn) if turn.role == role => turn.blocks.extend(blocks),
            _ => self.turns.push(Turn {
                role: role.to_owned(),
                blocks,
                ..Turn::default()
            }),
        }
    }

    /// Adds a system message within the conversation. Few templates allow one after the first message: before the first
    /// answer it is added to the system prompt, later to the user's turn, marked.
    fn instruct(&mut self, content: Content<Wire>) {
        let texts: Vec<String> = match content {
            Content::Absent => return,
            Content::Text(text) => vec![text],
            Content::Blocks(blocks) => blocks.into_iter().map(|block| block.text).collect(),
        };
        let texts = texts.into_iter().filter(|text| !text.is_empty());
        if self.turns.iter().any(|turn| turn.role == "assistant") {
            let text = texts.collect::<Vec<_>>().join(BREAK);
            let text = format!("<system-reminder>\n{text}\n</system-reminder>");
            self.say("user", vec![Block::Text(text)]);
        } else {
            self.system.extend(texts);
        }
    }

    /// Converts a block; blocks of unknown kinds are skipped.
    fn block(&mut self, block: Wire, place: &str) -> Result<Option<Block>, RequestError> {
        Ok(Some(match block.kind.as_str() {
            "text" => Block::Text(block.text),
            "image" => Block::Image(image(block.source, place)?),
            "document" => Block::Text(document(block.source, &block.title, &block.context, place)?),
            "thinking" => Block::Thinking {
                text: if block.thinking.is_empty() {
                    signature::thinking_in(&block.signature).unwrap_or_default()
                } else {
                    block.thinking
                },
                signature: block.signature,
            },
            "tool_use" | "server_tool_use" => Block::ToolUse(self.call(block, place)?),
            "tool_result" | "web_search_tool_result" => {
                Block::ToolResult(self.result(block, place)?)
            }
            "search_result" => {
                let parts = parts_of(block.content).into_iter();
                Block::Text(found(
                    block.source,
                    &block.title,
                    parts.map(|part| part.text),
                ))
            }
            _ => return Ok(None),
        }))
    }

    fn call(&mut self, block: Wire, place: &str) -> Result<ToolCall, RequestError> {
        for (field, value) in [("id", &block.id), ("name", &block.name)] {
            if value.is_empty() {
                let what = format!("tool_use block missing required '{field}' field");
                return Err(invalid(place, what));
            }
        }
        self.called.note(&block.id, &block.name);
        let index = self.n_calls;
        self.n_calls += 1;
        Ok(ToolCall {
            id: block.id,
            function: ToolCallFunction {
                index,
                name: block.name,
                arguments: block.input,
            },
        })
    }

    fn result(&mut self, block: Wire, place: &str) -> Result<ToolResult, RequestError> {
        let mut content = Vec::new();
        for (index, part) in parts_of(block.content).into_iter().enumerate() {
            let place = format!("{place}.content.{index}");
            content.extend(self.part(part, &place)?);
        }
        Ok(ToolResult {
            tool_name: self.called.name_of(&block.tool_use_id),
            call_id: block.tool_use_id,
            content,
            is_error: block.is_error,
        })
    }

    fn part(&mut self, part: Part, place: &str) -> Result<Option<Block>, RequestError> {
        Ok(Some(match part.kind.as_str() {
            "text" => Block::Text(part.text),
            "image" => Block::Image(image(part.source, place)?),
            "document" => Block::Text(document(part.source, &part.title, &part.context, place)?),
            "search_result" => Block::Text(found(
                part.source,
                &part.title,
                texts(part.content).into_iter(),
            )),
            "web_search_result" => Block::Text(format!("{}: {}", part.title, part.url)),
            "tool_reference" => {
                let text = format!("The tool `{}` is available now.", part.tool_name);
                self.referenced.insert(part.tool_name);
                Block::Text(text)
            }
            _ => return Ok(None),
        }))
    }
}

fn parts_of(content: Content<Part>) -> Vec<Part> {
    match content {
        Content::Absent => Vec::new(),
        Content::Text(text) => vec![Part {
            kind: "text".to_owned(),
            text,
            ..Part::default()
        }],
        Content::Blocks(parts) => parts,
    }
}

fn texts(content: Content<TextBlock>) -> Vec<String> {
    let texts = match content {
        Content::Absent => Vec::new(),
        Content::Text(text) => vec![text],
        Content::Blocks(blocks) => blocks.into_iter().map(|block| block.text).collect(),
    };
    texts.into_iter().filter(|text| !text.is_empty()).collect()
}

fn image(source: Option<Source>, place: &str) -> Result<Image, RequestError> {
    let place = format!("{place}.source");
    let source = source.ok_or_else(|| invalid(&place, "Field required"))?;
    match (source.kind.as_str(), source.data) {
        ("base64", SourceData::File(image)) => Ok(image),
        ("base64", SourceData::Bad(error)) => Err(invalid(
            &place,
            format!("invalid base64 image data: {error}"),
        )),
        ("url" | "file", _) => {
            let kind = source.kind;
            let what =
                format!("invalid image source type: {kind}. Only base64 images are supported.");
            Err(invalid(&place, what))
        }
        _ => Err(invalid(&place, "invalid image source")),
    }
}

/// A document as text. Other kinds (PDF) are refused, since they would have to be rendered.
fn document(
    source: Option<Source>,
    title: &str,
    context: &str,
    place: &str,
) -> Result<String, RequestError> {
    let place = format!("{place}.source");
    let source = source.ok_or_else(|| invalid(&place, "Field required"))?;
    let text = match (source.kind.as_str(), source.data) {
        ("text", SourceData::Text(text)) => text,
        // `type` came after `data`.
        ("text", SourceData::File(file)) => String::from_utf8_lossy(&file.0).into_owned(),
        ("content", _) => texts(source.content).join(BREAK),
        _ => {
            let what = "only documents of plain text are supported";
            return Err(invalid(&place, what));
        }
    };
    let parts = [title, context, &text];
    let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    Ok(parts.join("\n"))
}

/// A search result as text.
fn found(source: Option<Source>, title: &str, texts: impl Iterator<Item = String>) -> String {
    let address = source.map(|source| source.address).unwrap_or_default();
    let head = [title.to_owned(), address].into_iter();
    let parts = head.chain(texts).filter(|part| !part.is_empty());
    parts.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::chat::Message;

    /// The messages that the template gets, as role and text.
    fn messages(system: Value, messages: Value) -> Vec<(String, String)> {
        let system = serde_json::from_value(system).unwrap();
        let messages = serde_json::from_value(messages).unwrap();
        let conversation = Conversation::new(system, messages).unwrap();
        let turns = conversation.into_turns().into_iter();
        turns
            .flat_map(Turn::into_messages)
            .map(|Message { role, content, .. }| (role, content))
            .collect()
    }

    fn pairs<const N: usize>(pairs: [(&str, &str); N]) -> Vec<(String, String)> {
        pairs.map(|(role, text)| (role.into(), text.into())).into()
    }

    #[test]
    fn turns_alternate_whatever_the_client_sends() {
        let sent = json!([
            {"role": "user", "content": "a"},
            {"role": "system", "content": "early"},
            {"role": "user", "content": [{"type": "text", "text": "b"}]},
            {"role": "assistant", "content": "c"},
            {"role": "assistant", "content": "d"},
            {"role": "system", "content": [{"type": "text", "text": "late"}]},
            {"role": "user", "content": "e"},
        ]);
        let expected = pairs([
            ("system", "first\n\nearly"),
            ("user", "a\n\nb"),
            ("assistant", "c\n\nd"),
            ("user", "<system-reminder>\nlate\n</system-reminder>\n\ne"),
        ]);
        assert_eq!(messages(json!("first"), sent), expected);
    }

    #[test]
    fn results_know_the_name_of_their_tool() {
        let sent = json!([
            {"role": "user", "content": "a"},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "f", "input": {}}]},
            {"role": "user", "content": [
                {"type": "text", "text": "So?"},
                {"type": "tool_result", "tool_use_id": "t", "content": [
                    {"type": "search_result", "source": "https://example.com", "title": "T",
                        "content": [{"type": "text", "text": "found"}]},
                    {"type": "web_search_result", "title": "W", "url": "https://example.org"},
                ]},
            ]},
        ]);
        let sent = serde_json::from_value(sent).unwrap();
        let turns = Conversation::new(Content::Absent, sent)
            .unwrap()
            .into_turns();
        let messages: Vec<Message> = turns.into_iter().flat_map(Turn::into_messages).collect();
        assert_eq!((&*messages[2].role, &*messages[2].tool_name), ("tool", "f"));
        let found = "T\nhttps://example.com\nfound\n\nW: https://example.org";
        assert_eq!(messages[2].content, found);
        assert_eq!(messages[3].content, "So?");
    }
}
