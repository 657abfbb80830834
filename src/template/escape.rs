//! Escapes strings for Go, HTML, JavaScript and URLs.

use std::fmt::Write as _;

/// Go's `%q`; `ascii_only` is its `%+q`.
pub(super) fn quote(bytes: &[u8], ascii_only: bool) -> String {
    let mut out = String::with_capacity(bytes.len() + 2);
    out.push('"');
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            push_quoted(&mut out, character, '"', ascii_only);
        }
        for byte in chunk.invalid() {
            let _ = write!(out, "\\x{byte:02x}");
        }
    }
    out.push('"');
    out
}

/// Go's `%q` of a number: the character with that code.
pub(super) fn quote_char(character: char, ascii_only: bool) -> String {
    let mut out = "'".to_owned();
    push_quoted(&mut out, character, '\'', ascii_only);
    out.push('\'');
    out
}

fn push_quoted(out: &mut String, character: char, quote: char, ascii_only: bool) {
    let code = u32::from(character);
    let _ = match character {
        '\\' => out.write_str("\\\\"),
        _ if character == quote => write!(out, "\\{quote}"),
        '\x07' => out.write_str("\\a"),
        '\x08' => out.write_str("\\b"),
        '\x0c' => out.write_str("\\f"),
        '\n' => out.write_str("\\n"),
        '\r' => out.write_str("\\r"),
        '\t' => out.write_str("\\t"),
        '\x0b' => out.write_str("\\v"),
        _ if code < 0x20 || code == 0x7f => write!(out, "\\x{code:02x}"),
        _ if is_printable(character) && (code < 0x80 || !ascii_only) => out.write_char(character),
        _ if code > 0xffff => write!(out, "\\U{code:08x}"),
        _ => write!(out, "\\u{code:04x}"),
    };
}

/// Approximates Go's `unicode.IsPrint`: spaces other than ASCII's and invisible characters are not
/// printable.
pub(super) fn is_printable(character: char) -> bool {
    let invisible = matches!(
        u32::from(character),
        0xad | 0x200b..=0x200f | 0x202a..=0x202e | 0x2060..=0x206f | 0xe000..=0xf8ff | 0xfeff | 0xfff9..=0xffff
    );
    character == ' ' || !(character.is_control() || character.is_whitespace() || invisible)
}

/// For HTML text and attributes.
pub(super) fn html(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    for byte in bytes {
        match byte {
            0 => out.extend_from_slice("\u{fffd}".as_bytes()),
            b'"' => out.extend_from_slice(b"&#34;"),
            b'\'' => out.extend_from_slice(b"&#39;"),
            b'&' => out.extend_from_slice(b"&amp;"),
            b'<' => out.extend_from_slice(b"&lt;"),
            b'>' => out.extend_from_slice(b"&gt;"),
            other => out.push(*other),
        }
    }
    out
}

/// For the inside of a JavaScript string.
pub(super) fn js(bytes: &[u8]) -> Vec<u8> {
    let mut out = String::with_capacity(bytes.len());
    for character in String::from_utf8_lossy(bytes).chars() {
        let code = u32::from(character);
        let _ = match character {
            '\\' => out.write_str("\\\\"),
            '\'' => out.write_str("\\'"),
            '"' => out.write_str("\\\""),
            '<' | '>' | '&' | '=' => write!(out, "\\u{code:04X}"),
            _ if code < 0x20 || !is_printable(character) => write!(out, "\\u{code:04X}"),
            _ => out.write_char(character),
        };
    }
    out.into_bytes()
}

/// For a value in a URL's query.
pub(super) fn url_query(bytes: &[u8]) -> Vec<u8> {
    let mut out = String::with_capacity(bytes.len());
    for byte in bytes {
        let _ = match byte {
            b' ' => out.write_char('+'),
            b'-' | b'_' | b'.' | b'~' => out.write_char(char::from(*byte)),
            _ if byte.is_ascii_alphanumeric() => out.write_char(char::from(*byte)),
            _ => write!(out, "%{byte:02X}"),
        };
    }
    out.into_bytes()
}

/// The value of a quoted Go string or character, without its quotes; `None` for a bad escape.
pub(super) fn unquote(inside: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(inside.len());
    let mut rest = inside;
    while let Some((text, escaped)) = rest.split_once('\\') {
        out.extend_from_slice(text.as_bytes());
        let kind = escaped.chars().next()?;
        rest = escaped.get(kind.len_utf8()..)?;
        let digits = match kind {
            'x' => 2,
            'u' => 4,
            'U' => 8,
            '0'..='7' => {
                let code = u8::from_str_radix(escaped.get(..3)?, 8).ok()?;
                out.push(code);
                rest = escaped.get(3..)?;
                continue;
            }
            _ => {
                out.push(simple_escape(kind)?);
                continue;
            }
        };
        let hex = rest.get(..digits)?;
        if !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        let code = u32::from_str_radix(hex, 16).ok()?;
        rest = rest.get(digits..)?;
        if kind == 'x' {
            out.push(u8::try_from(code).ok()?);
        } else {
            let character = char::from_u32(code)?;
            out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        }
    }
    out.extend_from_slice(rest.as_bytes());
    Some(out)
}

fn simple_escape(kind: char) -> Option<u8> {
    Some(match kind {
        'a' => 7,
        'b' => 8,
        'f' => 12,
        'n' => b'\n',
        'r' => b'\r',
        't' => b'\t',
        'v' => 11,
        '\\' => b'\\',
        '"' => b'"',
        '\'' => b'\'',
        _ => return None,
    })
}
