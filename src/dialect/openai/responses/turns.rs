//! Converts items to turns.
//!
//! The assistant's texts, thinking and calls between two messages of others form one turn, as templates expect. Calls
//! of tools that run elsewhere, and their results, are skipped.

use serde_json::{Map, Value};

use super::super::chat::message::{audio, image};
use super::super::check::wrong_type;
use super::{SUMMARIZED, SUMMARY, THINKING, invalid};
use crate::api::openai::File;
use crate::chat::{Block, ToolCall, ToolCallFunction, ToolResult, Turn};
use crate::dialect::called::Called;
use crate::error::RequestError;
use crate::json::deep;
use crate::seal::Seal;

/// Kinds of items that mean nothing to a model here.
const PASSED_OVER: &[&str] = &[
    "additional_tools",
    "apply_patch_call",
    "apply_patch_call_output",
    "code_interpreter_call",
    "compaction_trigger",
    "computer_call",
    "computer_call_output",
    "configuration_update",
    "file_search_call",
    "image_generation_call",
    "local_shell_call",
    "local_shell_call_output",
    "mcp_approval_request",
    "mcp_approval_response",
    "mcp_call",
    "mcp_list_tools",
    "program",
    "program_output",
    "shell_call",
    "shell_call_output",
    "tool_search_call",
    "tool_search_output",
    "web_search_call",
];

/// Turns under construction.
pub(super) struct Turns<'a> {
    seal: &'a Seal,
    turns: Vec<Turn>,
    called: Called,
    /// Whether the assistant has said something.
    has_answer: bool,
    /// How many calls the last turn has.
    n_calls: u32,
    n_items: usize,
}

/// The most items of a request, including its history: the texts and calls of one turn are sorted item by item.
const MOST_ITEMS: usize = 10_000;

impl<'a> Turns<'a> {
    pub(super) fn new(seal: &'a Seal, instructions: Option<&str>) -> Self {
        let instructions = instructions.filter(|text| !text.is_empty());
        let system = instructions.map(|text| Turn::text("system", text));
        Self {
            seal,
            turns: system.into_iter().collect(),
            called: Called::default(),
            has_answer: false,
            n_calls: 0,
            n_items: 0,
        }
    }

    pub(super) fn into_turns(self) -> Vec<Turn> {
        self.turns
    }

    /// Adds an item.
    ///
    /// # Errors
    /// Says what is wrong with the item.
    pub(super) fn add(&mut self, item: &Value) -> Result<(), RequestError> {
        self.n_items += 1;
        if self.n_items > MOST_ITEMS {
            let message = format!("more than {MOST_ITEMS} items, history included");
            return Err(invalid(message));
        }
        if !item.is_object() {
            return Err(invalid("an input item must be an object"));
        }
        let kind = match &item["type"] {
            Value::String(kind) => kind.as_str(),
            _ if item["role"].is_string() => "message",
            _ => return Err(invalid("input item missing required 'type' field")),
        };
        match kind {
            "message" => self.message(item),
            "function_call" => {
                let arguments = arguments(text(item, "arguments"))?;
                self.call(item, arguments);
                Ok(())
            }
            "custom_tool_call" => {
                let input = Map::from_iter([("input".to_owned(), text(item, "input").into())]);
                self.call(item, input);
                Ok(())
            }
            "function_call_output" | "custom_tool_call_output" => self.output(item),
            "reasoning" => {
                self.reasoning(item);
                Ok(())
            }
            "compaction" => {
                let sealed = text(item, "encrypted_content");
                if let Some(summary) = self.seal.open(SUMMARY, sealed) {
                    let text = format!("{SUMMARIZED}{summary}");
                    self.turns.push(Turn::text("user", text));
                }
                Ok(())
            }
            kind if PASSED_OVER.contains(&kind) => Ok(()),
            kind => {
                let shown: String = kind.chars().take(64).collect();
                Err(invalid(format!("unknown input item type: {shown:?}")))
            }
        }
    }

    fn message(&mut self, item: &Value) -> Result<(), RequestError> {
        let role = match text(item, "role").to_lowercase() {
            role if role == "developer" => "system".to_owned(),
            role => role,
        };
        let content = content(&item["content"])?;
        if role == "system" {
            self.instruct(content);
            return Ok(());
        }
        if role != "assistant" {
            self.turns.push(Turn {
                role,
                blocks: content,
                ..Turn::default()
            });
            return Ok(());
        }
        // A second text without calls between becomes a separate message.
        let is_said = |turn: &Turn| {
            let mut blocks = turn.blocks.iter();
            let has_text = blocks.any(|block| matches!(block, Block::Text(_)));
            let mut blocks = turn.blocks.iter();
            has_text && !blocks.any(|block| matches!(block, Block::ToolUse(_)))
        };
        if self.turns.last().is_some_and(is_said) {
            self.has_answer = true;
            self.n_calls = 0;
            self.turns.push(Turn {
                role,
                ..Turn::default()
            });
        }
        let turn = self.assistant();
        // Templates put calls after the text.
        let calls = turn
            .blocks
            .iter()
            .position(|block| matches!(block, Block::ToolUse(_)));
        let at = calls.unwrap_or(turn.blocks.len());
        turn.blocks.splice(at..at, content);
        Ok(())
    }

    /// Adds a message with instructions. Few templates allow one after the first: before the first answer it is added
    /// to the system prompt, later it becomes a user message, marked, as on Anthropic's route.
    fn instruct(&mut self, content: Vec<Block>) {
        if self.has_answer {
            let marked = |text: &str| Block::Text(text.to_owned());
            let mut blocks = vec![marked("<system-reminder>")];
            blocks.extend(content);
            blocks.push(marked("</system-reminder>"));
            self.turns.push(Turn {
                role: "user".to_owned(),
                blocks,
                ..Turn::default()
            });
            return;
        }
        match self.turns.first_mut() {
            Some(first) if first.role == "system" => first.blocks.extend(content),
            _ => self.turns.insert(
                0,
                Turn {
                    role: "system".to_owned(),
                    blocks: content,
                    ..Turn::default()
                },
            ),
        }
    }

    fn call(&mut self, item: &Value, arguments: Map<String, Value>) {
        let name = match text(item, "namespace") {
            "" => text(item, "name").to_owned(),
            namespace => super::tools::full_name(namespace, text(item, "name")),
        };
        let id = text(item, "call_id").to_owned();
        self.called.note(&id, &name);
        self.assistant();
        let index = self.n_calls;
        self.n_calls += 1;
        let turn = self.assistant();
        turn.blocks.push(Block::ToolUse(ToolCall {
            id,
            function: ToolCallFunction {
                index,
                name,
                arguments,
            },
        }));
    }

    fn output(&mut self, item: &Value) -> Result<(), RequestError> {
        let call_id = text(item, "call_id").to_owned();
        let tool_name = self.called.name_of(&call_id);
        let content = match &item["output"] {
            // Some clients send the function's return value as it is: null or an object.
            Value::Null => Vec::new(),
            Value::Object(fields) => vec![Block::Text(Value::Object(fields.clone()).to_string())],
            output => content(output)?,
        };
        self.turns.push(Turn {
            role: "tool".to_owned(),
            blocks: vec![Block::ToolResult(ToolResult {
                call_id,
                tool_name,
                content,
                is_error: false,
            })],
            ..Turn::default()
        });
        Ok(())
    }

    /// Our own sealed text takes precedence; text that another server sealed cannot be read here.
    fn reasoning(&mut self, item: &Value) {
        let sealed = text(item, "encrypted_content");
        let joined = |key: &str| {
            let parts = item[key].as_array().map(Vec::as_slice).unwrap_or_default();
            let texts = parts.iter().filter_map(|part| part["text"].as_str());
            let text = texts.collect::<Vec<_>>().join("\n\n");
            (!text.is_empty()).then_some(text)
        };
        let thinking = self.seal.open(THINKING, sealed);
        let thinking = thinking.or_else(|| joined("content"));
        let Some(thinking) = thinking.or_else(|| joined("summary")) else {
            return;
        };
        self.assistant().blocks.push(Block::Thinking {
            text: thinking,
            signature: String::new(),
        });
    }

    /// The assistant's turn at the end; adds one if there is none.
    fn assistant(&mut self) -> &mut Turn {
        let is_last = |turn: &Turn| turn.role == "assistant";
        if !self.turns.last().is_some_and(is_last) {
            self.has_answer = true;
            self.n_calls = 0;
            self.turns.push(Turn {
                role: "assistant".to_owned(),
                ..Turn::default()
            });
        }
        let last = self.turns.len() - 1;
        &mut self.turns[last]
    }
}

fn text<'a>(item: &'a Value, key: &str) -> &'a str {
    item[key].as_str().unwrap_or_default()
}

fn arguments(text: &str) -> Result<Map<String, Value>, RequestError> {
    if text.trim().is_empty() {
        return Ok(Map::new());
    }
    let failed = |error: &str| invalid(format!("failed to parse function call arguments: {error}"));
    match deep::parse(text, deep::MAX_LEVELS) {
        Ok(Value::Object(arguments)) => Ok(arguments),
        Ok(_) => Err(failed("no object")),
        Err(error) => Err(failed(&error)),
    }
}

fn content(content: &Value) -> Result<Vec<Block>, RequestError> {
    match content {
        Value::String(text) => Ok(vec![Block::Text(text.clone())]),
        Value::Array(parts) => {
            let blocks = parts.iter().filter_map(|part| part_block(part).transpose());
            blocks.collect()
        }
        Value::Null => Ok(Vec::new()),
        other => Err(wrong_type("content", "a string or an array", other)),
    }
}

/// The block of a part; `None` for an image that the request does not contain.
fn part_block(part: &Value) -> Result<Option<Block>, RequestError> {
    let block = match text(part, "type") {
        "input_text" | "output_text" | "text" | "summary_text" | "reasoning_text" => {
            Block::Text(text(part, "text").to_owned())
        }
        "refusal" => Block::Text(text(part, "refusal").to_owned()),
        "input_image" => match &part["image_url"] {
            // The part has only a file's id.
            Value::Null => return Ok(None),
            Value::String(url) => Block::Image(image(File::of_url(url))?),
            place => {
                let url = place["url"].as_str();
                let file = url.map_or(File::Missing, File::of_url);
                Block::Image(image(file)?)
            }
        },
        "input_audio" => {
            let data = part["input_audio"]["data"].as_str();
            Block::Audio(audio(data.map_or(File::Missing, File::of_data))?)
        }
        "input_file" => return Err(invalid("file inputs are not currently supported")),
        other => {
            let shown: String = other.chars().take(64).collect();
            return Err(invalid(format!("unknown content type: {shown}")));
        }
    };
    Ok(Some(block))
}
