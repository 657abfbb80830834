//! A child's output: into the daemon's log, its last lines kept for error texts.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::StreamExt;
use tokio::io::AsyncRead;
use tokio_util::codec::{FramedRead, LinesCodec};

/// Longest line taken over; the rest of a longer one is dropped.
const MAX_LINE: usize = 16 * 1024;

/// Lines kept.
const KEPT: usize = 20;

/// The last lines that a child wrote; cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct LastLines(Arc<Mutex<VecDeque<String>>>);

impl LastLines {
    fn push(&self, line: String) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == KEPT {
            lines.pop_front();
        }
        lines.push_back(line);
    }

    /// The line that most likely says what went wrong, else the last one, else nothing.
    pub(super) fn cause(&self) -> String {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let telling = |line: &&String| {
            let line = line.to_ascii_lowercase();
            ["error", "failed", "assert", "abort", "panic"]
                .iter()
                .any(|word| line.contains(word))
        };
        let line = lines.iter().rev().find(telling).or_else(|| lines.back());
        line.map(|line| strip_level(line).1.to_owned())
            .unwrap_or_default()
    }
}

/// Reads lines until the child closes its end.
pub(super) async fn follow(output: impl AsyncRead + Unpin, lines: LastLines) {
    let mut reader = FramedRead::new(output, LinesCodec::new_with_max_length(MAX_LINE));
    while let Some(line) = reader.next().await {
        let Ok(line) = line else { continue };
        if line.trim().is_empty() {
            continue;
        }
        match strip_level(&line) {
            ('E', text) => tracing::error!("{text}"),
            ('W', text) => tracing::warn!("{text}"),
            ('I', text) => tracing::info!("{text}"),
            (_, text) => tracing::debug!("{text}"),
        }
        lines.push(line);
    }
}

/// Splits the level letter (`E `, `W `, `I `, `D `) off a line.
fn strip_level(line: &str) -> (char, &str) {
    let mut letters = line.chars();
    match (letters.next(), letters.next()) {
        (Some(level @ ('E' | 'W' | 'I' | 'D')), Some(' ')) => (level, letters.as_str()),
        _ => ('D', line),
    }
}
