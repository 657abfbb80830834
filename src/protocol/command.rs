//! Commands: daemon → runner.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::generation::{GenerateParams, Priority, PromptPart};
use super::{MAX_CELLS, MeasureParams, PoolShape, RequestId, Token};
use crate::view::ModelFile;

/// The most slots of a runner, and the most rows of one decode call: far more than any hardware can serve.
const MAX_SLOTS: u32 = 1 << 12;
const MAX_ROWS: u32 = 1 << 16;

/// One frame from the daemon.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Command {
    /// The first command: load a model. Answered by `LoadProgress`* and `Loaded` or `LoadFailed`.
    Load(Box<LoadParams>),
    /// Rewrites a model's file with other tensor types. Answered by `LoadProgress`* and `Quantized` or
    /// `LoadFailed`.
    Quantize(QuantizeParams),
    /// Lists the devices that llama.cpp finds, without a model. Answered by `Devices`.
    Probe,
    /// Measures how much of each memory a model would take. Answered by `Measured` or `LoadFailed`.
    Measure(Box<MeasureParams>),
    /// Generates text. Answered by `Started`, then `Step` frames that name the id until an update
    /// with `finished`; or by `Failed`.
    Generate {
        id: RequestId,
        params: Box<GenerateParams>,
    },
    /// Computes one vector per input. Answered by `Embedded` or `Failed`.
    Embed { id: RequestId, params: EmbedParams },
    /// Turns texts into tokens. Answered by `Tokenized` or `Failed`.
    Tokenize {
        id: RequestId,
        texts: Vec<String>,
        /// Add BOS/EOS as the vocabulary says.
        add_special: bool,
        /// Read the texts of special tokens as those tokens.
        parse_special: bool,
        /// Stop in a text that has more tokens than this.
        limit: Option<u32>,
        client: String,
    },
    /// Counts the tokens of a prompt, media included; it may be longer than the context. Answered by `Counted`
    /// or `Failed`.
    Count {
        id: RequestId,
        params: Box<GenerateParams>,
    },
    /// Turns tokens into text, special tokens printed. Answered by `Detokenized` or `Failed`.
    Detokenize {
        id: RequestId,
        tokens: Vec<Token>,
        client: String,
    },
    /// Ends a request within one step. Not answered; an unknown id is ignored.
    Cancel { id: RequestId },
    /// Asks how many requests are ahead of one that waits for a slot. Answered by `Placed`.
    Place { id: RequestId, of: RequestId },
    /// Asks for a sign of life from the engine thread. Answered by `Pong`.
    Ping { id: RequestId },
    /// Ends the process after the current step.
    Shutdown,
}

/// How to rewrite a model's file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QuantizeParams {
    /// The GGUF file to read.
    pub source: ModelFile,
    /// The file to write; it is overwritten.
    pub target: PathBuf,
    /// `general.file_type` of the new file, as llama.cpp numbers them.
    pub file_type: u32,
    /// Tensors whose type the daemon chooses instead of llama.cpp; only used for quantized file types.
    pub tensor_types: Vec<TensorType>,
}

/// How to load a projector.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProjectorParams {
    pub file: ModelFile,
    /// The fewest tokens of an image; 0 = what the file asks for.
    pub min_image_tokens: u32,
}

impl ProjectorParams {
    /// A projector in a file of its own.
    pub fn original(path: impl Into<PathBuf>) -> Self {
        Self {
            file: ModelFile::original(path),
            min_image_tokens: 0,
        }
    }
}

/// The type that one tensor gets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TensorType {
    /// The full name.
    pub name: String,
    /// The code that ggml assigns to the type.
    pub code: u32,
}

/// How to load a model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LoadParams {
    /// The weights.
    pub model: ModelFile,
    /// Tokens that end an answer, besides those that llama.cpp knows.
    pub end_tokens: Vec<Token>,
    /// The encoder of images and sound.
    pub projector: Option<ProjectorParams>,
    /// LoRA adapters, all applied.
    pub adapters: Vec<Adapter>,
    /// KV cells of the unified pool, shared by all slots; never 0.
    pub n_ctx_pool: u32,
    /// Sequences that may run at once; never 0.
    pub n_slots: u32,
    /// Most rows of one decode call.
    pub n_batch: u32,
    /// Rows that are computed at once; at most `n_batch`.
    pub n_ubatch: u32,
    /// Layers on GPUs; -1 = all.
    pub n_gpu_layers: i32,
    /// The GPUs to use; empty = all.
    pub gpus: Vec<GpuShare>,
    /// How many layers, from the first on, have their experts on the CPU.
    pub n_cpu_moe: u32,
    /// Map the file instead of reading it; `None` = llama.cpp's choice.
    pub use_mmap: Option<bool>,
    /// Compute threads; 0 = physical cores.
    pub n_threads: u32,
    pub kv_cache_type: KvCacheType,
    /// `None` = llama.cpp's choice per model.
    pub flash_attention: Option<bool>,
    /// Pooled embeddings instead of logits (the model has a pooling type).
    pub embedding: bool,
    pub speculation: Speculation,
    /// A smaller model that drafts tokens for this one.
    pub draft: Option<DraftParams>,
    /// Sliding-window layers keep the whole context, so that it can be rolled back to any position.
    pub whole_window: bool,
    pub spill: SpillParams,
}

impl LoadParams {
    /// The same load with another shape.
    pub fn in_shape(&self, shape: PoolShape) -> Self {
        Self {
            n_ctx_pool: shape.n_ctx_pool,
            n_slots: shape.n_slots,
            n_batch: shape.n_batch,
            n_ubatch: shape.n_ubatch,
            ..self.clone()
        }
    }

    /// Checks the numbers that determine buffer sizes and positions.
    ///
    /// # Errors
    /// Names the number that is out of range.
    pub fn check(&self) -> Result<(), String> {
        let n_draft = self.draft.as_ref().map_or(0, |draft| draft.n_predict);
        for (what, number, bounds) in [
            ("cells", self.n_ctx_pool, 1..=MAX_CELLS),
            ("slots", self.n_slots, 1..=MAX_SLOTS),
            ("rows of a batch", self.n_batch, 1..=MAX_ROWS),
            ("rows at once", self.n_ubatch, 1..=MAX_ROWS),
            ("draft tokens", n_draft, 0..=MAX_ROWS),
        ] {
            if !bounds.contains(&number) {
                let (start, end) = bounds.into_inner();
                return Err(format!("{number} {what} are not between {start} and {end}"));
            }
        }
        Ok(())
    }
}

/// A GPU and its share of a model.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct GpuShare {
    /// Its index among the devices.
    pub index: usize,
    /// Its share of the layers; only the ratio of shares matters.
    pub share: f32,
}

/// Where prompt prefixes are saved when they lose their cells in the KV cache.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpillParams {
    /// Most bytes of host memory; 0 = none.
    pub memory_bytes: u64,
    /// Files, which outlive the runner.
    pub files: Option<SpillFiles>,
}

/// A folder with the saved states of all models.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpillFiles {
    pub folder: PathBuf,
    /// Most bytes of all files together.
    pub limit_bytes: u64,
}

/// A model that drafts tokens for another one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DraftParams {
    pub model: ModelFile,
    /// Most tokens that it drafts ahead; never 0.
    pub n_predict: u32,
}

/// Whether tokens are drafted ahead and verified together (`DROVER_SPECULATIVE`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Speculation {
    Off,
    /// If measurements show that it pays off. Without a draft model, not for requests with a seed or at
    /// temperature 0, whose answers must be reproducible.
    #[default]
    Auto,
    /// Whenever there is a draft, regardless of the cost.
    On,
}

/// Element type of the KV cache (`OLLAMA_KV_CACHE_TYPE`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KvCacheType {
    #[default]
    F16,
    F32,
    Bf16,
    Q8_0,
    Q5_1,
    Q5_0,
    Q4_1,
    Q4_0,
}

/// A LoRA adapter in GGUF form.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Adapter {
    pub path: PathBuf,
    pub scale: f32,
}

/// An input to embed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum EmbedInput {
    Text(String),
    /// Tokens of a text, without the special tokens around it.
    Tokens(Vec<Token>),
    /// Two texts whose relation a reranker scores, without the special tokens around and between them.
    Pair {
        query: String,
        document: String,
    },
    /// A text with special tokens in it, and none around it.
    Prompt {
        prompt: String,
    },
}

impl Command {
    /// Bytes of what the client sent with it, about the size of its frame.
    pub fn n_bytes(&self) -> usize {
        match self {
            Self::Generate { params, .. } | Self::Count { params, .. } => {
                let parts = params.prompt.iter().map(|part| match part {
                    PromptPart::Text(text) | PromptPart::Media(text) => text.len(),
                    PromptPart::Tokens(tokens) => size_of_val(tokens.as_slice()),
                });
                parts.sum()
            }
            Self::Embed { params, .. } => params.inputs.iter().map(EmbedInput::n_bytes).sum(),
            Self::Tokenize { texts, .. } => texts.iter().map(String::len).sum(),
            Self::Detokenize { tokens, .. } => size_of_val(tokens.as_slice()),
            _ => 0,
        }
    }
}

impl EmbedInput {
    /// Approximate size in bytes.
    pub fn n_bytes(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Tokens(tokens) => size_of_val(tokens.as_slice()),
            Self::Pair { query, document } => query.len() + document.len(),
            Self::Prompt { prompt } => prompt.len(),
        }
    }
}

/// One embedding request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EmbedParams {
    pub inputs: Vec<EmbedInput>,
    /// Most tokens of one input, special ones included.
    pub n_ctx: u32,
    /// Truncate longer inputs instead of failing with `ContextExceeded`.
    pub truncate: bool,
    /// Scale every vector to length 1.
    pub normalize: bool,
    pub priority: Priority,
    pub client: String,
}
