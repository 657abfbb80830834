//! ChatML, for models without a template.

use std::fmt::Write as _;

use super::{RenderError, RenderInput, images};

/// The marks around turns. To a model that was not trained with them they are plain text, and it may continue
/// with a user turn, so they end an answer.
pub const MARKS: [&str; 2] = ["<|im_end|>", "<|im_start|>"];

/// Renders a prompt that ends where the assistant's answer begins, or, when the last message is the
/// assistant's, where that message can be continued.
///
/// # Errors
/// Never; all renderers have this signature.
pub fn render(input: &RenderInput<'_>) -> Result<String, RenderError> {
    let mut prompt = String::new();
    let shown = images::after_text(input.messages);
    let (messages, prefill) = super::prefill(&shown);
    for message in messages {
        let role = match message.role.as_str() {
            "developer" => "system",
            role => role,
        };
        let _ = writeln!(prompt, "<|im_start|>{role}\n{}<|im_end|>", message.content);
    }
    prompt.push_str("<|im_start|>assistant\n");
    prompt.push_str(prefill);
    Ok(prompt)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::Message;

    fn check(messages: &[(&str, &str)], prompt: &str) {
        let messages: Vec<Message> = messages
            .iter()
            .map(|(role, text)| Message::text(*role, *text))
            .collect();
        let input = RenderInput {
            messages: &messages,
            ..RenderInput::default()
        };
        assert_eq!(render(&input).unwrap(), prompt);
    }

    #[test]
    fn a_prompt_ends_where_the_answer_begins_or_goes_on() {
        check(
            &[("developer", "Be brief."), ("user", "Hi")],
            "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n",
        );
        check(
            &[("user", "Count"), ("assistant", "one, ")],
            "<|im_start|>user\nCount<|im_end|>\n<|im_start|>assistant\none, ",
        );
    }
}
