//! This machine's own names.
//!
//! One task looks them up when a request has an unknown name, and then not again for a while. So a flood of
//! made-up names costs one look-up, and made-up names themselves are never looked up.

use std::collections::HashSet;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use crate::net::Own;

/// How long a look-up is valid. Addresses change when a cable is plugged in.
const FRESH: Duration = Duration::from_secs(60);

/// How long a request waits for the look-up; a slower resolver counts as absent.
const PATIENCE: Duration = Duration::from_secs(2);

/// The names; the task ends with this value.
#[derive(Debug)]
pub(super) struct Names {
    known: watch::Receiver<Known>,
    ask: mpsc::Sender<()>,
}

#[derive(Debug, Default)]
struct Known {
    names: HashSet<String>,
    /// When the last look-up ended.
    since: Option<Instant>,
}

impl Known {
    fn is_fresh(&self) -> bool {
        self.since.is_some_and(|since| since.elapsed() < FRESH)
    }
}

impl Names {
    pub(super) fn start(tasks: &TaskTracker) -> Self {
        let (publish, known) = watch::channel(Known::default());
        // One pending request for a look-up is enough.
        let (ask, asked) = mpsc::channel(1);
        tasks.spawn(keep(publish, asked));
        Self { known, ask }
    }

    /// Fixed names, for tests.
    #[cfg(test)]
    pub(super) fn of(names: &[&str]) -> Self {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        let since = Some(Instant::now());
        let (_, known) = watch::channel(Known { names, since });
        let (ask, _) = mpsc::channel(1);
        Self { known, ask }
    }

    /// Whether this machine has the name; waits for a look-up if the last one is old.
    pub(super) async fn has(&self, name: &str) -> bool {
        let mut known = self.known.clone();
        let is_settled = |known: &Known| known.names.contains(name) || known.is_fresh();
        if !is_settled(&known.borrow()) {
            // If the channel is full, a look-up is already pending.
            let _ = self.ask.try_send(());
            // Without a timely result, the known names decide.
            let _ = tokio::time::timeout(PATIENCE, known.wait_for(is_settled)).await;
        }
        known.borrow().names.contains(name)
    }
}

/// Looks names up on request, until all senders are gone.
async fn keep(publish: watch::Sender<Known>, mut asked: mpsc::Receiver<()>) {
    while asked.recv().await.is_some() {
        if publish.borrow().is_fresh() {
            continue;
        }
        tokio::select! {
            () = look_up(&publish) => {}
            // The threads of the look-up are not awaited.
            () = publish.closed() => return,
        }
    }
}

/// Publishes the names in files at once, and each answer of the resolver as it arrives.
async fn look_up(publish: &watch::Sender<Known>) {
    let own = tokio::task::spawn_blocking(Own::read).await;
    let own = own.unwrap_or_default();
    publish.send_modify(|known| known.names = own.names);
    let mut answers = JoinSet::new();
    for address in own.addresses {
        answers.spawn_blocking(move || Own::name_of(address));
    }
    while let Some(answer) = answers.join_next().await {
        if let Ok(Some(name)) = answer {
            publish.send_modify(|known| {
                known.names.insert(name);
            });
        }
    }
    publish.send_modify(|known| known.since = Some(Instant::now()));
    tracing::debug!(names = ?publish.borrow().names, "the names of this machine");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_machines_own_name_is_found_and_others_are_not() {
        let tasks = TaskTracker::new();
        let names = Names::start(&tasks);
        assert!(names.has(&Own::machine()).await);
        assert!(!names.has("evil.example").await);
        drop(names);
        tasks.close();
        tasks.wait().await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_resolver_that_hangs_costs_two_seconds() {
        let (publish, known) = watch::channel(Known::default());
        let (ask, mut asked) = mpsc::channel(1);
        let names = Names { known, ask };
        let start = Instant::now();
        assert!(!names.has("box.example").await);
        assert_eq!(start.elapsed(), PATIENCE);
        assert!(asked.try_recv().is_ok());
        // Names that have arrived by then are available at once.
        publish.send_modify(|known| {
            known.names.insert("box.example".to_owned());
        });
        assert!(names.has("box.example").await);
    }

    #[tokio::test(start_paused = true)]
    async fn made_up_names_are_looked_up_once_a_minute() {
        let (publish, known) = watch::channel(Known::default());
        let (ask, mut asked) = mpsc::channel(1);
        let names = Names { known, ask };
        publish.send_modify(|known| known.since = Some(Instant::now()));
        for index in 0..1000 {
            assert!(!names.has(&format!("evil-{index}.example")).await);
        }
        assert!(asked.try_recv().is_err());
        tokio::time::advance(FRESH).await;
        assert!(!names.has("evil.example").await);
        assert!(asked.try_recv().is_ok());
    }
}
