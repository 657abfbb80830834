//! A turning glyph beside a status, on stderr, only where stderr is a terminal.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{Ui, status_line};

const TICK: Duration = Duration::from_millis(100);
/// The last glyph is shown when the work is done.
const GLYPHS: [&str; 11] = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏", ""];

/// Turns until it is dropped, and then erases itself.
#[derive(Debug)]
pub(crate) struct Spinner(ProgressBar);

impl Spinner {
    /// Starts turning beside `status`.
    pub(crate) fn start(ui: Ui, status: &str) -> Self {
        let target = if ui.stderr_is_terminal {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = new_spinner(status);
        bar.set_draw_target(target);
        if ui.stderr_is_terminal {
            bar.enable_steady_tick(TICK);
        }
        Self(bar)
    }
}

impl Drop for Spinner {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// Returns a spinner that is not drawn yet and does not turn by itself.
pub(super) fn new_spinner(status: &str) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
    bar.set_style(style());
    bar.set_message(status_line(status));
    bar
}

fn style() -> ProgressStyle {
    let style = ProgressStyle::with_template("{msg} {spinner}");
    style
        .unwrap_or_else(|_| ProgressStyle::default_spinner())
        .tick_strings(&GLYPHS)
}
