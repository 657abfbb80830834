//! How the text of a variable becomes a value: Ollama's rules, oddities included.
//!
//! Pure functions: callers look the variables up and report mistakes.

use serde::Deserialize;
use serde::de::IntoDeserializer as _;
use serde::de::value::{Error, StrDeserializer};

use crate::units;

/// Strips surrounding white space, then surrounding quotes of both kinds.
pub fn clean(text: &str) -> &str {
    text.trim().trim_matches(['"', '\''])
}

/// Reads a switch; unset and empty are false, and text that is neither true nor false is true.
pub fn boolean(text: &str) -> bool {
    tri_state(text).unwrap_or(false)
}

/// Reads a switch with a third state, automatic, for unset and empty.
pub fn tri_state(text: &str) -> Option<bool> {
    match clean(text) {
        "" => None,
        word => Some(parse_bool(word).unwrap_or(true)),
    }
}

/// Parses the booleans that Go knows, and nothing else.
pub fn parse_bool(word: &str) -> Option<bool> {
    match word {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}

/// Parses one of the words that serde knows for a type, in any case.
pub fn word<T: for<'de> Deserialize<'de>>(text: &str) -> Option<T> {
    let text = clean(text).to_lowercase();
    let word: StrDeserializer<'_, Error> = text.as_str().into_deserializer();
    T::deserialize(word).ok()
}

/// Parses decimal digits; empty is `Ok(None)`.
///
/// # Errors
/// Returns the cleaned text when it is not such a number, for the caller's warning.
pub fn unsigned(text: &str) -> Result<Option<u64>, String> {
    let text = clean(text);
    if text.is_empty() {
        return Ok(None);
    }
    let only_digits = text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse() {
        Ok(number) if only_digits => Ok(Some(number)),
        _ => Err(text.to_owned()),
    }
}

/// Reads a Go duration or a bare integer of seconds, as nanoseconds; negative values are kept. Empty and
/// invalid values are `None`, which means the default.
pub fn duration_nanos(text: &str) -> Option<i64> {
    let text = clean(text);
    if text.is_empty() {
        return None;
    }
    if let Ok(seconds) = text.parse::<i64>() {
        return Some(seconds.saturating_mul(1_000_000_000));
    }
    units::parse_go_duration(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_and_blanks_around_a_value_go() {
        assert_eq!(clean("  \"'0.0.0.0'\" "), "0.0.0.0");
        assert_eq!(clean("\" a b \""), " a b ");
        assert_eq!(clean(""), "");
    }

    #[test]
    fn unknown_words_are_true() {
        for text in ["1", "t", "TRUE", "True", "no", "off", "disabled", "'1'"] {
            assert!(boolean(text), "{text:?}");
        }
        for text in ["", " ", "0", "f", "False", "\"false\""] {
            assert!(!boolean(text), "{text:?}");
        }
    }

    #[test]
    fn the_third_state_is_empty() {
        assert_eq!(tri_state(""), None);
        assert_eq!(tri_state("0"), Some(false));
        assert_eq!(tri_state("yes"), Some(true));
    }

    #[test]
    fn unsigned_numbers_are_digits_only() {
        assert_eq!(unsigned(""), Ok(None));
        assert_eq!(unsigned("'42'"), Ok(Some(42)));
        for text in ["-1", "+1", "1.5", "x", "99999999999999999999"] {
            assert_eq!(unsigned(text), Err(text.to_owned()));
        }
    }

    #[test]
    fn a_bare_number_is_seconds() {
        assert_eq!(duration_nanos("90"), Some(90_000_000_000));
        assert_eq!(duration_nanos("-1"), Some(-1_000_000_000));
        assert_eq!(duration_nanos(""), None);
    }
}
