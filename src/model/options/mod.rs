//! Options: the request's override the model's params, which override the built-in defaults.

mod table;
#[cfg(test)]
mod tests;

use serde_json::{Map, Value};

pub use table::{Kind, kind_of};

/// The effective options of one request.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// Tokens kept at the front when the context is shifted.
    pub num_keep: i32,
    /// -1 = random.
    pub seed: i64,
    /// Most new tokens; negative = until the context ends. See [`Self::lift_zero_limit`] for 0.
    pub num_predict: i64,
    pub top_k: i32,
    pub top_p: f32,
    pub min_p: f32,
    pub typical_p: f32,
    pub repeat_last_n: i32,
    pub temperature: f32,
    pub repeat_penalty: f32,
    pub presence_penalty: f32,
    pub frequency_penalty: f32,
    /// DRY: penalizes tokens that would continue a repetition; 0 = off.
    pub dry_multiplier: f32,
    pub dry_base: f32,
    /// Repetitions up to this length are not penalized.
    pub dry_allowed_length: i32,
    /// How many tokens are searched for repetitions; 0 = off, negative = the whole context.
    pub dry_penalty_last_n: i32,
    /// Texts that end a repetition.
    pub dry_sequence_breakers: Vec<String>,
    /// XTC: the probability of excluding the most likely tokens; 0 = off.
    pub xtc_probability: f32,
    /// Tokens less likely than this are never excluded; above 0.5 = off.
    pub xtc_threshold: f32,
    /// 0 = off, else the version of Mirostat.
    pub mirostat: i32,
    pub mirostat_tau: f32,
    pub mirostat_eta: f32,
    /// Added to the logits of single tokens, by token id; -∞ = never sampled.
    pub logit_bias: Vec<(i32, f32)>,
    pub stop: Vec<String>,
    /// The answer does not end before this many tokens.
    pub min_tokens: u32,
    /// The model's end token does not end the answer.
    pub ignore_eos: bool,
    /// Load options; `None` = not set by model or request.
    pub num_ctx: Option<u32>,
    pub num_batch: Option<u32>,
    /// -1 = automatic, 0 = CPU only, n = that many layers.
    pub num_gpu: i32,
    pub main_gpu: Option<i32>,
    pub use_mmap: Option<bool>,
    /// 0 = automatic.
    pub num_thread: u32,
    pub draft_num_predict: Option<u32>,
}

impl Options {
    /// Merges layers of options over the built-in defaults, later layers winning key by key.
    /// `null` values and unknown names are ignored; the latter are returned for a log line.
    ///
    /// # Errors
    /// Returns Ollama's text for a wrong type: `option "num_ctx" must be of type integer`.
    pub fn merge(layers: &[&Map<String, Value>]) -> Result<(Self, Vec<String>), String> {
        let mut options = Self::default();
        let mut unknown = Vec::new();
        for (name, value) in layers.iter().flat_map(|layer| layer.iter()) {
            if value.is_null() {
                continue;
            }
            match table::find(name) {
                Some(row) => row.set(&mut options, value)?,
                None if unknown.contains(name) => {}
                None => unknown.push(name.clone()),
            }
        }
        Ok((options, unknown))
    }

    /// Treats a `num_predict` of 0 as no limit. Ollama does so where it renders the prompt itself, because
    /// it omits the zero when it passes the options on.
    pub fn lift_zero_limit(&mut self) {
        if self.num_predict == 0 {
            self.num_predict = -1;
        }
    }
}

/// The built-in defaults.
impl Default for Options {
    fn default() -> Self {
        Self {
            num_keep: 4,
            seed: -1,
            num_predict: -1,
            top_k: 40,
            top_p: 0.9,
            min_p: 0.0,
            typical_p: 1.0,
            repeat_last_n: 64,
            temperature: 0.8,
            repeat_penalty: 1.0,
            presence_penalty: 0.0,
            frequency_penalty: 0.0,
            dry_multiplier: 0.0,
            dry_base: 1.75,
            dry_allowed_length: 2,
            dry_penalty_last_n: 64,
            dry_sequence_breakers: ["\n", ":", "\"", "*"].map(str::to_owned).into(),
            xtc_probability: 0.0,
            xtc_threshold: 0.1,
            mirostat: 0,
            mirostat_tau: 5.0,
            mirostat_eta: 0.1,
            logit_bias: Vec::new(),
            stop: Vec::new(),
            min_tokens: 0,
            ignore_eos: false,
            num_ctx: None,
            num_batch: None,
            num_gpu: -1,
            main_gpu: None,
            use_mmap: None,
            num_thread: 0,
            draft_num_predict: None,
        }
    }
}
