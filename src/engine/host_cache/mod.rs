//! Beginnings that lost their cells, in host memory and in files, so that they need not be computed
//! again: the second level of the prefix cache.
//!
//! What an idle slot holds comes here when the slot or its cells are needed (`CacheOp::Save`), and
//! goes back into a slot when a prompt begins with it and no slot holds as much (`CacheOp::Load`). When memory is full, what was used longest ago goes into files; a runner
//! that stops puts all of it there, and the next one finds it. Both have a limit in bytes.
//!
//! - `memory`: what is in memory · `files`: what is in files, written by a thread of its own
//!
//! *Invariant:* a state is only an offer. One that is damaged, of another model or too large for the
//! pool is dropped, and the prompt is computed.

mod files;
mod memory;

use self::files::Files;
pub(super) use self::files::Folder;
use self::memory::Memory;
use super::schedule::offers::{LEAST, Offer, Offers};
use super::schedule::prefix::{self, is_covered};
use crate::protocol::{LoadParams, Token};

/// What a sequence's cells hold, as the backend wrote it down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SavedState {
    /// The token of every position, from 0.
    pub(super) tokens: Vec<Token>,
    /// Opaque; only the backend that wrote it can read it, with the same model and settings.
    pub(super) bytes: Vec<u8>,
}

impl SavedState {
    /// What it takes in memory or in a file, about.
    fn n_bytes(&self) -> u64 {
        (self.bytes.len() + self.tokens.len() * size_of::<Token>()) as u64
    }
}

/// All that is kept for one model.
#[derive(Debug)]
pub(super) struct HostCache {
    memory: Memory,
    files: Option<Files>,
    /// Sequences can be cut back anywhere: one state serves all prompts that begin alike.
    can_cut: bool,
}

impl HostCache {
    /// Keeps nothing.
    pub(super) fn off() -> Self {
        Self {
            memory: Memory::new(0),
            files: None,
            can_cut: true,
        }
    }

    /// What these parameters ask for; files of earlier runners of the same model are found again. A
    /// folder that cannot be used is logged and goes unused.
    pub(super) fn open(params: &LoadParams, can_cut: bool) -> Self {
        let files = params.spill.files.as_ref().and_then(|wanted| {
            Files::open(wanted, params)
                .inspect_err(|error| {
                    let folder = wanted.folder.display();
                    tracing::warn!("prompts are not kept in `{folder}`: {error}");
                })
                .ok()
        });
        Self {
            memory: Memory::new(params.spill.memory_bytes),
            files,
            can_cut,
        }
    }

    pub(super) fn is_on(&self) -> bool {
        self.memory.limit() > 0 || self.files.is_some()
    }

    /// Whether tokens are here already, so that their state need not be read.
    pub(super) fn has(&self, tokens: &[Token]) -> bool {
        self.all()
            .any(|known| is_covered(tokens, known, self.can_cut))
    }

    /// Whether these tokens are worth keeping, and are not kept yet.
    pub(super) fn is_new(&self, tokens: &[Token]) -> bool {
        tokens.len() >= LEAST && self.is_on() && !self.has(tokens)
    }

    /// Takes the state of these tokens; `None` if its file is gone or damaged.
    pub(super) fn take(&mut self, tokens: &[Token]) -> Option<SavedState> {
        let state = self.memory.take(tokens);
        state.or_else(|| self.files.as_mut()?.read(tokens))
    }

    /// Offers the state of these tokens no more.
    pub(super) fn forget(&mut self, tokens: &[Token]) {
        self.memory.retain(|known| known != tokens);
        if let Some(files) = &mut self.files {
            files.forget(tokens);
        }
    }

    /// Keeps a state, and drops those that it makes needless.
    pub(super) fn keep(&mut self, state: SavedState) {
        let can_cut = self.can_cut;
        self.memory
            .retain(|known| !is_covered(known, &state.tokens, can_cut));
        for displaced in self.memory.put(state) {
            if let Some(files) = &mut self.files {
                files.write(displaced);
            }
        }
    }

    /// Takes all that is in memory, the most recently used first, and the place where to put it.
    pub(super) fn finish(&mut self) -> Option<(Folder, Vec<SavedState>)> {
        let files = self.files.take()?;
        Some((files.finish(), self.memory.drain()))
    }

    fn all(&self) -> impl Iterator<Item = &[Token]> {
        let files = self.files.iter().flat_map(Files::tokens);
        self.memory.tokens().chain(files)
    }
}

impl Offers for HostCache {
    fn find(&self, prompt: &[Token]) -> Option<Offer<'_>> {
        let offers = self.all().map(|tokens| {
            let n_common = prefix::reusable(prompt, tokens);
            let fits = self.can_cut || n_common == tokens.len();
            let n_reuse = if fits { n_common } else { 0 };
            Offer { tokens, n_reuse }
        });
        offers
            .filter(|offer| offer.n_reuse > 0)
            .max_by_key(|offer| offer.n_reuse)
    }
}
