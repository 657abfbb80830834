//! One token of a decode call, shared by schedule and backend.

use crate::protocol::Token;

/// A sequence of the unified KV cache; less than the number of sequences that the model was loaded with.
pub(crate) type SeqId = u32;

/// One token of a decode call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) token: Token,
    /// Position in its sequence, from 0.
    pub(crate) position: u32,
    pub(crate) seq: SeqId,
    /// Logits (or an embedding) are wanted for this row.
    pub(crate) output: bool,
}
