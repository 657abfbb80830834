//! Qwen 3.5 and 3.8, and Ornith: tools as JSON, calls in XML, thinking in the history.

use super::tool_response;
use crate::chat::typed::Spelling;
use crate::chat::{Message, Think, ThinkLevel};
use crate::families::shared::prompt::{asks, last_question, thinks, tools, value_text};
use crate::families::shared::xml::XML_CALLS;
use crate::json::spaced;
use crate::renderer::images::Images;
use crate::renderer::{RenderError, RenderInput};

/// How the three models differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Variant {
    Qwen35,
    Ornith,
    Qwen38,
}

const HARD: &str = "Reasoning effort is set to xhigh. Please think carefully through the task, validate key assumptions, consider plausible alternatives, and prioritize correctness, consistency, and clarity in the final answer.";
const BRIEF: &str = "Reasoning effort is set to low. Keep your thinking brief and focused, moving directly to the conclusion without unnecessary elaboration.";

pub(in crate::families) fn qwen35(input: &RenderInput<'_>) -> Result<String, RenderError> {
    Ok(render(input, input.messages, Variant::Qwen35, ""))
}

pub(in crate::families) fn ornith(input: &RenderInput<'_>) -> Result<String, RenderError> {
    Ok(render(input, input.messages, Variant::Ornith, ""))
}

pub(in crate::families) fn qwen38(input: &RenderInput<'_>) -> Result<String, RenderError> {
    let messages = one_system(input.messages)?;
    check(&messages)?;
    let effort = match input.think {
        None | Some(Think::Level(ThinkLevel::High | ThinkLevel::Max)) => HARD,
        Some(Think::Level(ThinkLevel::Low)) => BRIEF,
        Some(Think::On | Think::Off | Think::Level(ThinkLevel::Medium)) => "",
    };
    Ok(render(input, &messages, Variant::Qwen38, effort))
}

fn is_instruction(message: &Message) -> bool {
    matches!(message.role.as_str(), "system" | "developer")
}

/// Merges all instructions into one system message at the front.
fn one_system(messages: &[Message]) -> Result<Vec<Message>, RenderError> {
    let instructions: Vec<&Message> = messages.iter().filter(|m| is_instruction(m)).collect();
    if let Some(message) = instructions
        .iter()
        .find(|message| !message.images.is_empty())
    {
        return Err(RenderError(format!(
            "{} message cannot contain images",
            message.role
        )));
    }
    let leads = messages
        .first()
        .is_some_and(|message| message.role == "system");
    if instructions.is_empty() || (instructions.len() == 1 && leads) {
        return Ok(messages.to_vec());
    }
    let texts = instructions.iter().map(|message| message.content.trim());
    let texts: Vec<&str> = texts.filter(|text| !text.is_empty()).collect();
    let system = Message::text("system", texts.join("\n\n"));
    let others = messages.iter().filter(|message| !is_instruction(message));
    Ok(std::iter::once(system).chain(others.cloned()).collect())
}

fn check(messages: &[Message]) -> Result<(), RenderError> {
    if messages.is_empty() {
        return Err(RenderError("no messages provided".to_owned()));
    }
    if messages.iter().any(|message| asks(message, true)) {
        Ok(())
    } else {
        Err(RenderError("no user query found in messages".to_owned()))
    }
}

fn render(input: &RenderInput<'_>, messages: &[Message], variant: Variant, effort: &str) -> String {
    let thinks = thinks(input, true);
    let mut text = String::new();
    head(input, messages, variant, effort, &mut text);
    let last_question = last_question(messages, true);
    let mut images = Images::default();
    for (index, message) in messages.iter().enumerate() {
        let content = images.tag(message, &message.content);
        let content = content.trim();
        let is_last = index + 1 == messages.len();
        let is_prefill = is_last && message.role == "assistant";
        match message.role.as_str() {
            "user" => text += &format!("<|im_start|>user\n{content}<|im_end|>\n"),
            "system" if index > 0 => {
                text += &format!("<|im_start|>system\n{content}<|im_end|>\n");
            }
            "system" => {}
            "assistant" => {
                let shows = variant != Variant::Qwen35 || (thinks && index > last_question);
                assistant(message, content, shows, variant, &mut text);
                if !is_prefill {
                    text += "<|im_end|>\n";
                }
            }
            "tool" => tool_response(messages, index, content, &mut text),
            role if variant == Variant::Qwen38 => {
                text += &format!("<|im_start|>{role}\n{content}<|im_end|>\n");
            }
            _ => {}
        }
        if is_last && !is_prefill {
            text += "<|im_start|>assistant\n<think>\n";
            if !thinks {
                text += "\n</think>\n\n";
            }
        }
    }
    text
}

/// The system turn: tools first, then the text.
fn head(
    input: &RenderInput<'_>,
    messages: &[Message],
    variant: Variant,
    effort: &str,
    text: &mut String,
) {
    let system = messages.first().filter(|message| message.role == "system");
    let system_text = system.map(|message| Images::default().tag(message, &message.content));
    let system_text = system_text.as_deref().map(str::trim);
    let tools = tools(input);
    let mut parts: Vec<String> = Vec::new();
    if !effort.is_empty() {
        parts.push(effort.to_owned());
    }
    if !tools.is_empty() {
        let mut part =
            "# Tools\n\nYou have access to the following functions:\n\n<tools>".to_owned();
        for tool in &tools {
            part += &format!("\n{}", spaced(&tool.json(Spelling::Escaped)));
        }
        part += "\n</tools>";
        part += XML_CALLS;
        parts.push(part);
    }
    if let Some(system) = system_text.filter(|system| !system.is_empty()) {
        parts.push(system.to_owned());
    }
    let has_empty_system = system_text.is_some() && variant != Variant::Qwen38;
    if !parts.is_empty() || has_empty_system {
        *text += &format!("<|im_start|>system\n{}<|im_end|>\n", parts.join("\n\n"));
    }
}

fn assistant(
    message: &Message,
    content: &str,
    shows_thinking: bool,
    variant: Variant,
    text: &mut String,
) {
    let (reasoning, content) = if shows_thinking && !message.thinking.is_empty() {
        (message.thinking.trim(), content)
    } else if variant == Variant::Qwen38 {
        ("", content)
    } else {
        inline_reasoning(content)
    };
    *text += "<|im_start|>assistant\n";
    if shows_thinking {
        *text += &format!("<think>\n{reasoning}\n</think>\n\n");
    }
    *text += content;
    for (number, call) in message.tool_calls.iter().enumerate() {
        if number > 0 {
            *text += "\n";
        } else if !content.trim().is_empty() {
            *text += "\n\n";
        }
        *text += &format!("<tool_call>\n<function={}>\n", call.function.name);
        for (key, value) in &call.function.arguments {
            *text += &format!("<parameter={key}>\n{}\n</parameter>\n", value_text(value));
        }
        *text += "</function>\n</tool_call>";
    }
}

/// Splits off reasoning that is inside the content.
fn inline_reasoning(content: &str) -> (&str, &str) {
    let Some((before, after)) = content.split_once("</think>") else {
        return ("", content);
    };
    let reasoning = before
        .rsplit_once("<think>")
        .map_or(before, |(_, inside)| inside);
    (reasoning.trim(), after.trim_start_matches('\n'))
}
