//! Bytes, counts, durations and times: read and printed as Ollama does.

// STUB (owner: model/store helper)
use jiff::Timestamp;

/// Prints bytes in decimal units (`16 GB`, `1.5 KB`), as `list` and `ps` do.
pub fn format_bytes(_bytes: u64) -> String {
    todo!()
}

/// Prints bytes in binary units with one decimal (`1.5 GiB`), as logs do.
pub fn format_bytes_binary(_bytes: u64) -> String {
    todo!()
}

/// Prints a parameter count (`8.0B`, `494.03M`).
pub fn format_count(_count: u64) -> String {
    todo!()
}

/// Prints a time relative to `now` (`4 minutes from now`, `2 days ago`, `Forever`).
pub fn relative_time(_then: Timestamp, _now: Timestamp) -> String {
    todo!()
}

/// Parses a Go duration (`5m`, `1h30m`, `-1m`, `0`) into nanoseconds.
///
/// # Errors
/// Returns Go's text (`time: missing unit in duration "5"`).
pub fn parse_go_duration(_text: &str) -> Result<i64, String> {
    todo!()
}

/// Prints nanoseconds as Go does (`4.213562542s`, `115.2ms`, `0s`).
pub fn format_go_duration(_nanos: i64) -> String {
    todo!()
}

/// Prints a UTC time as Go's RFC 3339 with nanoseconds does (trailing zeros trimmed, `Z`).
pub fn rfc3339_utc(_time: Timestamp) -> String {
    todo!()
}

/// Prints a time with the local zone's offset, as `modified_at` and `expires_at` are.
pub fn rfc3339_local(_time: Timestamp) -> String {
    todo!()
}
