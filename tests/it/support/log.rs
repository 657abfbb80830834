//! The output of a daemon, kept for waiting and for the report of a failed test.

use std::io::{BufRead, BufReader, Read};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

/// The longest wait for a line.
const PATIENCE: Duration = Duration::from_secs(30);

/// The lines so far; cheap to clone.
#[derive(Clone)]
pub(crate) struct Log {
    lines: Arc<watch::Sender<Vec<String>>>,
}

impl Log {
    pub(crate) fn new() -> Self {
        Self {
            lines: Arc::new(watch::Sender::new(Vec::new())),
        }
    }

    /// Reads a stream of the daemon to its end, on a separate thread.
    pub(crate) fn follow(&self, stream: impl Read + Send + 'static) {
        let lines = Arc::clone(&self.lines);
        std::thread::spawn(move || {
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                lines.send_modify(|lines| lines.push(line));
            }
        });
    }

    /// Waits until the log has a line for which `pick` returns a value.
    pub(crate) async fn wait_for<T>(&self, what: &str, pick: impl Fn(&str) -> Option<T>) -> T {
        let mut changes = self.lines.subscribe();
        let found = async {
            loop {
                let picked = changes
                    .borrow_and_update()
                    .iter()
                    .find_map(|line| pick(line));
                if let Some(picked) = picked {
                    return picked;
                }
                changes.changed().await.unwrap();
            }
        };
        match tokio::time::timeout(PATIENCE, found).await {
            Ok(found) => found,
            Err(_) => panic!("no log line with {what} in {PATIENCE:?}:\n{}", self.text()),
        }
    }

    pub(crate) fn text(&self) -> String {
        self.lines.borrow().join("\n")
    }
}
