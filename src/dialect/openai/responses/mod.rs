//! Responses: converts a request with its history to a native one, and chunks to events and a response.

mod items;
mod replay;
mod request;
mod step;
#[cfg(test)]
mod tests;
mod tools;
mod turns;
mod writer;

pub use items::{item_list, referenced, stored_items, with_ids};
pub use replay::{Replay, kept, with_status};
pub use request::{Asked, Known, State, check_items, compact_request, compacted, read};
pub use step::{Ending, Step};
pub use writer::{Style, Writer};

pub use super::stored::{metadata, stored};

use super::invalid;

/// The purposes of sealed texts: thinking, and summaries.
const THINKING: &str = "responses.thinking";
const SUMMARY: &str = "responses.summary";

/// The instruction to summarize a conversation.
const COMPACT: &str = "Summarize this conversation for yourself, so that you can continue it without \
    having seen it. Keep what was asked, what was decided and done, what is left to do, and every name, \
    number and path that may still be needed. Answer with the summary alone.";

/// The text before a summary in the conversation that continues.
const SUMMARIZED: &str = "Summary of the conversation so far:\n\n";

/// The random part of an id, from which other ids are made.
fn base_of(id: &str) -> &str {
    id.split_once('_').map_or(id, |(_, base)| base)
}
