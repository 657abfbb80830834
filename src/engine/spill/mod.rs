//! Beginnings that lost their cells, in host memory and in files, so that they need not be computed
//! again: the second level of the prefix cache.
//!
//! What an idle slot holds comes here when the slot or its cells are needed ([`Engine::spill`]), and
//! goes back into a slot when a prompt begins with it and no slot holds as much
//! ([`Engine::restore`]). When memory is full, what was used longest ago goes into files; a runner
//! that stops puts all of it there, and the next one finds it. Both have a limit in bytes.
//!
//! - `shelf`: what is in memory · `files`: what is in files, written by a thread of its own
//!
//! *Invariant:* a state is only an offer. One that is damaged, of another model or too large for the
//! pool is dropped, and the prompt is computed.
//!
//! [`Engine::spill`]: super::core::Engine::spill
//! [`Engine::restore`]: super::core::Engine::restore

mod files;
mod moves;
mod shelf;

use self::files::{Files, Folder};
pub(super) use self::moves::Restored;
use self::shelf::Shelf;
use super::prefix_cache;
use crate::protocol::{LoadParams, Token};

/// Shorter beginnings are computed as quickly as they are moved.
pub(super) const LEAST: usize = 128;

/// What a sequence's cells hold, as the backend wrote it down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct State {
    /// The token of every position, from 0.
    pub(super) tokens: Vec<Token>,
    /// Opaque; only the backend that wrote it can read it, with the same model and settings.
    pub(super) bytes: Vec<u8>,
}

impl State {
    /// What it takes in memory or in a file, about.
    fn n_bytes(&self) -> u64 {
        (self.bytes.len() + self.tokens.len() * size_of::<Token>()) as u64
    }
}

/// All that is kept for one model.
#[derive(Debug)]
pub(super) struct Spill {
    shelf: Shelf,
    files: Option<Files>,
    /// Sequences can be cut back anywhere: one state serves all prompts that begin alike.
    can_cut: bool,
}

/// A state that a prompt can begin with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Offer {
    place: Place,
    /// Tokens of the prompt that need not be computed.
    pub(super) n_reuse: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Shelf(usize),
    File(usize),
}

impl Spill {
    /// Keeps nothing.
    pub(super) fn off() -> Self {
        Self {
            shelf: Shelf::new(0),
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
            shelf: Shelf::new(params.spill.memory_bytes),
            files,
            can_cut,
        }
    }

    pub(super) fn is_on(&self) -> bool {
        self.shelf.limit() > 0 || self.files.is_some()
    }

    /// Whether tokens are here already, so that their state need not be read.
    pub(super) fn has(&self, tokens: &[Token]) -> bool {
        self.all()
            .any(|(_, known)| is_covered(tokens, known, self.can_cut))
    }

    /// The state that saves a prompt most.
    pub(super) fn find(&self, prompt: &[Token]) -> Option<Offer> {
        let offers = self.all().map(|(place, tokens)| {
            let n_common = prefix_cache::reusable(prompt, tokens);
            let fits = self.can_cut || n_common == tokens.len();
            let n_reuse = if fits { n_common } else { 0 };
            Offer { place, n_reuse }
        });
        offers
            .filter(|offer| offer.n_reuse > 0)
            .max_by_key(|offer| offer.n_reuse)
    }

    /// Takes what was offered just now; `None` if its file is gone or damaged.
    pub(super) fn take(&mut self, offer: Offer) -> Option<State> {
        match offer.place {
            Place::Shelf(index) => self.shelf.take(index),
            Place::File(index) => self.files.as_mut()?.read(index),
        }
    }

    /// Offers the state of these tokens no more.
    pub(super) fn forget(&mut self, tokens: &[Token]) {
        self.shelf.retain(|known| known != tokens);
        if let Some(files) = &mut self.files {
            files.forget(tokens);
        }
    }

    /// Keeps a state, and drops those that it makes needless.
    pub(super) fn keep(&mut self, state: State) {
        let can_cut = self.can_cut;
        self.shelf
            .retain(|known| !is_covered(known, &state.tokens, can_cut));
        for displaced in self.shelf.put(state) {
            if let Some(files) = &mut self.files {
                files.write(displaced);
            }
        }
    }

    /// Takes all that is in memory, the most recently used first, and the place where to put it.
    fn finish(&mut self) -> Option<(Folder, Vec<State>)> {
        let files = self.files.take()?;
        Some((files.finish(), self.shelf.drain()))
    }

    fn all(&self) -> impl Iterator<Item = (Place, &[Token])> {
        let shelf = self.shelf.tokens().enumerate();
        let shelf = shelf.map(|(index, tokens)| (Place::Shelf(index), tokens));
        let files = self.files.iter().flat_map(Files::tokens).enumerate();
        shelf.chain(files.map(|(index, tokens)| (Place::File(index), tokens)))
    }
}

/// Whether a state of `other` does all that one of `tokens` does.
fn is_covered(tokens: &[Token], other: &[Token], can_cut: bool) -> bool {
    let is_beginning =
        tokens.len() <= other.len() && prefix_cache::common_prefix(tokens, other) == tokens.len();
    is_beginning && (can_cut || tokens.len() == other.len())
}
