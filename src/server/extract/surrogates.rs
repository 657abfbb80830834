//! Halves of surrogate pairs in JSON escapes, as Go reads them: U+FFFD.
//!
//! JavaScript writes them when it cuts a text in the middle of a character (`"a \ud83d"`).

use std::borrow::Cow;

/// Replaces the escapes of lone surrogates in a JSON text by `\ufffd`.
pub(super) fn mended(text: Cow<'_, str>) -> Cow<'_, str> {
    if !text.contains("\\ud") && !text.contains("\\uD") {
        return text;
    }
    let places = lone(text.as_bytes());
    if places.is_empty() {
        return text;
    }
    let mut text = text.into_owned();
    for place in places {
        // Four ASCII digits, as `lone` has seen.
        text.replace_range(place..place + 4, "fffd");
    }
    Cow::Owned(text)
}

/// Where the four digits of lone surrogates stand.
fn lone(text: &[u8]) -> Vec<usize> {
    let mut places = Vec::new();
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        if byte != b'\\' {
            at += 1;
            continue;
        }
        match unit(text, at) {
            Some(0xd800..=0xdbff) if matches!(unit(text, at + 6), Some(0xdc00..=0xdfff)) => {
                at += 12;
            }
            Some(0xd800..=0xdfff) => {
                places.push(at + 2);
                at += 6;
            }
            Some(_) => at += 6,
            // The next character is what is escaped, be it a backslash.
            None => at += 2,
        }
    }
    places
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
