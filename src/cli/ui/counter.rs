//! A bar that counts finished items, on stderr, only where stderr is a terminal.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{Ui, status_line};

const TICK: Duration = Duration::from_millis(100);
const TEMPLATE: &str = "{msg} ▕{wide_bar}▏ {pos}/{len} {elapsed}";

/// Counts until it is dropped, and then erases itself.
#[derive(Debug)]
pub(crate) struct Counter(ProgressBar);

impl Counter {
    /// Starts at 0 of `total`.
    pub(crate) fn start(ui: Ui, message: &str, total: u64) -> Self {
        let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::hidden());
        let style = ProgressStyle::with_template(TEMPLATE);
        bar.set_style(
            style
                .unwrap_or_else(|_| ProgressStyle::default_bar())
                .progress_chars("█ "),
        );
        bar.set_message(status_line(message));
        if ui.stderr_is_terminal {
            bar.set_draw_target(ProgressDrawTarget::stderr());
            bar.enable_steady_tick(TICK);
        }
        Self(bar)
    }

    /// One more is done.
    pub(crate) fn add_one(&self) {
        self.0.inc(1);
    }
}

impl Drop for Counter {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
