//! Prefixes that lost their cells, in host memory and in files, so that they need not be computed
//! again: the second level of the prefix cache.
//!
//! When an idle slot or its cells are needed, its content is saved here (`CacheOp::Save`). It is restored to a
//! slot when a prompt begins with it and no slot holds as much of the prompt (`CacheOp::Load`). When memory is
//! full, the least recently used states move to files; a runner that stops saves everything there, and the next
//! one finds it. Both levels have a limit in bytes.
//!
//! - `memory`: what is in memory · `files`: what is in files, written by a separate thread
//! - `reader`: the thread that reads files while requests are answered
//!
//! *Invariant:* a state is only an offer. A state that is damaged, belongs to another model or is too large for
//! the pool is dropped, and the prompt is computed.

mod files;
mod memory;
mod reader;

use self::files::Files;
pub(super) use self::files::{Folder, make_folder};
use self::memory::Memory;
use self::reader::Reader;
use super::schedule::offers::{LEAST, Offer, Offers, Place};
use super::schedule::prefix::{self, is_covered};
use crate::protocol::{LoadParams, Token};

/// The most states that were read from files and not yet taken.
const MAX_FETCHED: usize = 4;

/// The content of a sequence's cells, as the backend saved it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SavedState {
    /// The token of every cell, in order.
    pub(super) tokens: Vec<Token>,
    /// Opaque; only the backend that wrote it can read it, with the same model and settings.
    pub(super) bytes: Vec<u8>,
}

impl SavedState {
    /// Its approximate size in memory or in a file.
    fn n_bytes(&self) -> u64 {
        (self.bytes.len() + self.tokens.len() * size_of::<Token>()) as u64
    }
}

/// The saved states of one model.
#[derive(Debug)]
pub(super) struct HostCache {
    memory: Memory,
    files: Option<(Files, Reader)>,
    /// States that were read from files, for the sequences that wait for them.
    fetched: Vec<SavedState>,
    /// Sequences can be cut back anywhere: one state serves all prompts that share it.
    can_cut: bool,
}

impl HostCache {
    /// Keeps nothing.
    pub(super) fn off() -> Self {
        Self {
            memory: Memory::new(0),
            files: None,
            fetched: Vec::new(),
            can_cut: true,
        }
    }

    /// Makes the cache for these parameters, with the files of earlier runners of the same model. A folder that
    /// cannot be used is logged and ignored.
    pub(super) fn open(params: &LoadParams, can_cut: bool) -> Self {
        let files = params.spill.files.as_ref().and_then(|wanted| {
            Files::open(wanted, params)
                .and_then(|files| Ok((files, Reader::start()?)))
                .inspect_err(|error| {
                    let folder = wanted.folder.display();
                    tracing::warn!("prompts are not kept in `{folder}`: {error}");
                })
                .ok()
        });
        Self {
            memory: Memory::new(params.spill.memory_bytes),
            files,
            fetched: Vec::new(),
            can_cut,
        }
    }

    pub(super) fn is_on(&self) -> bool {
        self.memory.limit() > 0 || self.files.is_some()
    }

    /// Whether the cache already holds these tokens, so that their state need not be saved.
    pub(super) fn has(&self, tokens: &[Token]) -> bool {
        self.all()
            .any(|known| is_covered(tokens, known, self.can_cut))
    }

    /// Whether these tokens are worth keeping, and are not kept yet.
    pub(super) fn is_new(&self, tokens: &[Token]) -> bool {
        tokens.len() >= LEAST && self.is_on() && !self.has(tokens)
    }

    /// Takes the state of these tokens, if it is in memory.
    pub(super) fn take(&mut self, tokens: &[Token]) -> Option<SavedState> {
        let fetched = self.fetched.iter().position(|state| state.tokens == tokens);
        match fetched {
            Some(index) => Some(self.fetched.swap_remove(index)),
            None => self.memory.take(tokens),
        }
    }

    /// Queues the file of these tokens for reading.
    pub(super) fn fetch(&mut self, tokens: &[Token]) {
        if let Some((files, reader)) = &mut self.files
            && let Some(known) = files.known(tokens)
        {
            reader.read(known.clone());
        }
    }

    /// Takes over what has been read.
    pub(super) fn collect(&mut self) {
        let Some((files, reader)) = &mut self.files else {
            return;
        };
        for (tokens, state) in reader.take() {
            match state {
                Some(state) => self.fetched.push(state),
                None => files.forget(&tokens),
            }
        }
        // The sequences that waited for them may be gone.
        let n_most = MAX_FETCHED.min(self.fetched.len());
        self.fetched.drain(..self.fetched.len() - n_most);
    }

    /// Calls this whenever a file has been read.
    pub(super) fn wake_with(&self, wake: impl Fn() + Send + 'static) {
        if let Some((_, reader)) = &self.files {
            reader.wake_with(wake);
        }
    }

    /// Stops offering the state of these tokens.
    pub(super) fn forget(&mut self, tokens: &[Token]) {
        self.memory.retain(|known| known != tokens);
        if let Some((files, _)) = &mut self.files {
            files.forget(tokens);
        }
    }

    /// Keeps a state, and drops those that it makes redundant.
    pub(super) fn keep(&mut self, state: SavedState) {
        let can_cut = self.can_cut;
        self.memory
            .retain(|known| !is_covered(known, &state.tokens, can_cut));
        for displaced in self.memory.put(state) {
            if let Some((files, _)) = &mut self.files {
                files.write(displaced);
            }
        }
    }

    /// Takes all states in memory, the most recently used first, and the folder to write them to.
    pub(super) fn finish(&mut self) -> Option<(Folder, Vec<SavedState>)> {
        let (files, _) = self.files.take()?;
        Some((files.finish(), self.memory.drain()))
    }

    fn all(&self) -> impl Iterator<Item = &[Token]> {
        let files = self.files.iter().flat_map(|(files, _)| files.tokens());
        self.near().chain(files)
    }

    /// The tokens of the states in memory.
    fn near(&self) -> impl Iterator<Item = &[Token]> {
        let fetched = self.fetched.iter().map(|state| state.tokens.as_slice());
        fetched.chain(self.memory.tokens())
    }

    fn n_reuse(&self, prompt: &[Token], tokens: &[Token]) -> usize {
        let n_common = prefix::reusable(prompt, tokens);
        let fits = self.can_cut || n_common == tokens.len();
        if fits { n_common } else { 0 }
    }
}

impl Offers for HostCache {
    fn find(&self, prompt: &[Token]) -> Option<Offer<'_>> {
        let near = self.near().map(|tokens| (tokens, Place::Memory));
        let far = self.files.iter().flat_map(|(files, reader)| {
            let place = |tokens| match reader.is_reading(tokens) {
                true => Place::Reading,
                false => Place::File,
            };
            files.tokens().map(move |tokens| (tokens, place(tokens)))
        });
        let offers = near.chain(far).map(|(tokens, place)| Offer {
            tokens,
            place,
            n_reuse: self.n_reuse(prompt, tokens),
        });
        offers
            .filter(|offer| offer.n_reuse > 0)
            .max_by_key(|offer| (offer.n_reuse, offer.place == Place::Memory))
    }
}

#[cfg(test)]
impl HostCache {
    /// Waits until a file has been read.
    pub(super) fn wait(&self) {
        if let Some((_, reader)) = &self.files {
            reader.wait();
        }
    }

    /// Keeps files from being read.
    pub(super) fn hold(&self) -> Option<std::sync::mpsc::SyncSender<()>> {
        self.files.as_ref().map(|(_, reader)| reader.hold())
    }
}
