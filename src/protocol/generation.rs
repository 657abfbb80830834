//! The parameters of a generation: prompt, sampling, constraints on the output.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Token;
use crate::json::deep;

/// The most nested lists and objects in the text of a schema.
const SCHEMA_LEVELS: usize = 1000;

/// One generation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GenerateParams {
    /// The parts of the prompt, in order.
    pub prompt: Vec<PromptPart>,
    /// Add BOS as the vocabulary says (unless the text begins with it already).
    pub add_special: bool,
    /// Context of this request in tokens, prompt included; at most the pool.
    pub n_ctx: u32,
    /// Cut the middle out of a prompt that fills the context, instead of failing with `ContextExceeded`.
    /// Prompts with images are never cut.
    pub cut: bool,
    /// Most tokens to generate; `None` = until the context ends.
    pub n_predict: Option<u32>,
    pub sampling: SamplingParams,
    /// Texts that end the generation and are not output.
    pub stop: Vec<String>,
    /// Special tokens whose text is output (tool and thinking markers).
    pub preserved: Vec<String>,
    pub constraint: Option<Constraint>,
    /// The output that the constraint does not apply to.
    pub exempt: Exempt,
    /// The client's prediction of most of the answer; drafts come from it, too.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub prediction: String,
    /// `Some(n)`: report the log-probability of every token and of its `n` best alternatives.
    pub logprobs: Option<u32>,
    /// Instead of the best alternatives, report these tokens, in this order; also for an end token. Only with
    /// `logprobs`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub logprobs_of: Vec<Token>,
    /// The same for the prompt's tokens, with at most this many entries and alternatives in total. The whole
    /// prompt is then evaluated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt_logprobs: Option<u32>,
    /// Tokens that a context shift keeps at the front, in addition to BOS.
    pub n_keep: i32,
    /// At the end of the context, drop old tokens and continue instead of finishing with `Length`.
    pub shift: bool,
    pub priority: Priority,
    /// The client, for fair scheduling: an API key or an address.
    pub client: String,
}

/// A part of a prompt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum PromptPart {
    /// Text; the texts of special tokens become those tokens.
    Text(String),
    /// Tokens, used unchanged.
    Tokens(Vec<Token>),
    /// An encoded image or sound file (base64 of the file's bytes).
    Media(String),
}

/// Sampling parameters with Ollama's meaning.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SamplingParams {
    /// `None` = random.
    pub seed: Option<u32>,
    /// ≤ 0: greedy.
    pub temperature: f32,
    /// ≤ 0: off.
    pub top_k: i32,
    pub top_p: f32,
    pub min_p: f32,
    pub typical_p: f32,
    /// Window of the penalties in tokens; 0 = off, -1 = the whole context.
    pub repeat_last_n: i32,
    pub repeat_penalty: f32,
    pub presence_penalty: f32,
    pub frequency_penalty: f32,
    /// Added to the logits of single tokens; JSON has no −∞, hence no more than ±10⁹.
    pub logit_bias: Vec<(Token, f32)>,
    pub dry: Option<Dry>,
    pub xtc: Option<Xtc>,
    /// Replaces all samplers except temperature and biases.
    pub mirostat: Option<Mirostat>,
    /// Before this many tokens, no end token is sampled and no stop text is searched for.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub min_tokens: u32,
    /// No end token is ever sampled. Under a constraint, this and `min_tokens` have no effect.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ignore_eos: bool,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the signature that serde wants"
)]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// "Don't repeat yourself": penalizes a token that would continue a repetition of `n` tokens by
/// `multiplier * base ^ (n - allowed_length)`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Dry {
    pub multiplier: f32,
    pub base: f32,
    pub allowed_length: i32,
    /// How many tokens are searched; -1 = the whole context.
    pub penalty_last_n: i32,
    /// Texts that end a repetition.
    pub sequence_breakers: Vec<String>,
}

/// "Exclude top choices": with this probability, excludes all tokens with a probability of at least `threshold`
/// except the least likely of them.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Xtc {
    pub probability: f32,
    pub threshold: f32,
}

/// Mirostat: keeps the text's surprise near `tau`, with the learning rate `eta`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Mirostat {
    /// 1 or 2.
    pub version: i32,
    pub tau: f32,
    pub eta: f32,
}

impl Default for SamplingParams {
    fn default() -> Self {
        Self {
            seed: None,
            temperature: 0.8,
            top_k: 40,
            top_p: 0.9,
            min_p: 0.0,
            typical_p: 1.0,
            repeat_last_n: 64,
            repeat_penalty: 1.0,
            presence_penalty: 0.0,
            frequency_penalty: 0.0,
            logit_bias: Vec::new(),
            dry: None,
            xtc: None,
            mirostat: None,
            min_tokens: 0,
            ignore_eos: false,
        }
    }
}

/// What the output must look like.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Constraint {
    /// Any JSON object.
    JsonObject,
    /// JSON that matches this schema (JSON text).
    JsonSchema(String),
    /// Text that this regular expression matches in full.
    Regex(String),
    /// Text of the language of this Lark grammar.
    Lark(String),
}

impl Constraint {
    /// Parses the text of a schema, which may be nested more deeply than frames may.
    ///
    /// # Errors
    /// The text is not JSON, or is nested too deeply.
    pub fn schema(text: &str) -> Result<Value, String> {
        deep::parse(text, SCHEMA_LEVELS)
    }
}

/// The output that a constraint does not apply to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exempt {
    /// The thinking before the answer.
    pub thinking: Option<ThinkingTags>,
    /// The text that begins a tool call: output that begins with it is a call, not an answer.
    pub call: Option<String>,
}

/// The texts around the thinking that comes before an answer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThinkingTags {
    /// Empty = the prompt already contains it.
    pub open: String,
    pub close: String,
    /// The start of `close` that the prompt already contains.
    pub begun: String,
    /// Tokens after which thinking is ended with `forced`; `None` = no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub n_most: Option<u32>,
    /// The text that ends thinking and begins the answer.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub forced: String,
}

/// Scheduling class of a request, highest first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Priority {
    #[default]
    Interactive,
    Batch,
}
