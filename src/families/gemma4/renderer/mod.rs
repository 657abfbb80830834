//! Gemma 4: turns of user and model; calls and their results are inside the model's turn.

mod declare;

use crate::chat::{Message, ToolCall};
use crate::families::shared::prompt::{Quoted, leading_system, thinks, tools};
use crate::renderer::images::Images;
use crate::renderer::{RenderError, RenderInput};

/// Around strings.
const QUOTE: &str = "<|\"|>";
const DIALECT: Quoted = Quoted {
    quote: QUOTE,
    null: "null",
};

pub(super) fn small(input: &RenderInput<'_>) -> Result<String, RenderError> {
    Ok(render(input, false))
}

/// Large models get an empty thinking block when thinking is off.
pub(super) fn large(input: &RenderInput<'_>) -> Result<String, RenderError> {
    Ok(render(input, true))
}

/// What the last turn ended with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Last {
    Turn,
    Call,
    Result,
}

fn render(input: &RenderInput<'_>, is_large: bool) -> String {
    let thinks = thinks(input, false);
    let (system, messages) = leading_system(input.messages, &["system", "developer"]);
    let tools = tools(input);
    let mut text = "<bos>".to_owned();
    if system.is_some() || !tools.is_empty() || thinks {
        text += "<|turn>system\n";
        if thinks {
            text += "<|think|>\n";
        }
        text += system.unwrap_or_default().trim();
        for tool in &tools {
            text += &declare::declaration(tool);
        }
        text += "<turn|>\n";
    }
    let mut images = Images::default();
    let mut last = Last::Turn;
    let mut before = "";
    let last_user = messages.iter().rposition(|message| message.role == "user");
    for (index, message) in messages.iter().enumerate() {
        if message.role == "tool" {
            continue;
        }
        let turn = Turn {
            messages,
            index,
            shows_thinking: last_user.is_none_or(|last| index > last),
            continues: message.role == "assistant" && before == "assistant",
        };
        last = turn.render(&mut images, &mut text);
        before = &message.role;
    }
    match last {
        Last::Turn => {
            text += "<|turn>model\n";
            if is_large && !thinks {
                text += "<|channel>thought\n<channel|>";
            }
        }
        Last::Result if thinks => text += "<|channel>thought\n",
        Last::Call | Last::Result => {}
    }
    text
}

/// A message with the results of its calls.
struct Turn<'a> {
    messages: &'a [Message],
    index: usize,
    shows_thinking: bool,
    /// The previous turn was also the model's: this message continues it.
    continues: bool,
}

impl Turn<'_> {
    fn render(&self, images: &mut Images, text: &mut String) -> Last {
        let message = &self.messages[self.index];
        let is_model = message.role == "assistant";
        if !self.continues {
            let role = if is_model { "model" } else { &message.role };
            *text += &format!("<|turn>{role}\n");
        }
        if is_model && self.shows_thinking && !message.thinking.is_empty() {
            *text += &format!("<|channel>thought\n{}\n<channel|>", message.thinking);
        }
        for call in &message.tool_calls {
            *text += &call_text(call);
        }
        let has_calls = !message.tool_calls.is_empty();
        let has_results = has_calls && self.results(message, images, text);
        let content = if is_model {
            without_thinking(&message.content)
        } else {
            message.content.trim().to_owned()
        };
        if !is_model || !message.content.is_empty() || !message.images.is_empty() {
            *text += &images.tag(message, &content);
        }
        let has_content = !content.trim().is_empty() || !message.images.is_empty();
        let mut later = self.messages[self.index + 1..].iter();
        let next = later
            .find(|next| next.role != "tool")
            .map_or("", |next| next.role.as_str());
        let goes_on = is_model && next == "assistant" && (!has_calls || has_results);
        let is_open = has_results && !has_content && next.is_empty();
        if has_calls && !has_results {
            *text += "<|tool_response>";
        } else if !goes_on && !is_open {
            *text += "<turn|>\n";
        }
        match (has_calls, has_results) {
            (_, true) => Last::Result,
            (true, false) => Last::Call,
            (false, false) => Last::Turn,
        }
    }

    fn results(&self, message: &Message, images: &mut Images, text: &mut String) -> bool {
        let results = self.messages[self.index + 1..].iter();
        let mut has_results = false;
        for result in results.take_while(|next| next.role == "tool") {
            has_results = true;
            let name = result_name(result, &message.tool_calls);
            let content = images.tag(result, &result.content);
            *text += &format!(
                "<|tool_response>response:{name}{{value:{QUOTE}{content}{QUOTE}}}<tool_response|>"
            );
        }
        has_results
    }
}

fn result_name<'a>(result: &'a Message, calls: &'a [ToolCall]) -> &'a str {
    let id = &result.tool_call_id;
    let call = calls.iter().find(|call| !id.is_empty() && call.id == *id);
    match call {
        Some(call) => &call.function.name,
        None if result.tool_name.is_empty() => "unknown",
        None => &result.tool_name,
    }
}

fn call_text(call: &ToolCall) -> String {
    let function = &call.function;
    let arguments = DIALECT.map(&function.arguments);
    format!("<|tool_call>call:{}{arguments}<tool_call|>", function.name)
}

/// Removes channels from a content.
fn without_thinking(content: &str) -> String {
    let mut text = String::new();
    let mut rest = content;
    loop {
        let Some((before, after)) = rest.split_once("<|channel>") else {
            text.push_str(rest);
            break;
        };
        text.push_str(before);
        let Some((_, after)) = after.split_once("<channel|>") else {
            break;
        };
        rest = after;
    }
    text.trim().to_owned()
}
