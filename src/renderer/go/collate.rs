//! Prepares a conversation for templates: adjacent messages of one role are joined.

use crate::chat::Message;

/// Returns all system texts, joined by an empty line, and the messages, with adjacent ones of the same role
/// joined likewise; tool results stay separate.
pub fn collate(messages: &[Message]) -> (String, Vec<Message>) {
    let system: Vec<&str> = messages
        .iter()
        .filter(|message| message.role == "system")
        .map(|message| message.content.as_str())
        .collect();
    let mut collated: Vec<Message> = Vec::with_capacity(messages.len());
    for message in messages {
        match collated.last_mut() {
            Some(last) if last.role == message.role && last.role != "tool" => {
                if !message.content.is_empty() {
                    last.content.push_str("\n\n");
                    last.content.push_str(&message.content);
                }
            }
            _ => collated.push(message.clone()),
        }
    }
    (system.join("\n\n"), collated)
}
