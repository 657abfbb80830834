//! Replaces lone surrogates in JSON escapes by U+FFFD, as Go does.
//!
//! JavaScript produces them when it cuts a text in the middle of a character (`"a \ud83d"`).

use std::borrow::Cow;

use memchr::memchr;

/// Replaces the escapes of lone surrogates in a JSON text by `\ufffd`; copies the text at most once.
pub(super) fn mended(text: Cow<'_, str>) -> Cow<'_, str> {
    if !text.contains("\\ud") && !text.contains("\\uD") {
        return text;
    }
    let Some(mut place) = lone(text.as_bytes(), 0) else {
        return text;
    };
    let mut bytes = text.into_owned().into_bytes();
    loop {
        bytes[place..place + 4].copy_from_slice(b"fffd");
        match lone(&bytes, place + 4) {
            Some(next) => place = next,
            // ASCII digits replaced ASCII digits.
            None => return String::from_utf8(bytes).unwrap_or_default().into(),
        }
    }
}

/// The position of the four digits of the next lone surrogate; `at` must not be inside an escape.
fn lone(text: &[u8], mut at: usize) -> Option<usize> {
    while let Some(found) = memchr(b'\\', text.get(at..)?) {
        at += found;
        match unit(text, at) {
            Some(0xd800..=0xdbff) if matches!(unit(text, at + 6), Some(0xdc00..=0xdfff)) => {
                at += 12;
            }
            Some(0xd800..=0xdfff) => return Some(at + 2),
            Some(_) => at += 6,
            // Skip the escaped character, which may be a backslash.
            None => at += 2,
        }
    }
    None
}

/// The UTF-16 unit of an escape that begins there.
fn unit(text: &[u8], at: usize) -> Option<u16> {
    let digits = text.get(at..at + 6)?.strip_prefix(b"\\u")?;
    if !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lone_halves_are_replaced() {
        for (text, wanted) in [
            (r#""a \ud83d b""#, r#""a \ufffd b""#),
            (r#""\uD83D""#, r#""\ufffd""#),
            (r#""\ude00\ud83d\ude00""#, r#""\ufffd\ud83d\ude00""#),
            (r#""\ud83d\ud83d\ude00""#, r#""\ufffd\ud83d\ude00""#),
            (r#""\ud83d\u0041""#, r#""\ufffd\u0041""#),
            (r#""\\ud83d \\\ud83d""#, r#""\\ud83d \\\ufffd""#),
            (r#""\ud83""#, r#""\ud83""#),
            (r#""\ud83d"#, r#""\ufffd"#),
            ("é \\ud800 é", "é \\ufffd é"),
        ] {
            assert_eq!(mended(text.into()), wanted);
        }
    }
}
