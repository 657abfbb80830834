//! Applies the cache operations of a plan.

use std::collections::BTreeSet;

use super::backend::Backend;
use super::host_cache::{HostCache, SavedState};
use super::row::SeqId;
use super::schedule::plan::CacheOp;

/// The result of cache operations.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// Sequences that were emptied because an operation failed.
    pub(super) lost: BTreeSet<SeqId>,
    pub(super) n_saved: usize,
    pub(super) n_loaded: usize,
}

impl Changes {
    /// Applies operations, in order.
    pub(super) fn apply<B: Backend>(
        &mut self,
        backend: &mut B,
        host: &mut HostCache,
        ops: &[CacheOp],
    ) {
        for op in ops {
            match op {
                CacheOp::Save { seq, tokens } => {
                    if !self.lost.contains(seq)
                        && !host.has(tokens)
                        && let Some(bytes) = backend.save(*seq)
                    {
                        let tokens = tokens.clone();
                        host.keep(SavedState { tokens, bytes });
                        self.n_saved += 1;
                    }
                }
                CacheOp::Load {
                    seq,
                    tokens,
                    n_positions,
                    spare,
                } => match host.take(tokens) {
                    Some(state) => {
                        if !self.load(backend, (*seq, *n_positions), &state, spare) {
                            host.forget(&state.tokens);
                        }
                    }
                    None => self.lose(backend, *seq),
                },
                op => self.change(backend, op),
            }
        }
    }

    /// Applies an operation that does not use the host cache.
    pub(super) fn change<B: Backend>(&mut self, backend: &mut B, op: &CacheOp) {
        match *op {
            CacheOp::Clear { seq } => {
                // Every memory can drop a whole sequence.
                backend.remove(seq, 0, None);
                self.lost.remove(&seq);
            }
            CacheOp::Cut { seq, from } => {
                if !self.lost.contains(&seq) && !backend.remove(seq, from, None) {
                    self.lose(backend, seq);
                }
            }
            CacheOp::Copy { from, to, len } => {
                if self.lost.contains(&from) {
                    self.lose(backend, to);
                } else {
                    backend.copy(from, to, len);
                    self.lost.remove(&to);
                }
            }
            CacheOp::Shift { seq, from, to } => {
                if self.lost.contains(&seq) || !backend.remove(seq, from, Some(to)) {
                    self.lose(backend, seq);
                } else {
                    let delta = i32::try_from(to - from).map_or(i32::MIN, |n| -n);
                    backend.shift(seq, to, delta);
                }
            }
            CacheOp::Save { .. } | CacheOp::Load { .. } => {}
        }
    }

    /// Restores a sequence from a saved state; false if it does not fit.
    fn load<B: Backend>(
        &mut self,
        backend: &mut B,
        (seq, n_positions): (SeqId, u32),
        state: &SavedState,
        spare: &[SeqId],
    ) -> bool {
        let mut spare = spare.iter();
        loop {
            if backend.load(seq, &state.bytes, n_positions) {
                self.n_loaded += 1;
                self.lost.remove(&seq);
                return true;
            }
            backend.remove(seq, 0, None);
            let Some(&other) = spare.next() else { break };
            self.lose(backend, other);
        }
        self.lose(backend, seq);
        tracing::debug!(
            n_tokens = state.tokens.len(),
            "a prefix that was kept did not go back into the cache"
        );
        false
    }

    fn lose<B: Backend>(&mut self, backend: &mut B, seq: SeqId) {
        backend.remove(seq, 0, None);
        self.lost.insert(seq);
    }
}
