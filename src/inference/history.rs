//! The list of messages that a template gets.

use super::prepare::Prepared;
use crate::chat::Message;
use crate::families;
use crate::parser::{Parser as _, Thinking};

/// The model's own messages and system text, then the request's messages. Old reasoning is removed for
/// families that were trained without it.
pub(super) fn assemble(prepared: &Prepared, request: Vec<Message>) -> Vec<Message> {
    let model = &prepared.model;
    let mut messages = Vec::with_capacity(request.len() + model.messages.len() + 1);
    let has_system = request
        .first()
        .is_some_and(|message| message.role == "system");
    if let Some(system) = model.system.as_ref().filter(|_| !has_system) {
        messages.push(Message::text("system", system.clone()));
    }
    messages.extend(model.messages.iter().cloned());
    messages.extend(request);
    forget_reasoning(&mut messages, &model.config.model_family, &model.name.model);
    messages
}

/// Removes `<think>…</think>` from the assistant's messages before the last question, for families that
/// were trained this way.
pub fn forget_reasoning(messages: &mut [Message], family: &str, model: &str) {
    if !families::forgets_reasoning(family, model) {
        return;
    }
    let last_question = messages.iter().rposition(|message| message.role == "user");
    let Some(earlier) = last_question.and_then(|last| messages.get_mut(..last)) else {
        return;
    };
    for message in earlier
        .iter_mut()
        .filter(|message| message.role == "assistant")
    {
        let mut parser = Thinking::new("<think>", "</think>", false);
        // This parser does not fail; text that it still holds at the end was not closed.
        if let Ok(piece) = parser.push(&message.content) {
            message.content = piece.content;
        }
    }
}
