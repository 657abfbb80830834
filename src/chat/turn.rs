//! Messages as ordered content blocks: everything that an API can express in a conversation.
//!
//! Dialects make turns from their requests. Templates support less: [`Turn::into_messages`] makes the
//! [`Message`]s that they get.

use super::{Image, Message, ToolCall};

/// Marks where an image or audio clip belongs in a message's text, in order.
pub const PLACE: &str = "[img]";

/// Separates the texts of a message.
const BREAK: &str = "\n\n";

/// One message of a conversation.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Turn {
    /// `system`, `user`, `assistant`, `tool` or a name that only some templates know; lower case.
    pub role: String,
    /// The tool's name on a message that is not a tool result: templates may show it.
    pub tool_name: String,
    pub blocks: Vec<Block>,
    /// Files that came separately from the text (Ollama's `images`): the template places them.
    pub attachments: Vec<Image>,
}

/// A part of a message.
#[derive(Debug, Clone, PartialEq)]
pub enum Block {
    Text(String),
    Image(Image),
    Audio(Image),
    /// Earlier reasoning of the assistant.
    Thinking {
        text: String,
        /// The signature that the API returned with it and expects back; empty = none.
        signature: String,
    },
    ToolUse(ToolCall),
    ToolResult(ToolResult),
}

/// The result of a tool call.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ToolResult {
    /// The call that is answered; empty = not given.
    pub call_id: String,
    /// The function that was called; empty = not given.
    pub tool_name: String,
    /// Text, images and audio.
    pub content: Vec<Block>,
    /// Whether the call failed; `content` says why.
    pub is_error: bool,
}

impl Turn {
    /// Returns a turn with one text.
    pub fn text(role: impl Into<String>, text: impl Into<String>) -> Self {
        Self {
            role: role.into(),
            blocks: vec![Block::Text(text.into())],
            ..Self::default()
        }
    }

    /// The turn's images and audio clips, including those in tool results.
    pub fn media(&self) -> Vec<&Image> {
        let mut media: Vec<&Image> = self.attachments.iter().collect();
        add_media(&self.blocks, &mut media);
        media
    }

    /// Makes the messages that templates get. Tool results become messages of the role `tool`, in order. The texts of a
    /// message are joined by empty lines, with marks where its files belong. Signatures are dropped, and a failed call
    /// says so in its text: no template supports either.
    pub fn into_messages(self) -> Vec<Message> {
        let mut messages = Vec::with_capacity(1);
        let mut own = Builder::new(self.role, self.tool_name);
        own.message.images = self.attachments;
        let mut results = Vec::new();
        for block in self.blocks {
            match block {
                Block::ToolResult(result) => results.push(result),
                block => own.add(block),
            }
        }
        let is_tool = own.message.role == "tool";
        for result in results {
            // Other content of a tool's message belongs to its first result.
            let mut builder = if is_tool && messages.is_empty() {
                std::mem::take(&mut own)
            } else {
                Builder::new("tool".to_owned(), String::new())
            };
            builder.message.tool_call_id = result.call_id;
            builder.message.tool_name = result.tool_name;
            builder.fails = result.is_error;
            for block in result.content {
                builder.add(block);
            }
            messages.push(builder.finish());
        }
        // An empty message is kept, unless there are results.
        if messages.is_empty() || own.has_content() {
            messages.push(own.finish());
        }
        messages
    }
}

impl From<Message> for Turn {
    /// Converts a message in Ollama's form.
    fn from(message: Message) -> Self {
        let mut blocks = Vec::new();
        let mut tool_name = String::new();
        if !message.thinking.is_empty() {
            blocks.push(Block::Thinking {
                text: message.thinking,
                signature: String::new(),
            });
        }
        let text = (!message.content.is_empty()).then_some(Block::Text(message.content));
        let is_result = message.role == "tool"
            && !(message.tool_call_id.is_empty() && message.tool_name.is_empty());
        if is_result {
            blocks.push(Block::ToolResult(ToolResult {
                call_id: message.tool_call_id,
                tool_name: message.tool_name,
                content: text.into_iter().collect(),
                is_error: false,
            }));
        } else {
            blocks.extend(text);
            tool_name = message.tool_name;
        }
        blocks.extend(message.tool_calls.into_iter().map(Block::ToolUse));
        Self {
            role: message.role,
            tool_name,
            blocks,
            attachments: message.images,
        }
    }
}

fn add_media<'a>(blocks: &'a [Block], media: &mut Vec<&'a Image>) {
    for block in blocks {
        match block {
            Block::Image(file) | Block::Audio(file) => media.push(file),
            Block::ToolResult(result) => add_media(&result.content, media),
            Block::Text(_) | Block::Thinking { .. } | Block::ToolUse(_) => {}
        }
    }
}

/// A template's message under construction.
#[derive(Default)]
struct Builder {
    message: Message,
    /// Texts, and a [`PLACE`] for each file.
    pieces: Vec<String>,
    has_text: bool,
    /// Whether a tool result is an error.
    fails: bool,
}

/// The prefix of the text of a failed call, unless the text itself says so.
const FAILED: &str = "Error: ";

impl Builder {
    fn new(role: String, tool_name: String) -> Self {
        let message = Message {
            role,
            tool_name,
            ..Message::default()
        };
        Self {
            message,
            ..Self::default()
        }
    }

    fn add(&mut self, block: Block) {
        match block {
            Block::Text(text) if text.is_empty() => {}
            Block::Text(text) => {
                self.has_text = true;
                self.pieces.push(text);
            }
            Block::Image(file) | Block::Audio(file) => {
                self.message.images.push(file);
                self.pieces.push(PLACE.to_owned());
            }
            Block::Thinking { text, .. } => {
                if !self.message.thinking.is_empty() {
                    self.message.thinking.push_str(BREAK);
                }
                self.message.thinking.push_str(&text);
            }
            Block::ToolUse(call) => self.message.tool_calls.push(call),
            // No API nests tool results.
            Block::ToolResult(result) => {
                for block in result.content {
                    self.add(block);
                }
            }
        }
    }

    fn has_content(&self) -> bool {
        let message = &self.message;
        !(self.pieces.is_empty()
            && message.images.is_empty()
            && message.thinking.is_empty()
            && message.tool_calls.is_empty())
    }

    fn finish(mut self) -> Message {
        // If a message consists of files only, the template places them.
        if self.has_text {
            self.message.content = if self.pieces.len() == 1 {
                self.pieces.remove(0)
            } else {
                self.pieces.join(BREAK)
            };
        }
        let content = &mut self.message.content;
        let begin = content.get(..5).unwrap_or_default();
        if self.fails && !begin.eq_ignore_ascii_case("error") {
            content.insert_str(0, FAILED);
        }
        self.message
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn image(name: &'static str) -> Image {
        Image(bytes::Bytes::from_static(name.as_bytes()))
    }

    fn text(text: &str) -> Block {
        Block::Text(text.to_owned())
    }

    fn message() -> impl Strategy<Value = Message> {
        let role = prop_oneof!["user", "assistant", "system", "tool", "critic"];
        let texts = ["[a\\[\\]img \n]{0,8}", "[t ]{0,3}", "(f|g)?", "(c1)?"];
        (role, texts, 0..3_usize, 0..3_usize).prop_map(|(role, texts, n_images, n_calls)| {
            let [content, thinking, tool_name, id] = texts;
            let is_tool = role == "tool";
            Message {
                content,
                thinking,
                images: vec![image("x"); n_images],
                tool_calls: vec![ToolCall::default(); n_calls],
                tool_name,
                tool_call_id: if is_tool { id } else { String::new() },
                role,
            }
        })
    }

    proptest! {
        #[test]
        fn templates_get_ollamas_messages_as_they_came(message in message()) {
            prop_assert_eq!(Turn::from(message.clone()).into_messages(), [message]);
        }
    }

    #[test]
    fn files_among_texts_are_marked_and_others_are_not() {
        let mixed = Turn {
            role: "user".to_owned(),
            blocks: vec![text("a"), Block::Image(image("1")), text(""), text("b")],
            ..Turn::default()
        };
        assert!(!mixed.media().is_empty());
        let messages = mixed.into_messages();
        assert_eq!(messages[0].content, "a\n\n[img]\n\nb");
        assert_eq!(messages[0].images, [image("1")]);
        let alone = Turn {
            role: "user".to_owned(),
            blocks: vec![Block::Audio(image("1"))],
            ..Turn::default()
        };
        let messages = alone.into_messages();
        assert_eq!(
            (messages[0].content.as_str(), messages[0].images.len()),
            ("", 1)
        );
    }

    #[test]
    fn results_in_a_turn_of_the_user_are_messages_of_tools() {
        let result = |id: &str, what: &str| {
            Block::ToolResult(ToolResult {
                call_id: id.to_owned(),
                content: vec![text(what)],
                is_error: id != "1",
                ..ToolResult::default()
            })
        };
        let turn = Turn {
            role: "user".to_owned(),
            blocks: vec![
                result("1", "rain"),
                result("2", "sun"),
                result("3", "error: no"),
                text("So?"),
            ],
            ..Turn::default()
        };
        let messages = turn.into_messages();
        let seen = messages
            .iter()
            .map(|message| [&*message.role, &*message.tool_call_id, &*message.content]);
        let expected = [
            ["tool", "1", "rain"],
            ["tool", "2", "Error: sun"],
            ["tool", "3", "error: no"],
            ["user", "", "So?"],
        ];
        assert_eq!(seen.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn thinking_calls_and_nothing_at_all_stay_one_message() {
        let thought = |text: &str| Block::Thinking {
            text: text.to_owned(),
            signature: "s".to_owned(),
        };
        let turn = Turn {
            role: "assistant".to_owned(),
            blocks: vec![
                thought("a"),
                thought("b"),
                Block::ToolUse(ToolCall::default()),
            ],
            ..Turn::default()
        };
        let messages = turn.into_messages();
        assert_eq!(
            (messages.len(), messages[0].thinking.as_str()),
            (1, "a\n\nb")
        );
        assert_eq!(messages[0].tool_calls.len(), 1);
        assert_eq!(
            Turn::text("user", "").into_messages(),
            [Message::text("user", "")]
        );
    }
}
