//! One streamed request, measured by the client. The clock starts when the request is due.

use std::time::{Duration, Instant};

use serde_json::json;

use super::plan::Api;
use crate::api::ollama::ChatRequest;
use crate::chat::Message;
use crate::client::{Client, ClientError};

/// A server, and how to ask it.
#[derive(Debug)]
pub(super) struct Target {
    /// What the user calls it.
    pub(super) url: String,
    pub(super) client: Client,
    pub(super) api: Api,
    pub(super) model: String,
    pub(super) seed: u32,
}

/// The measurements of one answer.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Sample {
    /// From the moment the request was due to the first text.
    pub(super) to_first: Duration,
    /// From the first text to the last.
    pub(super) writing: Duration,
    /// Between pieces of text.
    pub(super) gaps: Vec<Duration>,
    /// The length of the prompt in tokens, as the server counts.
    pub(super) n_prompt: u64,
    /// Tokens of the prompt that were in the cache; `None` with Ollama's protocol, which does not report them.
    pub(super) n_cached: Option<u64>,
    pub(super) n_output: u64,
}

/// Token counts from a server.
#[derive(Debug, Clone, Copy)]
struct Counts {
    n_prompt: u64,
    n_cached: Option<u64>,
    n_output: u64,
}

/// A whole answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) sample: Sample,
    pub(super) text: String,
}

/// Why there is no sample.
#[derive(Debug, thiserror::Error)]
pub(super) enum RequestError {
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("the answer has no token counts")]
    NoCounts,
}

impl Target {
    /// Sends the request and reads the answer to its end.
    pub(super) async fn ask(
        &self,
        messages: &[Message],
        n_output: u32,
        due: Instant,
    ) -> Result<Answer, RequestError> {
        match self.api {
            Api::Ollama => self.ask_ollama(messages, n_output, due).await,
            Api::OpenAi => self.ask_openai(messages, n_output, due).await,
        }
    }

    async fn ask_ollama(
        &self,
        messages: &[Message],
        n_output: u32,
        due: Instant,
    ) -> Result<Answer, RequestError> {
        let options = [
            ("num_predict", json!(n_output)),
            ("temperature", json!(0)),
            ("seed", json!(self.seed)),
        ];
        let request = ChatRequest {
            model: self.model.clone(),
            messages: messages.to_vec(),
            options: options
                .map(|(name, value)| (name.to_owned(), value))
                .into_iter()
                .collect(),
            ..ChatRequest::default()
        };
        let mut stopwatch = Stopwatch::new(due);
        let mut lines = self.client.chat(&request).await?;
        let mut counts = None;
        while let Some(line) = lines.next().await? {
            stopwatch.piece(&line.message.content, &line.message.thinking);
            if line.done {
                counts = Some(Counts {
                    n_prompt: line.metrics.prompt_eval_count,
                    n_cached: None,
                    n_output: line.metrics.eval_count,
                });
            }
        }
        stopwatch.answer(counts)
    }

    async fn ask_openai(
        &self,
        messages: &[Message],
        n_output: u32,
        due: Instant,
    ) -> Result<Answer, RequestError> {
        let request = json!({
            "model": self.model,
            "messages": messages,
            "max_tokens": n_output,
            "temperature": 0,
            "seed": self.seed,
            "stream": true,
            "stream_options": {"include_usage": true},
        });
        let mut stopwatch = Stopwatch::new(due);
        let mut events = self.client.openai_chat(&request).await?;
        let mut counts = None;
        while let Some(event) = events.next().await? {
            for choice in &event.choices {
                let delta = &choice.delta;
                stopwatch.piece(
                    delta.content.as_deref().unwrap_or_default(),
                    delta.reasoning.as_deref().unwrap_or_default(),
                );
            }
            if let Some(usage) = event.usage {
                counts = Some(Counts {
                    n_prompt: usage.prompt_tokens,
                    n_cached: usage.prompt_tokens_details.map(|of| of.cached_tokens),
                    n_output: usage.completion_tokens,
                });
            }
        }
        stopwatch.answer(counts)
    }
}

/// Records when an answer's pieces arrive.
#[derive(Debug)]
struct Stopwatch {
    due: Instant,
    first: Option<Instant>,
    last: Instant,
    gaps: Vec<Duration>,
    text: String,
}

impl Stopwatch {
    fn new(due: Instant) -> Self {
        Self {
            due,
            first: None,
            last: due,
            gaps: Vec::new(),
            text: String::new(),
        }
    }

    /// Records that text or thinking has arrived; a piece with neither is ignored.
    fn piece(&mut self, text: &str, thinking: &str) {
        if text.is_empty() && thinking.is_empty() {
            return;
        }
        let now = Instant::now();
        if self.first.is_some() {
            self.gaps.push(now.duration_since(self.last));
        }
        self.first.get_or_insert(now);
        self.last = now;
        self.text.push_str(text);
    }

    /// The end of the answer; an answer without text counts as written when it ended.
    fn answer(self, counts: Option<Counts>) -> Result<Answer, RequestError> {
        let counts = counts.ok_or(RequestError::NoCounts)?;
        let first = self.first.unwrap_or_else(Instant::now);
        let sample = Sample {
            to_first: first.duration_since(self.due),
            writing: self.last.saturating_duration_since(first),
            gaps: self.gaps,
            n_prompt: counts.n_prompt,
            n_cached: counts.n_cached,
            n_output: counts.n_output,
        };
        Ok(Answer {
            sample,
            text: self.text,
        })
    }
}
