//! The terminal: data goes to stdout, talk goes to stderr, and all of it goes through [`Ui`].
//!
//! *Invariant:* nothing but data is written to stdout, so that it can be piped; errors of stderr
//! are ignored, errors of stdout are reported (a broken pipe is success, which `main` decides).

mod bar;
mod counter;
pub(crate) mod progress;
mod spinner;
pub(crate) mod table;
pub(crate) mod wrap;

pub(crate) use counter::Counter;
pub(crate) use spinner::Spinner;

use std::io::{self, IsTerminal as _, Write as _};

/// What is known about the three standard streams.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ui {
    pub(crate) stdin_is_terminal: bool,
    pub(crate) stdout_is_terminal: bool,
    pub(crate) stderr_is_terminal: bool,
    color: bool,
}

impl Ui {
    /// Looks at the standard streams.
    pub(crate) fn new(no_color: bool) -> Self {
        Self {
            stdin_is_terminal: io::stdin().is_terminal(),
            stdout_is_terminal: io::stdout().is_terminal(),
            stderr_is_terminal: io::stderr().is_terminal(),
            color: !no_color,
        }
    }

    /// Writes data as it is, at once.
    pub(crate) fn out(self, text: &str) -> io::Result<()> {
        let mut stdout = io::stdout().lock();
        stdout.write_all(text.as_bytes())?;
        stdout.flush()
    }

    /// Writes a line of data.
    pub(crate) fn out_line(self, text: &str) -> io::Result<()> {
        self.out(&format!("{text}\n"))
    }

    /// Writes a line for the user's eyes.
    pub(crate) fn talk(self, text: &str) {
        self.talk_raw(&format!("{text}\n"));
    }

    /// Writes text for the user's eyes as it is.
    pub(crate) fn talk_raw(self, text: &str) {
        let mut stderr = io::stderr().lock();
        // Nobody is left to be told.
        let _ = stderr
            .write_all(text.as_bytes())
            .and_then(|()| stderr.flush());
    }

    /// Whether answers may be coloured.
    pub(crate) fn colors_stdout(self) -> bool {
        self.color && self.stdout_is_terminal
    }

    /// Returns the terminal's width in columns; `None` when stdout is no terminal.
    pub(crate) fn stdout_width(self) -> Option<usize> {
        if !self.stdout_is_terminal {
            return None;
        }
        let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
        Some(usize::from(size.ws_col)).filter(|columns| *columns > 0)
    }
}
