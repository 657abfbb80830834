//! Prompts of Qwen 3's generations.

pub(super) mod coder;
pub(super) mod qwen35;
pub(super) mod vl;

use crate::chat::Message;
use crate::families::shared::prompt::role_at;

/// Writes the result of a tool; consecutive results share a user turn.
fn tool_response(messages: &[Message], index: usize, content: &str, text: &mut String) {
    if role_at(messages, index.checked_sub(1)) != "tool" {
        text.push_str("<|im_start|>user");
    }
    text.push_str("\n<tool_response>\n");
    text.push_str(content);
    text.push_str("\n</tool_response>");
    if role_at(messages, Some(index + 1)) != "tool" {
        text.push_str("<|im_end|>\n");
    }
}
