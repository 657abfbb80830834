//! Progress of pull, push and create: spinners and bars on a terminal, plain lines elsewhere.

use std::collections::HashMap;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget};

use super::bar::new_bar;
use super::spinner::new_spinner;
use super::{Ui, status_line};
use crate::api::ollama::Progress;
use crate::units;

const TICK: Duration = Duration::from_millis(100);

/// The label of a bar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BarNames {
    /// `pulling <12 hex>:`
    Digest,
    /// The status itself.
    Status,
}

/// Shows progress until it is dropped. Finished steps stay on the screen.
#[derive(Debug)]
pub(crate) struct ProgressView {
    ui: Ui,
    names: BarNames,
    multi: MultiProgress,
    /// The current status, with its spinner.
    spinner: Option<(String, ProgressBar)>,
    bars: HashMap<String, ProgressBar>,
}

impl ProgressView {
    /// Starts with nothing on the screen.
    pub(crate) fn new(ui: Ui, names: BarNames) -> Self {
        let target = if ui.stderr_is_terminal {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let multi = MultiProgress::with_draw_target(target);
        Self {
            ui,
            names,
            multi,
            spinner: None,
            bars: HashMap::new(),
        }
    }

    /// Shows one line of the daemon's progress.
    pub(crate) fn update(&mut self, progress: &Progress) {
        if progress.digest.is_empty() {
            self.status(&progress.status);
            return;
        }
        // A bar that never moves only looks as if something hung.
        let completed = progress.completed.unwrap_or(0);
        if completed == 0 {
            return;
        }
        let total = progress.total.unwrap_or(0);
        if !self.bars.contains_key(&progress.digest) {
            self.finish_spinner();
            let name = self.bar_name(progress);
            if !self.ui.stderr_is_terminal {
                self.ui
                    .talk(&format!("{name} {}", units::format_bytes(total)));
            }
            let bar = self.multi.add(new_bar(&name, total));
            self.bars.insert(progress.digest.clone(), bar);
        }
        if let Some(bar) = self.bars.get(&progress.digest) {
            bar.set_length(total);
            bar.set_position(completed);
        }
    }

    /// Shows a status with a spinner; the same status again changes nothing.
    pub(crate) fn status(&mut self, status: &str) {
        if self
            .spinner
            .as_ref()
            .is_some_and(|(current, _)| current == status)
        {
            return;
        }
        self.finish();
        if !self.ui.stderr_is_terminal {
            self.ui.talk(status);
        }
        self.add_spinner(status);
    }

    /// Replaces the text of the spinner on a terminal; elsewhere the text is not printed again.
    pub(crate) fn detail(&mut self, text: &str) {
        if let Some((_, bar)) = &self.spinner {
            bar.set_message(status_line(text));
        }
    }

    fn add_spinner(&mut self, status: &str) {
        let bar = self.multi.add(new_spinner(status));
        if self.ui.stderr_is_terminal {
            bar.enable_steady_tick(TICK);
        }
        self.spinner = Some((status.to_owned(), bar));
    }

    fn bar_name(&self, progress: &Progress) -> String {
        match self.names {
            BarNames::Status => progress.status.clone(),
            BarNames::Digest => {
                let hex = progress.digest.trim_start_matches("sha256:");
                let short: String = hex.chars().take(12).collect();
                format!("pulling {short}:")
            }
        }
    }

    fn finish_spinner(&mut self) {
        if let Some((_, bar)) = self.spinner.take() {
            bar.finish();
        }
    }

    /// A status that follows a bar says that the bar's work is done.
    fn finish(&mut self) {
        self.finish_spinner();
        for bar in self.bars.values() {
            bar.finish();
        }
    }
}

impl Drop for ProgressView {
    fn drop(&mut self) {
        self.finish_spinner();
        for bar in self.bars.values() {
            bar.abandon();
        }
    }
}
