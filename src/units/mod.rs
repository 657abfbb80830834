//! Bytes, counts, durations and times, parsed and printed as in Ollama.
//!
//! Pure functions over numbers; they know nothing about models.

mod bytes;
mod count;
mod duration;
mod time;

pub use bytes::{format_bytes, format_bytes_binary};
pub use count::format_count;
pub use duration::{format_go_duration, parse_go_duration, whole_seconds};
pub use time::{relative_time, rfc3339_local, rfc3339_utc};
