//! The host cache's offers for a prompt, as an interface of the schedule.

use crate::protocol::Token;

/// Tokens of the shortest prefix that is worth keeping: shorter ones are computed as quickly as they
/// are moved.
pub(in crate::engine) const LEAST: usize = 128;

/// A kept prefix with which a prompt can begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) struct Offer<'a> {
    /// All tokens that are kept.
    pub(in crate::engine) tokens: &'a [Token],
    /// How many of them the prompt can reuse.
    pub(in crate::engine) n_reuse: usize,
    pub(in crate::engine) place: Place,
}

/// Where a prefix is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) enum Place {
    /// It can be loaded at once.
    Memory,
    /// It has to be fetched first.
    File,
    /// It is being fetched.
    Reading,
}

/// A store of prefixes that lost their cells.
pub(in crate::engine) trait Offers {
    /// The kept prefix that saves a prompt the most work.
    fn find(&self, prompt: &[Token]) -> Option<Offer<'_>>;
}
