//! Characters with their line, words, and values with their quotes.

/// A place in the text. Lines are counted as Ollama counts them: every CR and every LF.
pub(super) struct Cursor<'a> {
    rest: std::str::Chars<'a>,
    /// Line ends taken so far.
    line_ends: usize,
}

pub(super) fn is_line_end(c: char) -> bool {
    matches!(c, '\n' | '\r')
}

pub(super) fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t')
}

impl<'a> Cursor<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self {
            rest: text.strip_prefix('\u{feff}').unwrap_or(text).chars(),
            line_ends: 0,
        }
    }

    /// The 1-based line of the character that was taken last; a line end belongs to the next line.
    pub(super) fn line(&self) -> usize {
        self.line_ends + 1
    }

    pub(super) fn peek(&self) -> Option<char> {
        self.rest.clone().next()
    }

    pub(super) fn take(&mut self) -> Option<char> {
        let c = self.rest.next()?;
        self.line_ends += usize::from(is_line_end(c));
        Some(c)
    }

    pub(super) fn skip_while(&mut self, test: impl Fn(char) -> bool) {
        while self.peek().is_some_and(&test) {
            self.take();
        }
    }

    /// Takes a word: all characters that pass the test, and the one that ends it.
    pub(super) fn word(&mut self, test: impl Fn(char) -> bool) -> (String, Option<char>) {
        let mut word = String::new();
        loop {
            match self.take() {
                Some(c) if test(c) => word.push(c),
                end => return (word, end),
            }
        }
    }

    /// Takes a value: to the end of the line, or of the line on which its quote is closed.
    /// `None` when the text ends in an open quote.
    pub(super) fn value(&mut self) -> Option<String> {
        let mut text = String::new();
        loop {
            match self.take() {
                Some(c) if is_line_end(c) => match unquote(text.trim()) {
                    Some(value) => return Some(value.to_owned()),
                    None => text.push(c),
                },
                Some(c) => text.push(c),
                None => return unquote(text.trim()).map(str::to_owned),
            }
        }
    }
}

/// Removes the outer quotes; `None` when an opened quote is not closed at the end.
pub(super) fn unquote(text: &str) -> Option<&str> {
    if let Some(inner) = text.strip_prefix("\"\"\"") {
        return inner.strip_suffix("\"\"\"");
    }
    match text.strip_prefix('"') {
        Some(inner) => inner.strip_suffix('"'),
        None => Some(text),
    }
}
