//! Scans JSON text without decoding it: where a value ends, how deep and how large it is.
//!
//! Meant for text that is known to be valid JSON. On other text the results mean nothing, but nothing
//! panics.

use std::ops::ControlFlow;

use memchr::memchr2;

/// Bytes of memory that a decoded value takes besides its text: the value itself, twice because lists grow
/// by doubling, and its key.
const NODE: usize = 2 * size_of::<serde_json::Value>() + 64;

/// Length of the value at the start of the text.
pub fn value_len(text: &str) -> usize {
    let bytes = text.as_bytes();
    match bytes.first() {
        None => 0,
        Some(b'"') => string_len(bytes),
        Some(b'{' | b'[') => {
            let mut depth = 0_usize;
            let end = outside_strings(bytes, |at, byte| {
                match byte {
                    b'{' | b'[' => depth += 1,
                    b'}' | b']' => depth = depth.saturating_sub(1),
                    _ => return ControlFlow::Continue(()),
                }
                if depth == 0 {
                    ControlFlow::Break(at + 1)
                } else {
                    ControlFlow::Continue(())
                }
            });
            end.unwrap_or(bytes.len())
        }
        Some(_) => {
            let ends = |byte: &u8| {
                matches!(
                    byte,
                    b',' | b':' | b']' | b'}' | b' ' | b'\t' | b'\n' | b'\r'
                )
            };
            bytes.iter().position(ends).unwrap_or(bytes.len())
        }
    }
}

/// Whether lists and objects are nested more than `most` levels deep.
pub fn is_deeper(text: &str, most: usize) -> bool {
    let mut depth = 0_usize;
    let found = outside_strings(text.as_bytes(), |_, byte| {
        match byte {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > most {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    });
    found.is_some()
}

/// Upper bound on the bytes of memory that the text takes once it is decoded.
pub fn tree_bytes(text: &str) -> usize {
    let mut n_values = 1_usize;
    let _: Option<()> = outside_strings(text.as_bytes(), |_, byte| {
        // Every value but the first follows one of these.
        n_values += usize::from(matches!(byte, b',' | b'[' | b'{'));
        ControlFlow::Continue(())
    });
    n_values.saturating_mul(NODE).saturating_add(text.len())
}

/// Length of the string at the start of the bytes.
fn string_len(bytes: &[u8]) -> usize {
    let mut at = 1;
    while let Some(rest) = bytes.get(at..) {
        let Some(found) = quote_or_backslash(rest) else {
            break;
        };
        if rest[found] == b'"' {
            return at + found + 1;
        }
        // An escaped character does not end the string.
        at += found + 2;
    }
    bytes.len()
}

/// Up to this many bytes, an inline search is faster than a call of `memchr`: prose and code have an escape in every
/// other line.
const NEAR: usize = 128;

fn quote_or_backslash(bytes: &[u8]) -> Option<usize> {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const HIGHS: u64 = u64::from_ne_bytes([0x80; 8]);
    // The lowest high bit that is set belongs to the first zero byte.
    let zeros = |word: u64| word.wrapping_sub(ONES) & !word & HIGHS;
    let near = &bytes[..bytes.len().min(NEAR)];
    let (words, _) = near.as_chunks();
    for (index, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let quotes = zeros(word ^ (ONES * u64::from(b'"')));
        let found = quotes | zeros(word ^ (ONES * u64::from(b'\\')));
        if found != 0 {
            return Some(8 * index + found.trailing_zeros() as usize / 8);
        }
    }
    let seen = 8 * words.len();
    memchr2(b'"', b'\\', &bytes[seen..]).map(|found| seen + found)
}

fn outside_strings<T>(
    bytes: &[u8],
    mut each: impl FnMut(usize, u8) -> ControlFlow<T>,
) -> Option<T> {
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        if byte == b'"' {
            at += string_len(&bytes[at..]);
            continue;
        }
        if let ControlFlow::Break(found) = each(at, byte) {
            return Some(found);
        }
        at += 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn values_end_where_they_end() {
        for (text, length) in [
            ("", 0),
            ("12,3", 2),
            ("true}", 4),
            ("\"a,\\\"]\" , 1", 7),
            ("\"\\\\\",", 4),
            ("[1,[\"]\"],{\"}\":2}] rest", 17),
            ("{}x", 2),
            ("\"open", 5),
            ("[[", 2),
        ] {
            assert_eq!(value_len(text), length, "{text}");
        }
    }

    #[test]
    fn depth_and_size_are_those_outside_strings() {
        let text = r#"{"a":[[1,"[[[[,,,,"]]}"#;
        assert!(is_deeper(text, 2) && !is_deeper(text, 3));
        assert_eq!(tree_bytes("1"), NODE + 1);
        assert_eq!(tree_bytes(text), 5 * NODE + text.len());
    }

    proptest! {
        #[test]
        fn any_text_has_an_end(text in "\\PC*", strings in "[\\[\\]{}\",:\\\\ 1n]*") {
            for text in [text, strings] {
                prop_assert!(value_len(&text) <= text.len());
                let _ = (is_deeper(&text, 3), tree_bytes(&text));
            }
        }

        #[test]
        fn the_end_is_the_decoders(texts in prop::collection::vec("[\\PC\"\\\\]*", 0..5)) {
            let value: Value = json!({"a": texts, "b": [texts, {}, 1.5, null]});
            let text = format!("{value},[]");
            prop_assert_eq!(value_len(&text), text.len() - 3);
        }
    }
}
