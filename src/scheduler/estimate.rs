//! How much memory a model will need, from its dimensions. Pure arithmetic, checked against
//! published figures in the tests; on the safe side where llama.cpp's own layout is unknown.

use crate::protocol::KvCacheType;

/// What the memory estimate needs, from the GGUF header.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ModelDims {
    pub architecture: String,
    /// Weights (and projectors) in bytes.
    pub file_bytes: u64,
    pub n_layer: u32,
    /// KV heads of each layer (one entry = the same for all).
    pub n_head_kv: Vec<u32>,
    pub head_dim_k: u32,
    pub head_dim_v: u32,
    pub n_embd: u32,
    pub n_vocab: u32,
    /// Trained context length; 0 = unknown.
    pub n_ctx_train: u32,
    /// Sliding window in tokens; 0 = none.
    pub sliding_window: u32,
}

/// Rows that llama.cpp computes at once (`n_ubatch`).
pub(super) const UBATCH: u64 = 512;

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
    /// KV bytes of one token in the layers that keep the whole context.
    pub(super) fn global_bytes_per_token(&self, kind: KvCacheType) -> u64 {
        (0..self.n_layer)
            .filter(|&layer| !self.is_windowed(layer))
            .map(|layer| self.layer_bytes(layer, kind))
            .fold(0, u64::saturating_add)
    }

    /// KV bytes of one token in the layers that keep only a window.
    fn window_bytes_per_token(&self, kind: KvCacheType) -> u64 {
        (0..self.n_layer)
            .filter(|&layer| self.is_windowed(layer))
            .map(|layer| self.layer_bytes(layer, kind))
            .fold(0, u64::saturating_add)
    }

    /// KV bytes of one token where also the layers with a window keep the whole context.
    pub(super) fn whole_bytes_per_token(&self, kind: KvCacheType) -> u64 {
        self.global_bytes_per_token(kind)
            .saturating_add(self.window_bytes_per_token(kind))
    }

    /// Bytes of the window layers' cache for so many sequences (window × sequences + one batch,
    /// in steps of 256).
    pub(super) fn window_bytes(&self, n_seq: u32, kind: KvCacheType) -> u64 {
        let cells = u64::from(self.sliding_window) * u64::from(n_seq) + UBATCH;
        self.window_bytes_per_token(kind)
            .saturating_mul(cells.next_multiple_of(256))
    }

    /// Bytes of the compute buffers: the logits of a batch, and activations.
    pub(super) fn compute_bytes(&self) -> u64 {
        let logits = UBATCH * u64::from(self.n_vocab) * 4;
        let activations = UBATCH * u64::from(self.n_embd) * 4 * 24;
        logits + activations + (32 << 20)
    }

    fn layer_bytes(&self, layer: u32, kind: KvCacheType) -> u64 {
        let heads = self
            .n_head_kv
            .get(layer as usize)
            .or(self.n_head_kv.last())
            .copied();
        let width = u64::from(self.head_dim_k) + u64::from(self.head_dim_v);
        // Numbers of a file: a silly product must not wrap.
        u64::from(heads.unwrap_or(1))
            .saturating_mul(width)
            .saturating_mul(bytes_per_64(kind))
            / 64
    }

    /// Whether a layer attends to a window only. The patterns are those of llama.cpp's models;
    /// an unknown architecture counts as global, which needs more memory.
    fn is_windowed(&self, layer: u32) -> bool {
        let period = match self.architecture.as_str() {
            _ if self.sliding_window == 0 => return false,
            "gemma3" | "gemma-embedding" => 6,
            "gemma2" | "gpt-oss" => 2,
            _ => return false,
        };
        layer % period != period - 1
    }
}
