//! Makes untrusted text safe where people read it: in the log, on the terminal, in errors.
//!
//! A model's name, a registry's error or an answer may hold terminal control sequences, which move the
//! cursor or set the title or the clipboard. Each character is judged by itself, so it does not matter
//! where a text was cut: without its first character, a sequence is just text.

mod path;
mod url;

use std::borrow::Cow;
use std::fmt::Write as _;

pub use path::without_paths;
pub use url::redacted;

/// Whether a terminal would act on it: C0 except line ends and tabs, DEL, C1.
fn is_control(character: char) -> bool {
    character.is_control() && !matches!(character, '\n' | '\t')
}

/// Whether it changes the display order of other characters. Texts in some languages need such characters, names and
/// messages do not.
fn changes_order(character: char) -> bool {
    matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Makes a text of several lines, such as a model's answer, safe for a terminal.
pub fn text(text: &str) -> Cow<'_, str> {
    without(text, is_control)
}

/// Makes a name or a message safe for a terminal.
pub fn message(text: &str) -> Cow<'_, str> {
    without(text, |character| {
        is_control(character) || changes_order(character)
    })
}

/// Escapes JSON so that no terminal acts on it; its meaning stays the same.
pub fn json(text: &str) -> Cow<'_, str> {
    // They occur in strings only, and JSON writers do not escape them.
    escaped(
        text,
        |character| is_control(character) || changes_order(character),
        |out, character| write!(out, "\\u{:04x}", u32::from(character)),
    )
}

/// Makes a log line of any text: it stays on one line, and unusual characters are escaped.
pub fn line(text: &str) -> Cow<'_, str> {
    escaped(
        text,
        |character| character != '\t' && character.is_control() || changes_order(character),
        |out, character| write!(out, "{}", character.escape_default()),
    )
}

fn without(text: &str, is_odd: impl Fn(char) -> bool) -> Cow<'_, str> {
    escaped(text, is_odd, |_, _| Ok(()))
}

fn escaped(
    text: &str,
    is_odd: impl Fn(char) -> bool,
    escape: impl Fn(&mut String, char) -> std::fmt::Result,
) -> Cow<'_, str> {
    let Some(first) = text.find(&is_odd) else {
        return Cow::Borrowed(text);
    };
    let (before, rest) = text.split_at(first);
    let mut out = String::with_capacity(text.len());
    out.push_str(before);
    for character in rest.chars() {
        if is_odd(character) {
            // Writing to a string does not fail.
            let _ = escape(&mut out, character);
        } else {
            out.push(character);
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Clipboard, link, title, colour, return, C1, DEL, NUL.
    const ODD: [&str; 8] = [
        "\x1b]52;c;aGk=\x07",
        "\x1b]8;;http://x\x1b\\",
        "\x1b]0;t\x07",
        "\x1b[31m",
        "a\rb",
        "\u{9b}2J",
        "\x7f",
        "\0",
    ];

    #[test]
    fn nothing_that_a_terminal_acts_on_is_left_wherever_it_is_cut() {
        for odd in ODD {
            for at in (0..=odd.len()).filter(|at| odd.is_char_boundary(*at)) {
                let (first, second) = odd.split_at(at);
                for clean in [text, message] {
                    let shown = format!("{}{}", clean(first), clean(second));
                    assert!(!shown.contains(char::is_control), "{odd:?} at {at}");
                }
            }
        }
        assert_eq!(text("a\r\n\tb\u{202e}"), "a\n\tb\u{202e}");
        assert_eq!(message("a\u{202e}b\u{2066}\n"), "ab\n");
    }

    #[test]
    fn honest_text_is_not_even_copied() {
        let honest = "Grüße, 日本語, 👩‍👩‍👧, العربية\n\tand so on";
        for clean in [text, message, json] {
            assert!(matches!(clean(honest), Cow::Borrowed(same) if same == honest));
        }
    }

    #[test]
    fn json_means_the_same() {
        let value = "a\u{9b}b\u{7f}c\u{202e}d\x1b";
        let json = serde_json::to_string(value).unwrap();
        let safe = super::json(&json);
        assert!(
            !safe.contains(|c| is_control(c) || changes_order(c)),
            "{safe}"
        );
        assert_eq!(serde_json::from_str::<String>(&safe).unwrap(), value);
    }

    #[test]
    fn a_line_of_the_log_stays_one() {
        let forged = "x\n2026-01-01 INFO all is well\r\x1b[2K\0";
        assert_eq!(
            line(forged),
            "x\\n2026-01-01 INFO all is well\\r\\u{1b}[2K\\u{0}"
        );
    }
}
