//! Stored chats, and how clients see them.

use serde_json::{Value, json};

use super::super::stored::{metadata, stored};
use crate::api::openai::{
    CalledFunction, ChatCompletion, ChatRequest, ChatSettings, Content, File, Message, Part,
    StoredCall, StoredChat, StoredMessage, ToolCallFunction,
};
use crate::error::RequestError;

/// What is stored of a request besides its answer.
#[derive(Debug)]
pub struct Kept {
    pub asked: ChatSettings,
    pub messages: Vec<StoredMessage>,
}

impl Kept {
    /// Copies it from the request that the chat `id` answers.
    ///
    /// # Errors
    /// The metadata is not valid.
    pub fn of(request: &ChatRequest, id: &str) -> Result<Self, RequestError> {
        let tools = &request.tools;
        let user = &request.user;
        let asked = ChatSettings {
            request_id: None,
            tools: (!tools.is_empty()).then(|| tools.clone()),
            tool_choice: request.tool_choice.clone(),
            response_format: request
                .response_format
                .as_ref()
                .map_or(Value::Null, |format| match &format.json_schema {
                    None => json!({"type": format.kind}),
                    Some(of) => json!({"type": format.kind, "json_schema": {"schema": of.schema}}),
                }),
            temperature: request.temperature.unwrap_or(1.0),
            top_p: request.top_p.unwrap_or(1.0),
            presence_penalty: request.presence_penalty.unwrap_or_default(),
            frequency_penalty: request.frequency_penalty.unwrap_or_default(),
            seed: request.seed,
            input_user: (!user.is_empty()).then(|| user.clone()),
            metadata: metadata(request.metadata.clone())?,
        };
        let messages = request.messages.iter().enumerate();
        let messages = messages.map(|(n, message)| kept_message(format!("{id}-{n}"), message));
        Ok(Self {
            asked,
            messages: messages.collect(),
        })
    }

    /// Joins it with the answer.
    pub fn answered(self, completion: ChatCompletion) -> (StoredChat, Vec<StoredMessage>) {
        let asked = self.asked;
        (StoredChat { completion, asked }, self.messages)
    }
}

fn kept_message(id: String, message: &Message) -> StoredMessage {
    let given = |text: &String| (!text.is_empty()).then(|| text.clone());
    let (content, content_parts) = match &message.content {
        Content::Text(text) => (Some(text.clone()), None),
        Content::Parts(parts) => (None, Some(parts.iter().filter_map(kept_part).collect())),
        _ => (None, None),
    };
    let calls = message.tool_calls.as_ref().map(|calls| {
        let calls = calls.iter().map(|call| StoredCall {
            id: call.id.clone(),
            kind: "function",
            function: kept_function(&call.function),
        });
        calls.collect()
    });
    StoredMessage {
        id,
        role: message.role.clone(),
        content,
        name: given(&message.name),
        content_parts,
        refusal: None,
        tool_calls: calls,
        tool_call_id: given(&message.tool_call_id),
    }
}

fn kept_function(function: &CalledFunction) -> ToolCallFunction {
    let arguments = function.arguments.0.clone().unwrap_or_default();
    ToolCallFunction {
        name: function.name.clone(),
        arguments: Value::Object(arguments).to_string(),
    }
}

/// A part of a content, with its file; `None` for parts that the model cannot get.
fn kept_part(part: &Part) -> Option<Value> {
    Some(match part {
        Part::Text(text) => json!({"type": "text", "text": text}),
        Part::Image(File::Data(image)) => {
            let Ok(Value::String(base64)) = serde_json::to_value(image) else {
                return None;
            };
            let url = format!("data:;base64,{base64}");
            json!({"type": "image_url", "image_url": {"url": url}})
        }
        Part::Audio(File::Data(sound)) => {
            json!({"type": "input_audio", "input_audio": {"data": sound}})
        }
        _ => return None,
    })
}

/// The chat as clients see it, with its present metadata.
///
/// # Errors
/// Another program has changed the file.
pub fn shown(body: &str, metadata: &str) -> Result<Value, RequestError> {
    let mut chat = stored(body)?;
    chat["metadata"] = stored(metadata)?;
    Ok(chat)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_kept_as_they_were_sent() {
        let request: ChatRequest = serde_json::from_value(json!({
            "model": "m", "user": "u", "seed": 3,
            "response_format": {"type": "json_schema", "json_schema": {"schema": {"a": 1}}},
            "messages": [
                {"role": "user", "name": "Ann", "content": [
                    {"type": "text", "text": "look"},
                    {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}}]},
                {"role": "assistant", "content": null, "tool_calls": [
                    {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{\"a\": 1}"}}]},
                {"role": "tool", "tool_call_id": "c1", "content": "done"}]}))
        .unwrap();
        let kept = Kept::of(&request, "chatcmpl-1").unwrap();
        let expected = json!([
            {"id": "chatcmpl-1-0", "role": "user", "content": null, "name": "Ann", "refusal": null,
                "content_parts": [
                    {"type": "text", "text": "look"},
                    {"type": "image_url", "image_url": {"url": "data:;base64,aGk="}}]},
            {"id": "chatcmpl-1-1", "role": "assistant", "content": null, "name": null, "refusal": null,
                "content_parts": null, "tool_calls": [
                    {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{\"a\":1}"}}]},
            {"id": "chatcmpl-1-2", "role": "tool", "content": "done", "name": null, "refusal": null,
                "content_parts": null, "tool_call_id": "c1"}]);
        assert_eq!(serde_json::to_value(&kept.messages).unwrap(), expected);
        let asked = &kept.asked;
        assert_eq!((asked.temperature, asked.seed), (1.0, Some(3)));
        assert_eq!(asked.input_user.as_deref(), Some("u"));
        let format = json!({"type": "json_schema", "json_schema": {"schema": {"a": 1}}});
        assert_eq!(
            (&asked.response_format, &asked.metadata),
            (&format, &json!({}))
        );
    }

    #[test]
    fn metadata_of_now_is_shown() {
        let chat = shown(r#"{"id": "x", "metadata": {"a": "1"}}"#, r#"{"b": "2"}"#).unwrap();
        assert_eq!(chat, json!({"id": "x", "metadata": {"b": "2"}}));
        assert!(shown("[", "{}").is_err());
    }
}
