//! Chooses which models to unload when another one needs room. Pure and exchangeable.

use tokio::time::Instant;

use super::event::EntryId;

/// What is known about a model that could be unloaded.
#[derive(Debug, Clone, Copy)]
pub(super) struct Candidate {
    pub(super) entry: EntryId,
    pub(super) idle: bool,
    /// Kept loaded forever.
    pub(super) pinned: bool,
    pub(super) last_used: Instant,
}

/// Chooses one victim: idle before busy, pinned ones last, least recently used first.
pub(super) fn choose(candidates: &[Candidate]) -> Option<Candidate> {
    candidates
        .iter()
        .min_by_key(|candidate| (!candidate.idle, candidate.pinned, candidate.last_used))
        .copied()
}
