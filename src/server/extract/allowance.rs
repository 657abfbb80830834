//! Counts and limits the memory that one request is decoded into.

use std::cell::{Cell, RefCell};

use super::memory::{Share, Short};
use crate::error::ErrorKind;
use crate::server::error::ApiError;

/// The limits for one request, in bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Most {
    pub(super) text: usize,
    /// What lists, objects and JSON values take besides their texts. An empty list is three bytes on the wire and two
    /// hundred in memory.
    pub(super) structure: usize,
}

/// Room for eight million tokens of text, and for ten times the structure of a thousand tools with large
/// schemas.
pub(super) const MOST: Most = Most {
    text: 32 << 20,
    structure: 64 << 20,
};

/// The overhead of an allocation in bytes.
const ALLOCATION: usize = 16;

/// How many bytes may be decoded before memory is reserved, and the step in which it is reserved.
const UNASKED: usize = 64 << 10;
const STEP: usize = 256 << 10;

/// Counts the memory of a request during decoding.
pub(super) struct Allowance<'a> {
    most: Most,
    share: RefCell<&'a mut Share>,
    /// The length of the body, which is in memory during decoding.
    n_body: usize,
    text: Cell<usize>,
    structure: Cell<usize>,
    files: Cell<usize>,
    /// Reserved bytes, including the body.
    asked: Cell<usize>,
    refusal: Cell<Option<Refusal>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    Text(usize),
    Structure(usize),
    Memory(Short),
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        let too_large = |what: &str, most: usize| {
            let message = format!("the {what} of this request take more than {most} bytes");
            Self::new(ErrorKind::TooLarge, message)
        };
        match refusal {
            Refusal::Text(most) => too_large("texts", most),
            Refusal::Structure(most) => too_large("lists and objects", most),
            Refusal::Memory(short) => short.into(),
        }
    }
}

impl<'a> Allowance<'a> {
    /// `share` holds the body and as much again.
    pub(super) fn new(share: &'a mut Share, n_body: usize, most: Most) -> Self {
        Self {
            most,
            share: RefCell::new(share),
            n_body,
            text: Cell::new(0),
            structure: Cell::new(0),
            files: Cell::new(0),
            asked: Cell::new(n_body.saturating_mul(2).max(UNASKED)),
            refusal: Cell::new(None),
        }
    }

    /// Why decoding was aborted, if it was.
    pub(super) fn refusal(&self) -> Option<Refusal> {
        self.refusal.get()
    }

    /// Bytes of the decoded request.
    pub(super) fn kept(&self) -> usize {
        self.copied().saturating_add(self.files.get())
    }

    /// Bytes that each further copy of the request takes; files are shared.
    fn copied(&self) -> usize {
        self.text.get().saturating_add(self.structure.get())
    }

    pub(super) fn text(&self, bytes: usize) -> Result<(), Refusal> {
        let cost = if bytes > 0 { ALLOCATION } else { 0 };
        self.add(&self.text, bytes, self.most.text, Refusal::Text)?;
        self.structure(cost)
    }

    pub(super) fn structure(&self, bytes: usize) -> Result<(), Refusal> {
        let most = self.most.structure;
        self.add(&self.structure, bytes, most, Refusal::Structure)
    }

    /// Counts an image or audio file; the body's limit bounds its size.
    pub(super) fn file(&self, bytes: usize) -> Result<(), Refusal> {
        self.add(&self.files, bytes, usize::MAX, Refusal::Text)
    }

    /// Counts further copies of everything but the files.
    pub(super) fn copies(&self, n_more: usize) -> Result<(), Refusal> {
        let text = self.text.get().saturating_mul(n_more);
        let structure = self.structure.get().saturating_mul(n_more);
        self.text(text)?;
        self.structure(structure)
    }

    fn add(
        &self,
        sum: &Cell<usize>,
        bytes: usize,
        most: usize,
        refusal: fn(usize) -> Refusal,
    ) -> Result<(), Refusal> {
        sum.set(sum.get().saturating_add(bytes));
        if sum.get() > most {
            return self.refuse(refusal(most));
        }
        let total = self.n_body.saturating_add(self.kept());
        if total <= self.asked.get() {
            return Ok(());
        }
        let asked = total.saturating_add(STEP);
        match self.share.borrow_mut().try_grow(asked) {
            Ok(()) => {
                self.asked.set(asked);
                Ok(())
            }
            Err(short) => self.refuse(Refusal::Memory(short)),
        }
    }

    fn refuse(&self, refusal: Refusal) -> Result<(), Refusal> {
        self.refusal.set(Some(refusal));
        Err(refusal)
    }
}
