//! Options: the request's override the model's params, which override the built-in defaults.

#[cfg(test)]
mod tests;
mod value;

use serde_json::{Map, Value};

use value::OptionValue;
pub use value::{Biases, Kind, biases, count, narrow, single};

/// Declares every option once, for the effective options and for patches: its name, type and default.
macro_rules! options {
    ($($(#[doc = $doc:literal])* $name:ident: $type:ty = $default:expr;)+) => {
        /// The effective options of one request.
        #[derive(Debug, Clone, PartialEq)]
        pub struct Options {
            $($(#[doc = $doc])* pub $name: $type,)+
        }

        /// The built-in defaults.
        impl Default for Options {
            fn default() -> Self {
                Self { $($name: $default,)+ }
            }
        }

        /// Options that a model or a request sets; `None` = not set.
        #[derive(Debug, Clone, Default, PartialEq)]
        pub struct OptionPatch {
            $(pub $name: Option<<$type as OptionValue>::Given>,)+
            /// Unknown option names, for the log.
            pub unknown: Vec<String>,
        }

        impl OptionPatch {
            fn set(&mut self, name: &str, value: &Value) -> Result<(), &'static str> {
                match name {
                    $(stringify!($name) => self.$name = Some(<$type>::read(value)?),)+
                    _ => self.unknown.push(name.to_owned()),
                }
                Ok(())
            }
        }

        impl Options {
            fn apply(&mut self, patch: &OptionPatch) {
                $(if let Some(given) = &patch.$name {
                    self.$name = OptionValue::of(given.clone());
                })+
            }
        }

        /// Returns the type of an option that can be given as text; `None` for others and unknown names.
        pub fn kind_of(name: &str) -> Option<Kind> {
            match name {
                $(stringify!($name) => <$type>::KIND,)+
                _ => None,
            }
        }
    };
}

options! {
    /// Tokens kept at the front when the context is shifted.
    num_keep: i32 = 4;
    /// -1 = random.
    seed: i64 = -1;
    /// Most new tokens; negative = until the context ends. See [`Options::lift_zero_limit`] for 0.
    num_predict: i64 = -1;
    top_k: i32 = 40;
    top_p: f32 = 0.9;
    min_p: f32 = 0.0;
    typical_p: f32 = 1.0;
    repeat_last_n: i32 = 64;
    temperature: f32 = 0.8;
    repeat_penalty: f32 = 1.0;
    presence_penalty: f32 = 0.0;
    frequency_penalty: f32 = 0.0;
    // This option and the next ones are not Ollama's; names and meanings are llama-server's.
    /// DRY: penalizes tokens that would continue a repetition; 0 = off.
    dry_multiplier: f32 = 0.0;
    dry_base: f32 = 1.75;
    /// Repetitions up to this length are not penalized.
    dry_allowed_length: i32 = 2;
    /// How many tokens are searched for repetitions; 0 = off, negative = the whole context.
    dry_penalty_last_n: i32 = 64;
    /// Texts that end a repetition.
    dry_sequence_breakers: Vec<String> = ["\n", ":", "\"", "*"].map(str::to_owned).into();
    /// XTC: the probability of excluding the most likely tokens; 0 = off.
    xtc_probability: f32 = 0.0;
    /// Tokens less likely than this are never excluded; above 0.5 = off.
    xtc_threshold: f32 = 0.1;
    /// 0 = off, else the version of Mirostat.
    mirostat: i32 = 0;
    mirostat_tau: f32 = 5.0;
    mirostat_eta: f32 = 0.1;
    logit_bias: Biases = Vec::new();
    stop: Vec<String> = Vec::new();
    /// The answer does not end before this many tokens; from vLLM, like the next one.
    min_tokens: u32 = 0;
    /// The model's end token does not end the answer.
    ignore_eos: bool = false;
    // Load options; `None` = not set by model or request.
    num_ctx: Option<u32> = None;
    num_batch: Option<u32> = None;
    /// -1 = automatic, 0 = CPU only, n = that many layers.
    num_gpu: i32 = -1;
    main_gpu: Option<i32> = None;
    use_mmap: Option<bool> = None;
    /// 0 = automatic.
    num_thread: u32 = 0;
    draft_num_predict: Option<u32> = None;
}

/// The most threads that a request may ask for: llama.cpp's own limit.
const MOST_THREADS: u32 = 512;

impl OptionPatch {
    /// Reads a map of options. A `null` sets nothing.
    ///
    /// # Errors
    /// Returns Ollama's text for a wrong type: `option "num_ctx" must be of type integer`.
    pub fn parse(options: &Map<String, Value>) -> Result<Self, String> {
        let mut patch = Self::default();
        for (name, value) in options.iter().filter(|(_, value)| !value.is_null()) {
            patch
                .set(name, value)
                .map_err(|kind| format!("option \"{name}\" must be of {kind}"))?;
        }
        Ok(patch)
    }
}

impl Options {
    /// Puts patches over the built-in defaults, later ones winning option by option.
    pub fn merge(patches: &[&OptionPatch]) -> Self {
        let mut options = Self::default();
        for patch in patches {
            options.apply(patch);
        }
        options.num_thread = options.num_thread.min(MOST_THREADS);
        options
    }

    /// Treats a `num_predict` of 0 as no limit. Ollama does that when it renders the prompt itself, because it
    /// then omits the zero from the options that it passes on.
    pub fn lift_zero_limit(&mut self) {
        if self.num_predict == 0 {
            self.num_predict = -1;
        }
    }
}
