//! The state of a session: model, conversation, options, display switches.

use serde_json::{Map, Value};

use crate::api::ollama::{ChatRequest, CreateRequest, GenerateRequest, ShowRequest, ShowResponse};
use crate::chat::{Image, Message};

/// One conversation with one model.
#[derive(Debug, Clone, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each one is a switch of the user's"
)]
pub(super) struct Session {
    pub(super) model: String,
    /// The model that this one was made from, if the daemon knows it.
    pub(super) parent_model: String,
    /// The user's system message; the daemon adds the model's own.
    pub(super) system: String,
    /// The conversation without the model's own messages.
    pub(super) messages: Vec<Message>,
    /// The model's own messages.
    pub(super) seeded: Vec<Message>,
    pub(super) options: Map<String, Value>,
    pub(super) format: Value,
    pub(super) think: Value,
    /// `think` was chosen by the user, not by the model's capabilities.
    pub(super) think_explicit: bool,
    pub(super) keep_alive: Value,
    pub(super) can_think: bool,
    pub(super) multimodal: bool,
    pub(super) word_wrap: bool,
    pub(super) verbose: bool,
    pub(super) hide_thinking: bool,
    pub(super) save_history: bool,
    /// The user has been told that a prompt was cut.
    pub(super) told_of_cut: bool,
}

impl Session {
    /// Takes over what the daemon reports about the model.
    pub(super) fn adopt(&mut self, shown: &ShowResponse) {
        let can = |name: &str| {
            shown
                .capabilities
                .iter()
                .any(|capability| capability == name)
        };
        self.parent_model.clone_from(&shown.details.parent_model);
        self.seeded.clone_from(&shown.messages);
        self.can_think = can("thinking");
        // Daemons that list no capabilities report a projector instead.
        let old_vision = shown.capabilities.is_empty()
            && (!shown.projector_info.is_empty()
                || shown.model_info.keys().any(|key| key.contains(".vision.")));
        self.multimodal = can("vision") || can("audio") || old_vision;
        if !self.think_explicit {
            self.think = if self.can_think {
                Value::Bool(true)
            } else {
                Value::Null
            };
        }
    }

    /// Sets the system message, also as a message of the conversation.
    pub(super) fn set_system(&mut self, text: &str) {
        text.clone_into(&mut self.system);
        if self
            .messages
            .last()
            .is_some_and(|last| last.role == "system")
        {
            self.messages.pop();
        }
        self.messages.push(Message::text("system", text));
    }

    /// Drops the conversation except the system message.
    pub(super) fn clear(&mut self) {
        self.messages.clear();
        if !self.system.is_empty() {
            self.messages
                .push(Message::text("system", self.system.clone()));
        }
    }

    /// The request that asks for the next answer of the conversation.
    pub(super) fn chat_request(&self) -> ChatRequest {
        ChatRequest {
            model: self.model.clone(),
            messages: self.messages.clone(),
            format: self.format.clone(),
            keep_alive: self.keep_alive.clone(),
            options: self.options.clone(),
            think: self.think.clone(),
            ..ChatRequest::default()
        }
    }

    /// The request that continues one prompt; an empty prompt loads the model.
    pub(super) fn generate_request(&self, prompt: &str, images: Vec<Image>) -> GenerateRequest {
        GenerateRequest {
            model: self.model.clone(),
            prompt: prompt.to_owned(),
            images,
            system: self.system.clone(),
            format: self.format.clone(),
            keep_alive: self.keep_alive.clone(),
            options: self.options.clone(),
            think: self.think.clone(),
            ..GenerateRequest::default()
        }
    }

    /// The request for what is known about the model, with the session's changes applied.
    pub(super) fn show_request(&self) -> ShowRequest {
        ShowRequest {
            model: self.model.clone(),
            name: self.model.clone(),
            verbose: false,
            system: self.system.clone(),
            options: self.options.clone(),
            fit: false,
        }
    }

    /// The request that stores the session as a model.
    pub(super) fn create_request(&self, name: &str) -> CreateRequest {
        let from = if self.parent_model.is_empty() {
            &self.model
        } else {
            &self.parent_model
        };
        CreateRequest {
            model: name.to_owned(),
            from: from.clone(),
            system: self.system.clone(),
            parameters: self.options.clone(),
            messages: [self.seeded.as_slice(), &self.messages].concat(),
            ..CreateRequest::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_new_system_turn_replaces_the_one_before() {
        let mut session = Session::default();
        session.set_system("a");
        session.set_system("b");
        session.messages.push(Message::text("user", "hi"));
        session.set_system("c");
        let roles: Vec<&str> = session
            .messages
            .iter()
            .map(|m| m.content.as_str())
            .collect();
        assert_eq!(roles, ["b", "hi", "c"]);
        session.clear();
        assert_eq!(session.messages, [Message::text("system", "c")]);
    }

    #[test]
    fn an_explicit_think_outlives_the_model() {
        let thinker: ShowResponse =
            serde_json::from_value(json!({"capabilities": ["thinking", "vision"]})).unwrap();
        let mut session = Session::default();
        session.adopt(&thinker);
        assert_eq!(session.think, json!(true));
        assert!(session.multimodal);
        session.adopt(&ShowResponse::default());
        assert_eq!(session.think, Value::Null);
        let mut explicit = Session {
            think: json!("high"),
            think_explicit: true,
            ..Session::default()
        };
        explicit.adopt(&ShowResponse::default());
        assert_eq!(explicit.think, json!("high"));
    }
}
