//! OpenAI's streamed chat, as far as measurements need it. Works with any server that has it.

use reqwest::{Method, Response};
use serde::{Deserialize, Serialize};

use super::lines::Cutter;
use super::{Client, ClientError, error};

/// One event of a streamed chat.
#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct OpenAiEvent {
    pub choices: Vec<OpenAiChoice>,
    /// The counters, which servers send with the last event on request.
    pub usage: Option<OpenAiUsage>,
}

/// The part of one answer that an event adds.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct OpenAiChoice {
    pub delta: OpenAiDelta,
}

/// Text and reasoning; there are two names for reasoning, depending on the server.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct OpenAiDelta {
    pub content: Option<String>,
    #[serde(alias = "reasoning_content")]
    pub reasoning: Option<String>,
}

/// Counters of an answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct OpenAiUsage {
    pub prompt_tokens: u64,
    pub completion_tokens: u64,
    /// Absent if the server does not report it.
    pub prompt_tokens_details: Option<OpenAiPromptDetails>,
}

/// Details of a prompt's tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct OpenAiPromptDetails {
    /// Tokens that came from the cache.
    pub cached_tokens: u64,
}

/// The events of one answer. Dropping it closes the connection, which cancels the work.
#[derive(Debug)]
pub struct OpenAiEvents {
    response: Response,
    cutter: Cutter,
}

impl Client {
    /// Requests a streamed chat; `body` is a request of OpenAI's API.
    ///
    /// # Errors
    /// Fails when the server refuses; the stream itself may fail later.
    pub async fn openai_chat<B: Serialize>(&self, body: &B) -> Result<OpenAiEvents, ClientError> {
        let request = self
            .request(Method::POST, "/v1/chat/completions")
            .json(body);
        let response = request.header("accept", "text/event-stream").send().await?;
        if !response.status().is_success() {
            return Err(error::from_response(response).await.with_status_line());
        }
        Ok(OpenAiEvents {
            response,
            cutter: Cutter::default(),
        })
    }
}

impl OpenAiEvents {
    /// Waits for the next event; `None` is the end.
    ///
    /// # Errors
    /// Fails when an event carries an `error` or is not JSON, or when the connection breaks.
    pub async fn next(&mut self) -> Result<Option<OpenAiEvent>, ClientError> {
        loop {
            while let Some(line) = self.cutter.line() {
                match parse(&line)? {
                    Line::Event(event) => return Ok(Some(event)),
                    Line::Done => return Ok(None),
                    Line::Other => {}
                }
            }
            match self.response.chunk().await? {
                Some(bytes) => self.cutter.push(&bytes)?,
                None => return Ok(None),
            }
        }
    }
}

/// For fuzzing: the events of an answer that arrives in these pieces.
#[cfg(any(test, fuzzing))]
pub fn events_for_fuzzing(pieces: &[&[u8]]) -> Result<Vec<OpenAiEvent>, String> {
    let mut cutter = Cutter::default();
    let mut events = Vec::new();
    for piece in pieces {
        cutter.push(piece).map_err(|error| error.to_string())?;
        while let Some(line) = cutter.line() {
            match parse(&line).map_err(|error| error.to_string())? {
                Line::Event(event) => events.push(event),
                Line::Done => return Ok(events),
                Line::Other => {}
            }
        }
    }
    Ok(events)
}

/// A line of an event stream.
#[derive(Debug, PartialEq)]
enum Line {
    Event(OpenAiEvent),
    Done,
    /// Blank lines, comments, event names.
    Other,
}

fn parse(line: &[u8]) -> Result<Line, ClientError> {
    let Some(data) = line.strip_prefix(b"data:") else {
        return Ok(Line::Other);
    };
    let data = data.trim_ascii();
    if data == b"[DONE]" {
        return Ok(Line::Done);
    }
    if let Some(message) = error::openai_message(data) {
        return Err(ClientError::Stream(message));
    }
    Ok(Line::Event(serde_json::from_slice(data)?))
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn lines_are_events_the_end_or_nothing() {
        let event = parse(
            br#"data: {"choices":[{"delta":{"content":"a","reasoning_content":null}}],"usage":null}"#,
        );
        let Line::Event(event) = event.unwrap() else {
            panic!("no event")
        };
        assert_eq!(event.choices[0].delta.content.as_deref(), Some("a"));
        assert_eq!(parse(b"data: [DONE]\r").unwrap(), Line::Done);
        assert_eq!(parse(b": ping").unwrap(), Line::Other);
        assert_eq!(parse(b"\r").unwrap(), Line::Other);
        let usage =
            parse(br#"data:{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":4}}"#);
        let Line::Event(event) = usage.unwrap() else {
            panic!("no event")
        };
        assert_eq!(event.usage.unwrap().completion_tokens, 4);
    }

    #[test]
    fn an_error_event_is_an_error() {
        let error = parse(br#"data: {"error":{"message":"boom","type":"api_error"}}"#);
        assert_eq!(error.unwrap_err().to_string(), "boom");
        assert!(parse(b"data: {").is_err());
    }
}
