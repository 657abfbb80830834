//! Responses that run in the background: found by their ids, and followed by any number of readers.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Shared;
use crate::api::openai::responses::Response;
use crate::dialect::openai::responses::{Ending, Step, Style};
use crate::error::{ErrorKind, RequestError};
use crate::keys::{Owner, Seen};

/// A running response.
#[derive(Debug)]
pub(super) struct Live {
    /// The response before its first step.
    pub(super) response: Response,
    pub(super) style: Style,
    /// Cancelled to stop the response.
    pub(super) stop: CancellationToken,
    pub(super) news: watch::Sender<News>,
}

impl Live {
    /// A response that has ended.
    pub(super) fn ended(
        response: Response,
        style: Style,
        steps: Vec<Arc<Step>>,
        ending: Ending,
    ) -> Self {
        let news = News {
            has_begun: true,
            steps,
            ending: Some(ending),
        };
        Self {
            response,
            style,
            stop: CancellationToken::new(),
            news: watch::Sender::new(news),
        }
    }
}

/// How far the response is.
#[derive(Debug, Default)]
pub(super) struct News {
    pub(super) has_begun: bool,
    pub(super) steps: Vec<Arc<Step>>,
    /// Set after the end is on disk.
    pub(super) ending: Option<Ending>,
}

/// All running responses.
#[derive(Debug)]
pub(super) struct Runs {
    most: usize,
    running: Mutex<HashMap<String, (Owner, Shared)>>,
    pub(super) tasks: TaskTracker,
}

impl Runs {
    pub(super) fn new(most: usize) -> Self {
        Self {
            most,
            running: Mutex::default(),
            tasks: TaskTracker::new(),
        }
    }

    fn running(&self) -> MutexGuard<'_, HashMap<String, (Owner, Shared)>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a response.
    ///
    /// # Errors
    /// There are too many.
    pub(super) fn add(
        &self,
        owner: Owner,
        response: Response,
        style: Style,
    ) -> Result<Shared, RequestError> {
        let live = Arc::new(Live {
            response,
            style,
            stop: CancellationToken::new(),
            news: watch::Sender::default(),
        });
        let mut running = self.running();
        if running.len() >= self.most {
            let message = format!(
                "server busy, please try again: {} responses run in the background",
                running.len()
            );
            return Err(RequestError::new(ErrorKind::Overloaded, message));
        }
        running.insert(live.response.id.clone(), (owner, Arc::clone(&live)));
        Ok(live)
    }

    pub(super) fn find(&self, id: &str, seen: &Seen) -> Option<Shared> {
        let running = self.running();
        let (owner, live) = running.get(id)?;
        seen.has(owner).then(|| Arc::clone(live))
    }

    pub(super) fn remove(&self, id: &str) {
        self.running().remove(id);
    }

    /// Waits until no response is running, including any that are added meanwhile.
    pub(super) async fn settled(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }
}
