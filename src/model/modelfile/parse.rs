//! Parses instructions, with Ollama's error texts.

use super::lexer::{Cursor, is_blank, is_line_end};
use super::{Command, INSTRUCTIONS, Modelfile, ModelfileError, ROLES};

const UNEXPECTED_EOF: &str = "unexpected EOF";

const BAD_INSTRUCTION: &str = "command must be one of \"from\", \"license\", \"template\", \"system\", \"adapter\", \
    \"draft\", \"renderer\", \"parser\", \"parameter\", \"message\", or \"requires\"";

const BAD_ROLE: &str = "message role must be one of \"system\", \"user\", or \"assistant\"";

pub(super) fn parse(text: &str) -> Result<Modelfile, ModelfileError> {
    let mut cursor = Cursor::new(text);
    let mut commands = Vec::new();
    loop {
        cursor.skip_while(|c| is_blank(c) || is_line_end(c));
        match cursor.peek() {
            None => break,
            Some('#') => cursor.skip_while(|c| !is_line_end(c)),
            Some(_) => commands.push(command(&mut cursor)?),
        }
    }
    if commands.iter().all(|command| command.name != "from") {
        return Err(syntax("no FROM line"));
    }
    Ok(Modelfile { commands })
}

fn command(cursor: &mut Cursor<'_>) -> Result<Command, ModelfileError> {
    let line = cursor.line();
    let (word, end) = cursor.word(|c| c.is_ascii_alphabetic());
    let name = word.to_ascii_lowercase();
    match end {
        None => return Err(unfinished(line, UNEXPECTED_EOF)),
        Some(c) if is_blank(c) && INSTRUCTIONS.contains(&name.as_str()) => {}
        Some(_) => return Err(at_line(cursor, BAD_INSTRUCTION)),
    }
    let key = match name.as_str() {
        "parameter" => key(cursor, line, |c| c.is_ascii_alphanumeric() || c == '_')?,
        "message" => key(cursor, line, |c| c.is_ascii_alphabetic())?,
        _ => String::new(),
    };
    if name == "message" && !ROLES.contains(&key.as_str()) {
        return Err(at_line(cursor, BAD_ROLE));
    }
    let value = cursor
        .value()
        .ok_or_else(|| unfinished(line, UNEXPECTED_EOF))?;
    Ok(Command {
        name,
        key,
        value,
        line,
    })
}

/// A word of the instruction on `line`; unlike in Ollama, any amount of whitespace may precede it.
fn key(
    cursor: &mut Cursor<'_>,
    line: usize,
    test: impl Fn(char) -> bool,
) -> Result<String, ModelfileError> {
    cursor.skip_while(is_blank);
    let (word, end) = cursor.word(test);
    match end {
        Some(c) if is_blank(c) => Ok(word),
        Some(_) => Err(unfinished(line, format!("{UNEXPECTED_EOF}: {word}"))),
        None => Err(unfinished(line, UNEXPECTED_EOF)),
    }
}

fn syntax(text: impl Into<String>) -> ModelfileError {
    ModelfileError::Syntax(text.into())
}

fn unfinished(line: usize, text: impl Into<String>) -> ModelfileError {
    let text = text.into();
    ModelfileError::Unfinished { line, text }
}

fn at_line(cursor: &Cursor<'_>, text: &str) -> ModelfileError {
    syntax(format!("(line {}): {text}", cursor.line()))
}
