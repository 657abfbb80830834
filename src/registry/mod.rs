//! The registry client: models over the wire, by the distribution protocol as Ollama uses it
//! (store specification §6–8).
//!
//! [`Registry::pull`] and [`Registry::push`] return what is to be told to the client; dropping
//! that ends the work. *Invariants:* a model's manifest is written after its blobs were checked;
//! memory does not depend on the size of a model; what was fetched is not fetched again.

mod answer;
mod auth;
mod download;
mod error;
mod flight;
mod hasher;
mod key;
mod manifest;
mod pull;
mod push;
mod reach;
mod retry;
mod session;
mod upload;

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, stream};
use tokio::sync::mpsc;
use tokio::time::{Interval, MissedTickBehavior};
use tokio_util::task::TaskTracker;

use crate::api::ollama::Progress;
use crate::model::ModelName;
use crate::net::Pattern;
use crate::store::Store;
pub use error::RegistryError;
use flight::Flights;
pub use key::Key;
pub use reach::Asker;
use reach::Http;

/// What happens to a pull or a push; the last item is the end.
pub type Steps = Pin<Box<dyn Stream<Item = Result<Progress, RegistryError>> + Send>>;

/// Steps that may wait for a slow client.
const QUEUE: usize = 16;

/// Uploads are cut as Ollama cuts them.
const UPLOAD_PARTS: PartSizes = PartSizes {
    wanted: 16,
    bytes: 100_000_000..=1_000_000_000,
};

/// Downloads are cut finer than Ollama cuts them (it goes on with any parts): the digest is
/// computed from the beginning on, and what is fetched far ahead of it is waited for at the end.
const DOWNLOAD_PARTS: PartSizes = PartSizes {
    wanted: 128,
    bytes: 33_554_432..=1_000_000_000,
};

/// How often progress is told.
const PROGRESS_EVERY: Duration = Duration::from_millis(60);

/// How blobs are cut into parts.
#[derive(Debug, Clone)]
pub struct PartSizes {
    /// How many there should be.
    pub wanted: u64,
    /// Bounds of a part's size in bytes; they win.
    pub bytes: RangeInclusive<u64>,
}

impl PartSizes {
    /// The size in bytes of the parts of a blob.
    fn of(&self, total: u64) -> u64 {
        (total / self.wanted.max(1)).clamp(*self.bytes.start(), *self.bytes.end())
    }
}

/// How the client is set up.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The user's private key (`~/.ollama/id_ed25519`).
    pub key: PathBuf,
    /// Base addresses that are asked before the default registry, in this order.
    pub mirrors: Vec<String>,
    /// Registries that everybody may name, wherever they are.
    pub allowed: Vec<Pattern>,
    /// Hosts of the proxies that the environment names; they may be near.
    pub proxies: Vec<String>,
    /// Longest time without a byte before a request is given up and tried again.
    pub stall: Duration,
    /// Longest time for a whole answer that is no blob.
    pub answer: Duration,
    /// The first waiting time of a retry; the others follow from it.
    pub first_delay: Duration,
    pub download_parts: PartSizes,
    pub upload_parts: PartSizes,
}

impl Settings {
    /// The usual settings.
    pub fn new(key: PathBuf, mirrors: Vec<String>) -> Self {
        Self {
            key,
            mirrors,
            allowed: Vec::new(),
            proxies: Vec::new(),
            stall: Duration::from_secs(30),
            answer: Duration::from_secs(120),
            first_delay: Duration::from_millis(200),
            download_parts: DOWNLOAD_PARTS,
            upload_parts: UPLOAD_PARTS,
        }
    }
}

/// A model to fetch or to send.
#[derive(Debug, Clone)]
pub struct Wish {
    pub name: ModelName,
    /// By plain HTTP.
    pub insecure: bool,
    /// Who wants it.
    pub asker: Asker,
}

/// The client; cheap to clone.
#[derive(Debug, Clone)]
pub struct Registry {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    store: Store,
    settings: Settings,
    http: Http,
    flights: Flights,
    tasks: TaskTracker,
}

impl Registry {
    /// Makes a client that fills `store`; its tasks run on `tasks`.
    ///
    /// # Errors
    /// Fails when the HTTP client cannot be made.
    pub fn new(
        store: Store,
        settings: Settings,
        tasks: &TaskTracker,
    ) -> Result<Self, RegistryError> {
        let http = Http::new(&settings)?;
        Ok(Self {
            inner: Arc::new(Inner {
                store,
                settings,
                http,
                flights: Flights::default(),
                tasks: tasks.clone(),
            }),
        })
    }

    /// Fetches a model.
    pub fn pull(&self, wish: Wish) -> Steps {
        let inner = Arc::clone(&self.inner);
        self.start(move |teller| pull::run(inner, wish, teller))
    }

    /// Sends a model to the registry of its name.
    pub fn push(&self, wish: Wish) -> Steps {
        let inner = Arc::clone(&self.inner);
        self.start(move |teller| push::run(inner, wish, teller))
    }

    /// Runs work on a task of its own, up to its end or until nobody listens.
    fn start<F>(&self, work: impl FnOnce(Teller) -> F) -> Steps
    where
        F: Future<Output = Result<(), RegistryError>> + Send + 'static,
    {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let work = work(Teller(sender.clone()));
        self.inner.tasks.spawn(async move {
            tokio::select! {
                result = work => {
                    if let Err(error) = result {
                        // Nobody listens any more.
                        let _ = sender.send(Err(error)).await;
                    }
                }
                () = sender.closed() => {}
            }
        });
        Box::pin(stream::unfold(receiver, |mut receiver| async move {
            let step = receiver.recv().await?;
            Some((step, receiver))
        }))
    }
}

/// The moments at which progress is told; those that were missed are left out.
fn progress_ticks() -> Interval {
    let mut ticks = tokio::time::interval(PROGRESS_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// Tells the client what happens.
#[derive(Debug, Clone)]
struct Teller(mpsc::Sender<Result<Progress, RegistryError>>);

impl Teller {
    /// A step without numbers.
    async fn step(&self, status: &str) {
        self.tell(Progress {
            status: status.to_owned(),
            ..Progress::default()
        })
        .await;
    }

    /// How far a blob is; zeros are left out, as Ollama does.
    async fn blob(&self, verb: &str, digest: &str, total: u64, completed: u64) {
        let number = |number: u64| (number > 0).then_some(number);
        let short = digest.get(7..19).unwrap_or(digest);
        self.tell(Progress {
            status: format!("{verb} {short}"),
            digest: digest.to_owned(),
            total: number(total),
            completed: number(completed),
        })
        .await;
    }

    async fn tell(&self, progress: Progress) {
        // A listener that has gone ends the work elsewhere.
        let _ = self.0.send(Ok(progress)).await;
    }
}
