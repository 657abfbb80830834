//! The places of images in prompts: `[img-N]`, counted over a conversation.

use std::borrow::Cow;

use crate::chat::{Message, PLACE};

/// Numbers the images of a conversation.
#[derive(Debug, Default)]
pub(crate) struct Images {
    n_seen: usize,
}

impl Images {
    /// Returns the message's text with a tag for each image: at the marked places, otherwise at the front.
    pub(crate) fn tag(&mut self, message: &Message, content: &str) -> String {
        let first = self.n_seen;
        self.n_seen += message.images.len();
        if message.images.is_empty() || content.contains("[img-") {
            return content.to_owned();
        }
        let mut content = content.to_owned();
        let mut front = String::new();
        for number in first..self.n_seen {
            let tag = format!("[img-{number}]");
            if content.contains(PLACE) {
                content = content.replacen(PLACE, &tag, 1);
            } else {
                front.push_str(&tag);
            }
        }
        let begins_with_text = content.chars().next().is_some_and(|c| !c.is_whitespace());
        if !front.is_empty() && begins_with_text {
            front.push(' ');
        }
        front + &content
    }
}

/// The messages for a GGUF file's own template: each image replaces the next `[img]` of its message or, as
/// in Ollama, follows the text.
pub fn after_text(messages: &[Message]) -> Cow<'_, [Message]> {
    if messages.iter().all(|message| message.images.is_empty()) {
        return messages.into();
    }
    let mut numbers = 0..;
    let tag_all = |message: &Message| {
        let mut message = message.clone();
        for number in numbers.by_ref().take(message.images.len()) {
            let tag = format!("[img-{number}]");
            if message.content.contains(PLACE) {
                message.content = message.content.replacen(PLACE, &tag, 1);
            } else {
                message.content += &tag;
            }
        }
        message
    };
    messages.iter().map(tag_all).collect()
}

/// The messages for a TEMPLATE: each image replaces the next `[img]` of its message, or precedes the text.
pub fn tagged(messages: &[Message]) -> Cow<'_, [Message]> {
    if messages.iter().all(|message| message.images.is_empty()) {
        return messages.into();
    }
    let mut n_seen = 0;
    let tag_all = |message: &Message| {
        let mut message = message.clone();
        let mut front = String::new();
        for _ in 0..message.images.len() {
            let tag = format!("[img-{n_seen}]");
            n_seen += 1;
            if message.content.contains(PLACE) {
                message.content = message.content.replacen(PLACE, &tag, 1);
            } else {
                front += &tag;
            }
        }
        message.content.insert_str(0, &front);
        message
    };
    messages.iter().map(tag_all).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::Image;

    fn message(text: &str, n_images: usize) -> Message {
        Message {
            images: vec![Image(bytes::Bytes::new()); n_images],
            ..Message::text("user", text)
        }
    }

    #[test]
    fn images_stand_where_their_message_has_places_for_them() {
        let messages = [
            message("none [img]", 0),
            message("one [img] two [img] three", 2),
            message("a [img] b", 2),
        ];
        let texts = |messages: Cow<'_, [Message]>| -> Vec<String> {
            messages
                .iter()
                .map(|message| message.content.clone())
                .collect()
        };
        let placed = "one [img-0] two [img-1] three";
        assert_eq!(
            texts(after_text(&messages)),
            ["none [img]", placed, "a [img-2] b[img-3]"]
        );
        assert_eq!(
            texts(tagged(&messages)),
            ["none [img]", placed, "[img-3]a [img-2] b"]
        );
        let mut images = Images::default();
        let tagged = messages.map(|message| images.tag(&message, &message.content));
        assert_eq!(tagged, ["none [img]", placed, "[img-3] a [img-2] b"]);
    }
}
