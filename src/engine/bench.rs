//! Access to the engine's decisions for `tests/bench/engine.rs`. Not part of the interface.

use super::backend::shortlist::{self, Shortlist};
use super::schedule::batch::{self, Limits, Pending};
use super::schedule::prefix::{self, View};
use crate::protocol::{Priority, Token};

/// Sequences, every fourth of which evaluates its prompt.
#[derive(Debug)]
pub struct Planner(Vec<Pending>);

impl Planner {
    pub fn new(n_sequences: usize) -> Self {
        let pending = (0..n_sequences).map(|slot| {
            let is_decoding = !slot.is_multiple_of(4);
            Pending {
                slot,
                n_tokens: if is_decoding { 1 } else { 300 + slot },
                is_decoding,
                priority: Priority::Interactive,
                order: slot as u64,
            }
        });
        Self(pending.collect())
    }

    /// Plans a call; returns its number of rows.
    pub fn plan(&self) -> usize {
        let limits = Limits {
            n_batch: 512,
            n_prefill: 256,
            n_decode: usize::MAX,
            turn: 0,
        };
        let shares = batch::plan(&self.0, limits);
        shares.iter().map(|share| share.n_rows).sum()
    }
}

/// Slots whose contents share a prefix with the prompt.
#[derive(Debug)]
pub struct Slots {
    held: Vec<Vec<Token>>,
    prompt: Vec<Token>,
}

impl Slots {
    pub fn new(n_slots: usize, n_tokens: usize, n_shared: usize) -> Self {
        let tokens = |own: usize| {
            let token = |at: usize| if at < n_shared { at } else { at + own };
            let tokens = (0..n_tokens).map(|at| Token::try_from(token(at)).unwrap_or_default());
            tokens.collect()
        };
        Self {
            held: (1..=n_slots).map(tokens).collect(),
            prompt: tokens(0),
        }
    }

    /// Looks for the slot with the longest common prefix; returns its length.
    pub fn choose(&self) -> usize {
        let views = self.held.iter().enumerate().map(|(slot, held)| {
            let n_common = prefix::reusable(&self.prompt, held);
            View {
                slot,
                n_common,
                n_reuse: n_common,
                n_held: held.len(),
                is_busy: false,
                is_parked: false,
                last_used: slot as u64,
            }
        });
        let views: Vec<View> = views.collect();
        prefix::choose(self.prompt.len(), &views).map_or(0, |choice| choice.n_reuse)
    }
}

/// The greedy pick.
pub fn best(logits: &[f32]) -> Option<Token> {
    shortlist::best(logits)
}

/// A search for the candidates of a top-k, with penalties for the last 64 tokens.
#[derive(Debug)]
pub struct TopK(Shortlist);

impl TopK {
    pub fn new(top_k: usize) -> Self {
        Self(Shortlist::new(top_k, Vec::new(), 64))
    }

    /// Remembers a token for the penalties.
    pub fn accept(&mut self, token: Token) {
        self.0.accept(token);
    }

    /// Returns how many candidates there are.
    pub fn find(&mut self, logits: &[f32]) -> usize {
        self.0.find(logits).map_or(0, <[Token]>::len)
    }
}
