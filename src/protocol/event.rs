//! Events: runner → daemon.

use serde::{Deserialize, Serialize};

use super::{Measured, MemoryUse, RequestId, Token};

/// One frame from the runner.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Event {
    /// The first frame of every runner.
    Hello {
        version: u32,
        pid: u32,
    },
    /// Between 0 and 1; counts as a sign of life for the load time-out.
    LoadProgress {
        fraction: f32,
    },
    Loaded(Box<LoadedInfo>),
    LoadFailed {
        message: String,
    },
    /// The new file is written.
    Quantized,
    Devices {
        devices: Vec<DeviceInfo>,
    },
    Measured(Measured),
    /// The prompt was accepted and tokenized.
    Started {
        id: RequestId,
        n_prompt: u32,
        /// The prompt was cut to fit the context.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        is_cut: bool,
    },
    /// Everything that one step of the engine produced.
    Step {
        updates: Vec<Update>,
        stats: StepStats,
    },
    Embedded {
        id: RequestId,
        result: EmbedResult,
    },
    Tokenized {
        id: RequestId,
        tokens: Vec<Vec<Token>>,
    },
    Counted {
        id: RequestId,
        n_tokens: u32,
    },
    Detokenized {
        id: RequestId,
        text: String,
    },
    Failed {
        id: RequestId,
        failure: Failure,
    },
    /// `None` = the request does not wait for a slot.
    Placed {
        id: RequestId,
        n_before: Option<u32>,
    },
    Pong {
        id: RequestId,
    },
}

/// The result of a load.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct LoadedInfo {
    /// KV cells of the pool that llama.cpp made.
    pub n_ctx_pool: u32,
    /// Trained context length in tokens.
    pub n_ctx_train: u32,
    pub n_slots: u32,
    pub n_vocab: u32,
    /// Length of an embedding vector.
    pub n_embd: u32,
    pub n_params: u64,
    /// The vocabulary adds BOS (EOS) by itself.
    pub add_bos: bool,
    pub add_eos: bool,
    /// Old tokens can be dropped and the rest shifted (context shift).
    pub can_shift: bool,
    /// Weights, KV cache and compute buffers in bytes.
    pub size_bytes: u64,
    /// The part of `size_bytes` on GPUs.
    pub vram_bytes: u64,
    /// Names of the GPUs in use, empty on the CPU.
    pub gpus: Vec<String>,
    /// How much of each memory the model takes.
    #[serde(default)]
    pub memory: MemoryUse,
    /// Milliseconds from the command to the answer.
    pub load_ms: f64,
}

/// A device that llama.cpp can compute on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeviceInfo {
    /// Index for `main_gpu`.
    pub index: usize,
    pub name: String,
    pub description: String,
    /// `CUDA`, `Vulkan`, `CPU`, …
    pub backend: String,
    pub is_gpu: bool,
    pub is_integrated: bool,
    pub total_bytes: u64,
    pub free_bytes: u64,
    /// For a CPU: the instruction sets that llama.cpp uses, by llama.cpp's names.
    #[serde(default)]
    pub instruction_sets: Vec<String>,
}

/// What a step produced for one sequence.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Update {
    pub id: RequestId,
    /// Whole UTF-8 text; may be empty.
    pub text: String,
    /// Tokens that were sampled since the last update.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub n_tokens: u32,
    /// The next tokens of the prompt, if their log-probabilities were requested.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub prompt: Vec<PromptToken>,
    /// Entries of the tokens whose text is now known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub logprobs: Vec<TokenLogprob>,
    /// Set in the sequence's last update.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished: Option<Finished>,
}

fn one() -> u32 {
    1
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the signature that serde wants"
)]
fn is_one(number: &u32) -> bool {
    *number == 1
}

/// The end of a generation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finished {
    pub reason: FinishReason,
    /// All prompt tokens, cached ones included.
    pub n_prompt: u32,
    /// The part of `n_prompt` that was in the cache.
    pub n_cached: u32,
    /// Generated tokens, the end token included.
    pub n_generated: u32,
    /// Draft tokens that were verified, and those that were accepted.
    pub n_drafted: u32,
    pub n_accepted: u32,
    /// Milliseconds that this request waited for a slot.
    pub queue_ms: f64,
    pub prompt_ms: f64,
    pub generate_ms: f64,
}

/// Why a generation ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum FinishReason {
    /// An end token.
    Stop,
    /// This stop string, which is not part of the text.
    StopSequence(String),
    /// `n_predict` or the context.
    Length,
}

/// The log-probability of one generated token, from the raw logits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TokenLogprob {
    pub token: Token,
    /// The token's bytes (not necessarily valid UTF-8).
    pub bytes: Vec<u8>,
    pub logprob: f32,
    /// Best first, or in the order of the request.
    pub top: Vec<TopLogprob>,
}

/// A token of a prompt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PromptToken {
    pub token: Token,
    /// The token's own bytes (not necessarily valid UTF-8).
    pub bytes: Vec<u8>,
    /// `None` for the first token, which has no predecessor.
    pub logprob: Option<f32>,
    /// Best first.
    pub top: Vec<TopLogprob>,
}

/// An alternative to a token.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TopLogprob {
    pub token: Token,
    pub bytes: Vec<u8>,
    pub logprob: f32,
}

/// Vectors for an embedding request.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct EmbedResult {
    /// One per input, same order.
    pub vectors: Vec<Vec<f32>>,
    /// Tokens of all inputs, special ones included.
    pub n_tokens: u32,
}

/// Why a request ended without a result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    pub kind: FailureKind,
    pub message: String,
}

/// The kind of a failure, from which the daemon chooses the status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum FailureKind {
    /// The request cannot be served as it is (HTTP 400).
    Invalid,
    /// The prompt does not fit `n_ctx` (HTTP 400).
    ContextExceeded,
    /// The model does not support the request (HTTP 501), such as embeddings of a chat model.
    Unsupported,
    /// The runner is overloaded (HTTP 503).
    Overloaded,
    /// The engine failed (HTTP 500).
    Internal,
}

/// Numbers of one step, for logs and metrics. Numbers that are 0 in most steps are omitted when 0: with a
/// single stream they made up the larger part of a token's frame.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct StepStats {
    /// Rows of the decode call.
    pub n_rows: u32,
    #[serde(skip_serializing_if = "is_zero")]
    pub n_prefill: u32,
    /// Draft tokens included.
    pub n_decode: u32,
    /// Draft tokens that were verified, and those that were accepted.
    #[serde(skip_serializing_if = "is_zero")]
    pub n_drafted: u32,
    #[serde(skip_serializing_if = "is_zero")]
    pub n_accepted: u32,
    /// Prompt tokens of newly admitted sequences that were in the cache.
    #[serde(skip_serializing_if = "is_zero")]
    pub n_cached: u32,
    /// Tokens that were sampled.
    pub n_generated: u32,
    /// Idle slots that were emptied to make room, prefixes that were parked, sequences that were preempted.
    #[serde(skip_serializing_if = "is_zero")]
    pub n_evicted: u32,
    #[serde(skip_serializing_if = "is_zero")]
    pub n_parked: u32,
    #[serde(skip_serializing_if = "is_zero")]
    pub n_preempted: u32,
    /// Slot contents that were saved to the host cache, and that were restored from it.
    #[serde(skip_serializing_if = "is_zero")]
    pub n_spilled: u32,
    #[serde(skip_serializing_if = "is_zero")]
    pub n_restored: u32,
    /// Sequences in slots, and requests that wait for a slot.
    pub n_running: u32,
    #[serde(skip_serializing_if = "is_zero")]
    pub n_waiting: u32,
    /// Cells that running sequences hold, and further cells that idle slots keep.
    #[serde(rename = "cells", skip_serializing_if = "is_zero")]
    pub n_cells: u32,
    #[serde(rename = "kept", skip_serializing_if = "is_zero")]
    pub n_kept: u32,
    pub step_ms: f32,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde asks with a reference"
)]
fn is_zero(n: &u32) -> bool {
    *n == 0
}
