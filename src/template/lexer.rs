//! Splits a template's text into tokens, as Go's lexer does.
//!
//! The lexer applies trim markers, so text tokens have already lost their whitespace, and drops comments. The
//! list always ends with [`Kind::Eof`] or [`Kind::Error`].

use super::{MAX_SOURCE, MAX_TOKENS};

/// The kind of a token. Each keyword has its own kind: none can be a function's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Error,
    Eof,
    Text,
    LeftDelim,
    RightDelim,
    Space,
    Assign,
    Declare,
    Pipe,
    LeftParen,
    RightParen,
    /// A character with no meaning of its own, such as `,`.
    Char,
    CharConstant,
    Number,
    String,
    RawString,
    Bool,
    Dot,
    Field,
    Variable,
    Identifier,
    Block,
    Break,
    Continue,
    Define,
    Else,
    End,
    If,
    Nil,
    Range,
    Template,
    With,
}

const KEYWORDS: &[(&str, Kind)] = &[
    ("block", Kind::Block),
    ("break", Kind::Break),
    ("continue", Kind::Continue),
    ("define", Kind::Define),
    ("else", Kind::Else),
    ("end", Kind::End),
    ("if", Kind::If),
    ("nil", Kind::Nil),
    ("range", Kind::Range),
    ("template", Kind::Template),
    ("with", Kind::With),
];

const LEFT: &str = "{{";
const RIGHT: &str = "}}";
const LEFT_COMMENT: &str = "/*";
const RIGHT_COMMENT: &str = "*/";
/// A trim marker is the dash and the whitespace that must be next to it.
const TRIM_MARKER: usize = 2;
const SPACE: &[char] = &[' ', '\t', '\r', '\n'];

/// One token; `text` is the message if the kind is [`Kind::Error`].
#[derive(Debug, Clone)]
pub(super) struct Token {
    pub(super) kind: Kind,
    /// Byte offset in the source.
    pub(super) pos: usize,
    pub(super) line: usize,
    pub(super) text: String,
}

impl Token {
    /// The token as Go's messages quote it.
    pub(super) fn describe(&self) -> String {
        if self.kind == Kind::Eof {
            return "EOF".to_owned();
        }
        if self.kind == Kind::Error {
            return self.text.clone();
        }
        if self.kind == Kind::Dot || KEYWORDS.iter().any(|(_, kind)| *kind == self.kind) {
            return format!("<{}>", self.text);
        }
        if self.text.len() > 10 {
            let start: String = self.text.chars().take(10).collect();
            return format!("{}...", super::escape::quote(start.as_bytes(), false));
        }
        super::escape::quote(self.text.as_bytes(), false)
    }
}

/// Splits the whole text.
pub(super) fn lex(input: &str) -> Vec<Token> {
    let mut lexer = Lexer {
        input,
        pos: 0,
        line: 1,
        counted: 0,
        parens: 0,
        tokens: Vec::new(),
    };
    if let Err(message) = lexer.run() {
        let start = lexer.tokens.last().map_or(0, |token| token.pos);
        let token = Token {
            kind: Kind::Error,
            pos: start,
            line: lexer.line,
            text: message,
        };
        lexer.tokens.push(token);
    }
    lexer.tokens
}

struct Lexer<'a> {
    input: &'a str,
    pos: usize,
    /// The line at offset `counted`, up to which line ends have been counted.
    line: usize,
    counted: usize,
    parens: usize,
    tokens: Vec<Token>,
}

impl<'a> Lexer<'a> {
    fn run(&mut self) -> Result<(), String> {
        if self.input.len() > MAX_SOURCE {
            return Err(format!("longer than {MAX_SOURCE} bytes"));
        }
        loop {
            let rest = self.rest();
            let Some(length) = rest.find(LEFT) else {
                self.text(rest.len(), rest.len());
                self.push(Kind::Eof, 0);
                return Ok(());
            };
            let inside = rest.get(length + LEFT.len()..).unwrap_or_default();
            let trims = inside.starts_with('-') && inside[1..].starts_with(SPACE);
            let text = rest.get(..length).unwrap_or_default();
            let kept = if trims {
                text.trim_end_matches(SPACE)
            } else {
                text
            };
            self.text(kept.len(), length);
            let marker = if trims { TRIM_MARKER } else { 0 };
            let body = inside.get(marker..).unwrap_or_default();
            if body.starts_with(LEFT_COMMENT) {
                self.mark();
                self.pos += LEFT.len() + marker;
                self.comment()?;
            } else {
                self.push(Kind::LeftDelim, LEFT.len());
                self.pos += marker;
                self.parens = 0;
                self.action()?;
            }
        }
    }

    /// Adds a text token of `length` bytes; the first `kept` are printed.
    fn text(&mut self, kept: usize, length: usize) {
        let start = self.pos;
        if kept > 0 {
            self.push(Kind::Text, kept);
        }
        self.pos = start + length;
    }

    fn comment(&mut self) -> Result<(), String> {
        let rest = self.rest();
        let Some(end) = rest.find(RIGHT_COMMENT) else {
            return Err("unclosed comment".to_owned());
        };
        self.pos += end + RIGHT_COMMENT.len();
        let Some(trims) = self.at_right_delim() else {
            return Err("comment ends before closing delimiter".to_owned());
        };
        self.pos += RIGHT.len() + if trims { TRIM_MARKER } else { 0 };
        self.trim(trims);
        Ok(())
    }

    /// Whether the action ends here, and with a trim marker or without.
    fn at_right_delim(&self) -> Option<bool> {
        let rest = self.rest();
        if rest.starts_with(SPACE) && rest[1..].starts_with('-') && rest[2..].starts_with(RIGHT) {
            return Some(true);
        }
        rest.starts_with(RIGHT).then_some(false)
    }

    /// Drops the whitespace after a trimming delimiter.
    fn trim(&mut self, trims: bool) {
        if trims {
            let rest = self.rest();
            self.pos += rest.len() - rest.trim_start_matches(SPACE).len();
        }
    }

    /// The inside of an action up to its end.
    fn action(&mut self) -> Result<(), String> {
        loop {
            self.mark();
            if self.tokens.len() > MAX_TOKENS {
                return Err(format!("more than {MAX_TOKENS} words and signs"));
            }
            if let Some(trims) = self.at_right_delim() {
                if self.parens > 0 {
                    return Err("unclosed left paren".to_owned());
                }
                self.pos += if trims { TRIM_MARKER } else { 0 };
                self.push(Kind::RightDelim, RIGHT.len());
                self.trim(trims);
                return Ok(());
            }
            let rest = self.rest();
            let Some(first) = rest.chars().next() else {
                return Err("unclosed action".to_owned());
            };
            match first {
                ' ' | '\t' | '\r' | '\n' => self.space(),
                '=' => self.push(Kind::Assign, 1),
                ':' if rest.starts_with(":=") => self.push(Kind::Declare, 2),
                ':' => return Err("expected :=".to_owned()),
                '|' => self.push(Kind::Pipe, 1),
                '"' => self.quoted('"', Kind::String, "unterminated quoted string")?,
                '\'' => self.quoted('\'', Kind::CharConstant, "unterminated character constant")?,
                '`' => self.raw_string()?,
                '$' => self.word(Kind::Variable)?,
                '.' if !rest[1..].starts_with(|next: char| next.is_ascii_digit()) => {
                    self.word(Kind::Field)?;
                }
                '.' | '+' | '-' | '0'..='9' => self.number()?,
                '(' => {
                    self.parens += 1;
                    self.push(Kind::LeftParen, 1);
                }
                ')' => self.right_paren()?,
                _ if is_alphanumeric(first) => self.word(Kind::Identifier)?,
                ' '..='~' => self.push(Kind::Char, 1),
                _ => {
                    let character = describe(first);
                    return Err(format!("unrecognized character in action: {character}"));
                }
            }
        }
    }

    fn right_paren(&mut self) -> Result<(), String> {
        let Some(parens) = self.parens.checked_sub(1) else {
            return Err("unexpected right paren".to_owned());
        };
        self.parens = parens;
        self.push(Kind::RightParen, 1);
        Ok(())
    }

    /// Whitespace, except the part that belongs to a closing trim marker.
    fn space(&mut self) {
        let rest = self.rest();
        let mut length = rest.len() - rest.trim_start_matches(SPACE).len();
        let after = rest.get(length..).unwrap_or_default();
        if after.starts_with("-}}") {
            length -= 1;
        }
        if length > 0 {
            self.push(Kind::Space, length);
        }
    }

    fn quoted(&mut self, quote: char, kind: Kind, error: &str) -> Result<(), String> {
        let mut chars = self.rest().char_indices().skip(1);
        while let Some((at, character)) = chars.next() {
            if character == quote {
                self.push(kind, at + 1);
                return Ok(());
            }
            let is_broken = match character {
                '\\' => chars.next().is_none_or(|(_, escaped)| escaped == '\n'),
                other => other == '\n',
            };
            if is_broken {
                break;
            }
        }
        Err(error.to_owned())
    }

    fn raw_string(&mut self) -> Result<(), String> {
        let Some(end) = self.rest()[1..].find('`') else {
            return Err("unterminated raw quoted string".to_owned());
        };
        self.push(Kind::RawString, end + 2);
        Ok(())
    }

    /// A name: of a function, of a field (with its dot), of a variable (with its dollar).
    fn word(&mut self, kind: Kind) -> Result<(), String> {
        let rest = self.rest();
        let prefix = usize::from(kind != Kind::Identifier);
        let name = rest.get(prefix..).unwrap_or_default();
        let end = name.find(|c| !is_alphanumeric(c)).unwrap_or(name.len());
        let word = name.get(..end).unwrap_or_default();
        if let Some(next) = name.get(end..).and_then(|rest| rest.chars().next())
            && !is_terminator(next)
            && !name[end..].starts_with(RIGHT)
        {
            return Err(format!("bad character {}", describe(next)));
        }
        let kind = match (kind, word) {
            (Kind::Field, "") => Kind::Dot,
            (Kind::Identifier, "true" | "false") => Kind::Bool,
            (Kind::Identifier, _) => KEYWORDS
                .iter()
                .find(|(keyword, _)| *keyword == word)
                .map_or(Kind::Identifier, |(_, kind)| *kind),
            (kind, _) => kind,
        };
        self.push(kind, prefix + end);
        Ok(())
    }

    /// A number in any of Go's notations; the parser checks whether it is valid.
    fn number(&mut self) -> Result<(), String> {
        let rest = self.rest();
        let unsigned = rest.strip_prefix(['+', '-']).unwrap_or(rest);
        let is_hex = unsigned.starts_with("0x") || unsigned.starts_with("0X");
        let mut end = rest.len() - unsigned.len();
        let mut last = '0';
        for character in unsigned.chars() {
            let is_exponent_sign = matches!(character, '+' | '-')
                && (matches!(last, 'p' | 'P') || (!is_hex && matches!(last, 'e' | 'E')));
            if !is_alphanumeric(character) && character != '.' && !is_exponent_sign {
                break;
            }
            end += character.len_utf8();
            last = character;
        }
        let text = rest.get(..end).unwrap_or_default();
        let is_complex = rest.get(end..).is_some_and(|r| r.starts_with(['+', '-']));
        if is_complex || super::number::parse_constant(text).is_none() {
            let text = super::escape::quote(text.as_bytes(), false);
            return Err(format!("bad number syntax: {text}"));
        }
        self.push(Kind::Number, end);
        Ok(())
    }

    fn rest(&self) -> &'a str {
        self.input.get(self.pos..).unwrap_or_default()
    }

    /// Counts the line ends up to the current place.
    fn mark(&mut self) {
        let passed = self.input.as_bytes().get(self.counted..self.pos);
        let passed = passed.unwrap_or_default();
        self.line += passed.iter().filter(|byte| **byte == b'\n').count();
        self.counted = self.pos;
    }

    fn push(&mut self, kind: Kind, length: usize) {
        self.mark();
        self.tokens.push(Token {
            kind,
            pos: self.pos,
            line: self.line,
            text: self.rest().get(..length).unwrap_or_default().to_owned(),
        });
        self.pos += length;
    }
}

fn is_alphanumeric(character: char) -> bool {
    character == '_' || character.is_alphanumeric()
}

fn is_terminator(character: char) -> bool {
    matches!(
        character,
        ' ' | '\t' | '\r' | '\n' | '.' | ',' | '|' | ':' | ')' | '('
    )
}

/// A character as Go's `%#U` prints it.
fn describe(character: char) -> String {
    format!("U+{:04X} '{character}'", u32::from(character))
}
