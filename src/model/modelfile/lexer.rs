//! The lexer: characters with their line, words, and values with their quotes.

/// A place in the text. Lines are counted as Ollama counts them: every CR and every LF.
pub(super) struct Cursor<'a> {
    rest: std::str::Chars<'a>,
    /// Line ends taken so far.
    line_ends: usize,
}

/// Opens and closes a value that no quotes can hold.
const FENCE: &str = "\"\"\"\"";

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

    /// Takes a word: all characters that pass the test, and the one after it.
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
        if let Some(value) = self.fenced_value() {
            return Some(value);
        }
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

impl Cursor<'_> {
    /// Takes a value between fences: `""""LABEL`, its lines, `LABEL""""`. `None` if there is no fence.
    ///
    /// This form is drover's: Ollama has none for a text with a line that ends in three quotes. A text that
    /// only begins like a fence keeps Ollama's meaning.
    fn fenced_value(&mut self) -> Option<String> {
        let text = self.rest.as_str().trim_start_matches(is_blank);
        let (label, body) = open_fence(text)?;
        let close = format!("\n{label}{FENCE}");
        let (value, rest) = body.match_indices(&close).find_map(|(at, _)| {
            let rest = &body[at + close.len()..];
            let ends = rest.is_empty() || rest.starts_with(is_line_end);
            ends.then(|| (&body[..at], rest))
        })?;
        let value = value.to_owned();
        let n_rest = rest.len();
        // The line end after the closing fence belongs to the value's line.
        while self.rest.as_str().len() > n_rest {
            self.take();
        }
        self.take();
        Some(value)
    }
}

/// Returns the label of the fence at the start of a text, and what follows its line.
pub(super) fn open_fence(text: &str) -> Option<(&str, &str)> {
    let (label, body) = text.strip_prefix(FENCE)?.split_once('\n')?;
    let is_label = !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric());
    is_label.then_some((label, body))
}

/// Puts a value between fences.
pub(super) fn fence(value: &str) -> String {
    let labels = (0..).map(|number: u32| match number {
        0 => "END".to_owned(),
        number => format!("END{number}"),
    });
    // Each line of the value can rule out at most one label, so one of them is free.
    let mut free = labels.filter(|label| {
        let close = format!("{label}{FENCE}");
        !value.split(is_line_end).any(|line| line == close)
    });
    let label = free.next().unwrap_or_default();
    format!("{FENCE}{label}\n{value}\n{label}{FENCE}")
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
