//! Keys that are pressed while no line is being read: during a load and while an answer streams.
//!
//! The terminal keeps them for the next line. By default it would show them in the middle of the answer and keep Enter
//! as a line feed, which the line editor takes for Ctrl-J: the question would be entered and not sent.

use std::io;

use rustix::termios::{InputModes, LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

/// Keeps keys as they were pressed, without showing them, until it is dropped.
#[derive(Debug)]
pub(super) struct TypedAhead {
    /// The terminal's original modes; `None` when standard input is not a terminal.
    found: Option<Termios>,
}

impl TypedAhead {
    /// Begins to keep keys.
    pub(super) fn keep() -> Self {
        let kept = Self {
            found: tcgetattr(io::stdin()).ok(),
        };
        kept.resume();
        kept
    }

    /// Runs a program that needs the terminal in its original modes.
    pub(super) fn paused<T>(&self, program: impl FnOnce() -> T) -> T {
        self.restore();
        let result = program();
        self.resume();
        result
    }

    fn resume(&self) {
        if let Some(mut modes) = self.found.clone() {
            modes.input_modes.remove(InputModes::ICRNL);
            modes.local_modes.remove(LocalModes::ECHO);
            set(&modes);
        }
    }

    fn restore(&self) {
        if let Some(modes) = &self.found {
            set(modes);
        }
    }
}

impl Drop for TypedAhead {
    fn drop(&mut self) {
        self.restore();
    }
}

/// Ignores errors: a terminal that has gone away has no modes to set, and the next read reports it.
fn set(modes: &Termios) {
    let _ = tcsetattr(io::stdin(), OptionalActions::Now, modes);
}
