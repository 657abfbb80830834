//! A runner's output: it goes to the daemon's log, and its last lines are kept for error texts.

use std::collections::VecDeque;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use regex::Regex;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};
use tokio::task::JoinHandle;

use super::advice::{advice, is_of_driver};

/// The longest line that is logged in one piece, in bytes.
const MAX_LINE: u64 = 16 * 1024;

/// How long to wait for the last output of a runner that has ended.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// The number of lines that are kept.
const KEPT: usize = 20;

/// What ggml writes before it aborts: `FILE:LINE: text`.
static ABORTED: LazyLock<Regex> = LazyLock::new(|| {
    #[expect(clippy::expect_used, reason = "a constant")]
    Regex::new(r"^\S+\.(?:c|cc|cpp|cu|cuh|h|m):\d+: (.+)$").expect("a regular expression")
});

/// The last lines that a runner wrote; cheap to clone.
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

    /// Returns the last line that reports an error: one of llama.cpp's or ours with level `E`, or what a failed
    /// assertion or a panic writes to stderr. Empty if there is none, since a harmless line would mislead. An
    /// error of a GPU driver takes precedence: what llama.cpp writes after it only says where the error was
    /// noticed.
    pub(super) fn cause(&self) -> String {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut errors = lines.iter().rev().filter_map(|line| error(line));
        let last = errors.clone().next();
        let cause = errors.find(|error| is_of_driver(error)).or(last);
        let cause = cause.unwrap_or_default();
        match advice(cause) {
            Some(advice) => format!("{cause} ({advice})"),
            None => cause.to_owned(),
        }
    }
}

/// Returns the message of an error line, without a source file's path.
fn error(line: &str) -> Option<&str> {
    const RAW: [&str; 4] = ["GGML_ASSERT", "terminate called", "panicked at", "error: "];
    match line.strip_prefix("E ") {
        Some(error) => Some(error),
        None if line.starts_with(['W', 'I', 'D']) && line[1..].starts_with(' ') => None,
        None => {
            if let Some(aborted) = ABORTED.captures(line) {
                return aborted.get(1).map(|text| text.as_str());
            }
            let start = RAW.iter().filter_map(|word| line.find(word)).min()?;
            Some(&line[start..])
        }
    }
}

/// The readers of a runner's two outputs.
#[derive(Debug)]
pub(super) struct Output {
    lines: LastLines,
    readers: Vec<JoinHandle<()>>,
}

impl Output {
    pub(super) fn new(lines: LastLines, readers: Vec<JoinHandle<()>>) -> Self {
        Self { lines, readers }
    }

    /// Returns the cause so far, of a runner that still runs.
    pub(super) fn cause(&self) -> String {
        self.lines.cause()
    }

    /// Returns the cause of a runner that has ended, after reading what is still in the pipes.
    pub(super) async fn last_words(&mut self) -> String {
        let read = async {
            for reader in &mut self.readers {
                // An error only means that the reader has ended as well.
                let _ = reader.await;
            }
        };
        // A process that inherited the pipes may keep them open.
        let _ = tokio::time::timeout(LAST_WORDS, read).await;
        self.readers.clear();
        self.lines.cause()
    }
}

/// Reads lines until the runner closes its end. No input stops it: a full pipe would block the runner.
pub(super) async fn follow(output: impl AsyncRead + Unpin, lines: LastLines) {
    let mut reader = BufReader::new(output);
    let mut bytes = Vec::new();
    loop {
        bytes.clear();
        let mut part = (&mut reader).take(MAX_LINE);
        match part.read_until(b'\n', &mut bytes).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let text = String::from_utf8_lossy(&bytes);
        let line = text.trim_end();
        if line.is_empty() {
            continue;
        }
        match strip_level(line) {
            ('E', text) => tracing::error!("{text}"),
            ('W', text) => tracing::warn!("{text}"),
            ('I', text) => tracing::info!("{text}"),
            (_, text) => tracing::debug!("{text}"),
        }
        lines.push(line.to_owned());
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
