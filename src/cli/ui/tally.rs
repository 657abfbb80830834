//! A bar for a long job on the server: progress, speed, and time left.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{Ui, status_line};

const TICK: Duration = Duration::from_millis(200);
const TEMPLATE: &str = "{msg} {percent:>3}% ▕{wide_bar}▏ {human_pos}/{human_len}  {per_sec}  {eta}";

/// Shows a job until it is dropped, and then erases itself.
#[derive(Debug)]
pub(crate) struct Tally(ProgressBar);

impl Tally {
    /// Starts with nothing done.
    pub(crate) fn start(ui: Ui) -> Self {
        let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::hidden());
        let style = ProgressStyle::with_template(TEMPLATE);
        bar.set_style(
            style
                .unwrap_or_else(|_| ProgressStyle::default_bar())
                .progress_chars("█ "),
        );
        if ui.stderr_is_terminal {
            bar.set_draw_target(ProgressDrawTarget::stderr());
            bar.enable_steady_tick(TICK);
        }
        Self(bar)
    }

    /// Shows the status and how much is done.
    pub(crate) fn show(&self, status: &str, done: u64, total: u64) {
        let bar = &self.0;
        bar.set_message(status_line(status));
        if bar.length() != Some(total) {
            // What was done earlier says nothing about the present speed.
            bar.set_length(total);
            bar.set_position(done);
            bar.reset_eta();
        }
        bar.set_position(done);
    }
}

impl Drop for Tally {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
