//! Word wrap for text that arrives in pieces: a word is printed as it arrives; when it crosses the edge, it is erased
//! and printed again on the next line.
//!
//! A wide character (Chinese, Japanese, emoji) is a separate word and is never cut; a character without width stays
//! with the one before it.

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// Columns kept free at the right.
const MARGIN: usize = 5;
/// Narrower terminals are not wrapped.
const MIN_WIDTH: usize = 10;

/// Turns pieces of text into what must be written to the terminal.
#[derive(Debug, Default)]
pub(crate) struct Wrapper {
    /// Terminal width; 0 = do not wrap.
    width: usize,
    column: usize,
    /// The word under the cursor, already printed.
    word: String,
}

impl Wrapper {
    /// Wraps what follows for a terminal of `width` columns; `None` or less than 10 means not at
    /// all.
    pub(crate) fn set_width(&mut self, width: Option<usize>) {
        self.width = width.filter(|columns| *columns >= MIN_WIDTH).unwrap_or(0);
    }

    /// Returns what to write for the next piece.
    pub(crate) fn push(&mut self, text: &str) -> String {
        if self.width == 0 {
            return text.to_owned();
        }
        let mut out = String::with_capacity(text.len());
        for character in text.chars() {
            self.push_char(character, &mut out);
        }
        out
    }

    /// Starts a new line: the cursor is at the left edge again.
    pub(crate) fn reset(&mut self) {
        self.column = 0;
        self.word.clear();
    }

    fn push_char(&mut self, character: char, out: &mut String) {
        let width = character.width().unwrap_or(0);
        match character {
            '\n' | '\r' => {
                self.reset();
                out.push(character);
                return;
            }
            // A blank may extend past the edge; the next word then wraps.
            ' ' | '\t' => {
                self.word.clear();
                self.column += 1;
                out.push(character);
                return;
            }
            _ => {}
        }
        if self.column + width > self.width.saturating_sub(MARGIN) && width > 0 {
            self.break_line(width, out);
        }
        out.push(character);
        self.column += width;
        if width >= 2 {
            self.word.clear();
        } else {
            self.word.push(character);
        }
    }

    fn break_line(&mut self, next: usize, out: &mut String) {
        let word_width = self.word.width();
        let too_long = word_width > self.width.saturating_sub(10);
        if too_long || next >= 2 || word_width == 0 {
            // Nothing to move to the next line: a long word is split, a wide character starts afresh.
            out.push('\n');
            self.reset();
            return;
        }
        out.push_str(&format!("\x1b[{word_width}D\x1b[K\n{}", self.word));
        self.column = word_width;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a terminal shows after the output, blanks at line ends removed.
    fn screen(output: &str) -> Vec<String> {
        let mut lines = vec![Vec::new()];
        let mut rest = output.chars().peekable();
        while let Some(character) = rest.next() {
            let line = lines.last_mut().unwrap();
            match character {
                '\n' => lines.push(Vec::new()),
                '\x1b' => {
                    let code: String =
                        std::iter::from_fn(|| rest.next_if(|c| !c.is_alphabetic())).collect();
                    if rest.next() == Some('D') {
                        let count: usize = code[1..].parse().unwrap();
                        line.truncate(line.len() - count);
                    }
                }
                other => line.push(other),
            }
        }
        lines
            .iter()
            .map(|line| line.iter().collect::<String>().trim_end().to_owned())
            .collect()
    }

    fn wrapper(width: Option<usize>) -> Wrapper {
        let mut wrapper = Wrapper::default();
        wrapper.set_width(width);
        wrapper
    }

    fn wrapped(width: usize, text: &str) -> Vec<String> {
        screen(&wrapper(Some(width)).push(text))
    }

    #[test]
    fn words_move_to_the_next_line() {
        assert_eq!(
            wrapped(20, "one two three four five"),
            ["one two three", "four five"]
        );
        assert_eq!(wrapped(20, "a\nb"), ["a", "b"]);
    }

    #[test]
    fn every_split_shows_the_same() {
        let text = "the quick brown fox 日本語の文章 jumps over averyveryverylongword e\u{301}nd";
        let expected = wrapped(18, text);
        for (at, _) in text.char_indices() {
            let mut wrapper = wrapper(Some(18));
            let output = format!("{}{}", wrapper.push(&text[..at]), wrapper.push(&text[at..]));
            assert_eq!(screen(&output), expected, "at {at}");
        }
    }

    #[test]
    fn no_line_is_wider_than_the_edge() {
        let text = "日本語の文章は空白なしで続く abcdefghijklmnopqrstuvwxyz 終わり word";
        for line in wrapped(20, text) {
            assert!(line.width() <= 15, "{line}");
        }
    }

    #[test]
    fn narrow_or_unknown_terminals_do_not_wrap() {
        let text = "one two three four five six seven";
        assert_eq!(wrapper(Some(9)).push(text), text);
        assert_eq!(wrapper(None).push(text), text);
    }
}
