//! The terminal: data goes to stdout, messages go to stderr, and all of it goes through [`Ui`].
//!
//! *Invariants:* nothing but data is written to stdout, so that it can be piped; errors of stderr are ignored, errors
//! of stdout are reported (a broken pipe is success, which `main` decides). No terminal gets control characters from
//! outside: text is cleaned here, and our own control characters go through [`Ui::draw`]. As with `ls`, a pipe or a
//! file gets a model's text as it is; tables and messages are always cleaned.

mod bar;
mod counter;
pub(crate) mod progress;
mod spinner;
pub(crate) mod table;
mod tally;
pub(crate) mod wrap;

pub(crate) use counter::Counter;
pub(crate) use spinner::Spinner;
pub(crate) use tally::Tally;

use std::borrow::Cow;
use std::io::{self, IsTerminal as _, Write as _};

use serde::Serialize;

use crate::plain;

/// A status as a bar or a spinner shows it.
fn status_line(text: &str) -> String {
    plain::message(&plain::redacted(text)).replace('\n', " ")
}

/// What is known about the three standard streams.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ui {
    pub(crate) stdin_is_terminal: bool,
    pub(crate) stdout_is_terminal: bool,
    pub(crate) stderr_is_terminal: bool,
    color: bool,
}

impl Ui {
    /// Inspects the standard streams.
    pub(crate) fn new(no_color: bool) -> Self {
        Self {
            stdin_is_terminal: io::stdin().is_terminal(),
            stdout_is_terminal: io::stdout().is_terminal(),
            stderr_is_terminal: io::stderr().is_terminal(),
            color: !no_color,
        }
    }

    /// Writes data at once; unchanged if stdout is a pipe or a file.
    pub(crate) fn out(self, text: &str) -> io::Result<()> {
        self.draw(&self.shown(text))
    }

    /// Text as stdout may show it.
    pub(crate) fn shown(self, text: &str) -> Cow<'_, str> {
        if self.stdout_is_terminal {
            plain::text(text)
        } else {
            Cow::Borrowed(text)
        }
    }

    /// Writes our own escape sequences, with text that was already cleaned.
    pub(crate) fn draw(self, text: &str) -> io::Result<()> {
        let mut stdout = io::stdout().lock();
        stdout.write_all(text.as_bytes())?;
        stdout.flush()
    }

    /// Writes a line of data.
    pub(crate) fn out_line(self, text: &str) -> io::Result<()> {
        self.out(&format!("{text}\n"))
    }

    /// Writes a value as JSON, on several lines.
    pub(crate) fn out_json(self, value: &impl Serialize) -> anyhow::Result<()> {
        let json = serde_json::to_string_pretty(value)?;
        self.out_line(&plain::json(&json))?;
        Ok(())
    }

    /// Writes a line to stderr, for the user.
    pub(crate) fn talk(self, text: &str) {
        self.talk_raw(&format!("{text}\n"));
    }

    /// Writes text to stderr without a line end, for the user.
    pub(crate) fn talk_raw(self, text: &str) {
        let text = plain::redacted(text);
        let text = plain::message(&text);
        let mut stderr = io::stderr().lock();
        // If stderr is closed, there is no other way to tell the user.
        let _ = stderr
            .write_all(text.as_bytes())
            .and_then(|()| stderr.flush());
    }

    /// Whether answers may be coloured.
    pub(crate) fn colors_stdout(self) -> bool {
        self.color && self.stdout_is_terminal
    }

    /// Returns the terminal's width in columns; `None` when stdout is not a terminal.
    pub(crate) fn stdout_width(self) -> Option<usize> {
        if !self.stdout_is_terminal {
            return None;
        }
        let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
        Some(usize::from(size.ws_col)).filter(|columns| *columns > 0)
    }
}
