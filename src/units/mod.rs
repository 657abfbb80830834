//! Bytes, counts, durations and times: read and printed as Ollama does.
//!
//! Pure functions over numbers; nothing here knows what a model is.

mod bytes;
mod count;
mod duration;
mod time;

pub use bytes::{format_bytes, format_bytes_binary};
pub use count::format_count;
pub use duration::{format_go_duration, parse_go_duration, whole_seconds};
pub use time::{relative_time, rfc3339_local, rfc3339_utc};
