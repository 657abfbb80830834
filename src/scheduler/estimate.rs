//! Estimates the memory that a model needs from its dimensions. Pure arithmetic, checked against published
//! figures in the tests; on the safe side where llama.cpp's own layout is unknown. It saturates, because the
//! dimensions come from files.

use super::costs::Linear;
use crate::protocol::KvCacheType;

/// What the memory estimate needs, from the GGUF header.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ModelDims {
    /// One in this many layers attends to the whole context, the others to the sliding window; 0 = all attend
    /// to the whole context, or it is unknown (which needs more memory).
    pub window_period: u32,
    /// Weights (and projectors) in bytes.
    pub file_bytes: u64,
    /// KV heads, layer by layer.
    pub n_head_kv: Vec<u32>,
    pub head_dim_k: u32,
    pub head_dim_v: u32,
    pub n_embd: u32,
    pub n_vocab: u32,
    /// Trained context length; 0 = unknown.
    pub n_ctx_train: u32,
    /// Sliding window in tokens; 0 = none.
    pub sliding_window: u32,
    /// Weights of experts, a part of `file_bytes`; 0 = the model is not a mixture of experts.
    pub expert_bytes: u64,
}

/// Rows that may have logits in one decode call: no usual load has more.
const OUTPUTS: u64 = 64;

/// A window's cache grows in multiples of this many cells.
const WINDOW_STEP: u64 = 256;

/// Size of 64 elements in the KV cache, in bytes: whole blocks of every type.
fn bytes_per_64(kind: KvCacheType) -> u64 {
    match kind {
        KvCacheType::F32 => 256,
        KvCacheType::F16 | KvCacheType::Bf16 => 128,
        KvCacheType::Q8_0 => 68,
        KvCacheType::Q5_1 => 48,
        KvCacheType::Q5_0 => 44,
        KvCacheType::Q4_1 => 40,
        KvCacheType::Q4_0 => 36,
    }
}

impl ModelDims {
    pub(super) fn n_layer(&self) -> u64 {
        self.n_head_kv.len() as u64
    }

    /// KV bytes of one token in the layers that keep the whole context.
    pub(super) fn global_bytes_per_token(&self, kind: KvCacheType) -> u64 {
        self.bytes_per_token(kind, false)
    }

    /// KV bytes of one token if the sliding-window layers keep the whole context, too.
    pub(super) fn whole_bytes_per_token(&self, kind: KvCacheType) -> u64 {
        self.global_bytes_per_token(kind)
            .saturating_add(self.bytes_per_token(kind, true))
    }

    /// KV bytes of one token in the sliding-window layers, or in the others.
    fn bytes_per_token(&self, kind: KvCacheType, windowed: bool) -> u64 {
        let layers = self.n_head_kv.iter().enumerate();
        layers
            .filter(|&(layer, _)| self.is_windowed(layer) == windowed)
            .map(|(_, &n_head)| self.layer_bytes(n_head, kind))
            .fold(0, u64::saturating_add)
    }

    /// The cache of the sliding-window layers: the window for each sequence and `n_ubatch` rows, in steps of
    /// 256 cells.
    pub(super) fn window_costs(&self, kind: KvCacheType, n_ubatch: u32) -> Linear {
        let per_cell = self.bytes_per_token(kind, true);
        let window = u64::from(self.sliding_window);
        let step = if window.is_multiple_of(WINDOW_STEP) {
            0
        } else {
            WINDOW_STEP
        };
        let rows = u64::from(n_ubatch).next_multiple_of(WINDOW_STEP) + step;
        Linear {
            fixed: per_cell.saturating_mul(rows),
            per_slot: per_cell.saturating_mul(window),
            per_cell: 0,
        }
    }

    /// Bytes of the compute buffers: the logits of output rows, and the activations of all rows.
    pub(super) fn compute_bytes(&self, n_ubatch: u32) -> u64 {
        let logits = u64::from(self.n_vocab).saturating_mul(4 * OUTPUTS);
        let row = u64::from(self.n_embd).saturating_mul(4 * 24);
        row.saturating_mul(n_ubatch.into())
            .saturating_add(logits)
            .saturating_add(32 << 20)
    }

    fn layer_bytes(&self, n_head: u32, kind: KvCacheType) -> u64 {
        let width = u64::from(self.head_dim_k) + u64::from(self.head_dim_v);
        u64::from(n_head)
            .saturating_mul(width)
            .saturating_mul(bytes_per_64(kind))
            / 64
    }

    /// Whether a layer attends only to a window: all but the last of each period do.
    fn is_windowed(&self, layer: usize) -> bool {
        let period = self.window_period as usize;
        self.sliding_window != 0 && period != 0 && layer % period != period - 1
    }
}
