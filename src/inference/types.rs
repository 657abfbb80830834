//! Requests and chunks of the use cases.

use std::pin::Pin;
use std::time::Duration;

use futures_util::Stream;
use serde_json::Value;
use tokio::time::Instant;

use super::error::RequestError;
use super::waiting::Waiting;
use crate::chat::{CallPart, Image, Think, ToolCall, ToolDefinition, Turn};
use crate::config::KeepAlive;
use crate::model::OptionPatch;
use crate::protocol::{EmbedInput, Priority, Token};

/// The options that chat and generate share.
#[derive(Debug, Clone, Default)]
pub struct RequestOptions {
    /// The name as the client sent it; answers echo it.
    pub model: String,
    pub options: OptionPatch,
    /// `None` = not given.
    pub keep_alive: Option<KeepAlive>,
    /// Raw value of `format` (`Null` = none); checked by inference.
    pub format: Value,
    pub think: Option<Think>,
    /// The most tokens of thinking; after them thinking is ended, and the answer begins. `None` = no limit.
    pub think_budget: Option<u32>,
    /// A model that cannot think ignores `think` instead of refusing it.
    pub thinks_if_able: bool,
    /// `None` = default (true).
    pub truncate: Option<bool>,
    pub shift: Option<bool>,
    pub logprobs: bool,
    pub top_logprobs: u32,
    /// The tokens to report instead of the most probable ones, in this order; only with `logprobs`.
    pub logprobs_of: Vec<Token>,
    pub debug_render_only: bool,
    /// Parts of tool calls are sent before the calls are complete, if the model's format allows it.
    pub call_parts: bool,
    /// The client's prediction of most of the answer; empty = none.
    pub prediction: String,
    pub priority: Priority,
    /// API key or address of the client.
    pub client: String,
    /// The request is a line of a batch job.
    pub is_job: bool,
    /// When the client no longer wants an answer.
    pub deadline: Option<Instant>,
    /// Where the request reports what it waits for.
    pub waiting: Waiting,
}

#[derive(Debug, Clone, Default)]
pub struct ChatRequest {
    pub common: RequestOptions,
    pub messages: Vec<Turn>,
    pub tools: Vec<ToolDefinition>,
    /// The answer must consist of tool calls.
    pub must_call: Option<MustCall>,
    /// The answer contains only the first of several calls.
    pub one_call: bool,
}

/// How many calls a forced answer has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MustCall {
    One,
    /// One or more.
    Some,
}

#[derive(Debug, Clone, Default)]
pub struct GenerateRequest {
    pub common: RequestOptions,
    pub prompt: String,
    /// The prompt as tokens, which go to the model unchanged; replaces the text.
    pub tokens: Vec<Token>,
    /// Return the prompt before the answer.
    pub echo: bool,
    /// Report the log-probabilities of the prompt's tokens, too: at most this many, alternatives included. Only
    /// for a prompt that goes to the model unchanged.
    pub prompt_logprobs: Option<u32>,
    /// A `num_predict` of 0 means no answer, instead of no limit.
    pub may_be_empty: bool,
    pub suffix: String,
    pub system: Option<String>,
    pub template: Option<String>,
    pub context: Vec<Token>,
    pub raw: bool,
    pub images: Vec<Image>,
}

#[derive(Debug, Clone, Default)]
pub struct EmbedRequest {
    /// Only `options`, `keep_alive`, `truncate`, `model` and `client` are used.
    pub common: RequestOptions,
    pub inputs: Vec<EmbedInput>,
    /// Truncate to the first n values and normalize again; 0 = all.
    pub dimensions: usize,
    /// The legacy endpoint: no truncation, and for some models no normalization.
    pub legacy: bool,
}

#[derive(Debug, Clone, Default)]
pub struct EmbedResponse {
    pub vectors: Vec<Vec<f32>>,
    pub n_prompt: u32,
    pub total: Duration,
    pub load: Duration,
}

/// Pairs of a query and a document, to be scored by how well they match.
#[derive(Debug, Clone, Default)]
pub struct RerankRequest {
    /// Only `model`, `options`, `keep_alive`, `truncate`, `priority` and `client` are used.
    pub common: RequestOptions,
    pub pairs: Vec<Pair>,
}

/// A query and a document.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pair {
    pub query: String,
    pub document: String,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub struct RerankResponse {
    /// One score for each pair: the output of the model's head or, without a head, a probability.
    pub scores: Vec<f32>,
    pub n_prompt: u32,
}

/// An answer that has started.
pub struct Started {
    /// Tokens of the prompt, cached ones included; `None` if nothing is generated.
    pub n_prompt: Option<u32>,
    pub chunks: ChunkStream,
}

/// One piece of an answer.
#[derive(Debug, Clone, Default)]
pub struct Chunk {
    /// The prompt, which comes before everything else.
    pub echo: Option<Echo>,
    pub content: String,
    pub thinking: String,
    pub tool_calls: Vec<ToolCall>,
    /// Parts of the first of these calls, or of the next one if there are none; for requests that ask for them.
    pub call_parts: Vec<CallPart>,
    pub logprobs: Vec<Logprob>,
    /// The prompt was cut to fit the context.
    pub prompt_truncated: bool,
    pub done: Option<Done>,
}

impl Chunk {
    /// Whether it has no part of the answer.
    pub fn is_empty(&self) -> bool {
        self.content.is_empty()
            && self.thinking.is_empty()
            && self.tool_calls.is_empty()
            && self.call_parts.is_empty()
            && self.logprobs.is_empty()
            && self.done.is_none()
    }
}

/// A prompt that is returned.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Echo {
    pub text: String,
    /// Its tokens, if their log-probabilities were requested.
    pub tokens: Vec<PromptToken>,
}

/// A token of a prompt.
#[derive(Debug, Clone, PartialEq)]
pub struct PromptToken {
    pub token: String,
    /// `None` for the first token.
    pub logprob: Option<f32>,
    pub bytes: Vec<u8>,
    pub top: Vec<TopLogprob>,
}

/// The last chunk's data.
#[derive(Debug, Clone, PartialEq)]
pub struct Done {
    pub reason: DoneReason,
    /// Absent for load, unload and debug answers.
    pub timings: Option<Timings>,
    /// generate only: tokens of prompt and answer.
    pub context: Option<Vec<Token>>,
    /// `_debug_render_only`: the rendered prompt and the number of images.
    pub debug: Option<(String, usize)>,
    /// The prompt was cut to fit the context.
    pub prompt_truncated: bool,
}

/// Why an answer ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DoneReason {
    Stop,
    /// A stop sequence of the request; those of the model count as `Stop`.
    StopSequence(String),
    Length,
    Load,
    Unload,
    /// `_debug_render_only`: no reason is printed.
    Debug,
}

/// Durations and token counts of a finished answer.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Timings {
    pub total: Duration,
    pub load: Duration,
    pub n_prompt: u32,
    /// The part of `n_prompt` that came from the prefix cache.
    pub n_cached: u32,
    pub prompt: Duration,
    pub n_generated: u32,
    /// The part of `n_generated` that was thinking.
    pub n_thinking: u32,
    pub generate: Duration,
    /// Draft tokens that were verified, and those that were accepted.
    pub n_drafted: u32,
    pub n_accepted: u32,
}

/// The log-probability of one token.
#[derive(Debug, Clone, PartialEq)]
pub struct Logprob {
    pub token: String,
    pub logprob: f32,
    pub bytes: Vec<u8>,
    pub top: Vec<TopLogprob>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct TopLogprob {
    pub token: String,
    pub logprob: f32,
    pub bytes: Vec<u8>,
}

/// The pieces of an answer; exactly one has `done`, the last. Dropping it cancels the work.
pub type ChunkStream = Pin<Box<dyn Stream<Item = Result<Chunk, RequestError>> + Send>>;
