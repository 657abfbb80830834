//! Prints instructions so that parsing restores them.

use std::fmt;

use super::lexer::{Cursor, fence, is_line_end, open_fence};
use super::{Command, Modelfile};

impl fmt::Display for Modelfile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.commands
            .iter()
            .try_for_each(|command| writeln!(f, "{command}"))
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = quoted(&self.value);
        match self.name.as_str() {
            "from" => write!(
                f,
                "FROM {}",
                if self.value.contains(is_line_end) {
                    &value
                } else {
                    &self.value
                }
            ),
            "parameter" | "message" => {
                write!(f, "{} {} {value}", self.name.to_uppercase(), self.key)
            }
            name => write!(f, "{} {value}", name.to_uppercase()),
        }
    }
}

/// Quotes as Ollama does (only values with line ends, or with whitespace at their ends), unless parsing would
/// not restore the value. Then it uses the first form that parsing restores; the last resort is a fence.
pub(super) fn quoted(value: &str) -> String {
    let bare = value.to_owned();
    let single = format!("\"{value}\"");
    let triple = format!("\"\"\"{value}\"\"\"");
    let needs_quotes = value.contains('\n') || value.starts_with(' ') || value.ends_with(' ');
    let forms = match (needs_quotes, value.contains('"')) {
        (false, _) => [bare, single, triple],
        (true, false) => [single, triple, bare],
        (true, true) => [triple, single, bare],
    };
    let mut forms = forms.into_iter();
    forms
        .find(|form| reads_as(form, value))
        .unwrap_or_else(|| fence(value))
}

fn reads_as(form: &str, value: &str) -> bool {
    let mut cursor = Cursor::new(form);
    // The cursor drops a byte order mark only at the start of a file, where no value can be.
    !form.starts_with('\u{feff}')
        // Text that looks like a fence could be closed by a later value.
        && open_fence(form).is_none()
        && cursor.value().as_deref() == Some(value)
        && cursor.peek().is_none()
}
