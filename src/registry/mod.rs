//! The registry client: transfers models by the OCI distribution protocol
//! (<https://github.com/opencontainers/distribution-spec>), as Ollama uses it.
//!
//! [`Registry::pull`] and [`Registry::push`] return a stream of progress for the client; dropping it ends
//! the work. *Invariants:* a model's manifest is written after its blobs were verified; memory use does not
//! depend on the size of a model; fetched data is not fetched again.

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
#[cfg(fuzzing)]
pub use manifest::check_manifest_for_fuzzing;
pub use reach::Asker;
use reach::Http;

/// The progress of a pull or a push; the last item is the end.
pub type Steps = Pin<Box<dyn Stream<Item = Result<Progress, RegistryError>> + Send>>;

/// How many steps may wait for a slow client; then the transfer waits, too.
const QUEUE: usize = 16;

/// Uploads use Ollama's part sizes.
const UPLOAD_PARTS: PartSizes = PartSizes {
    wanted: 16,
    bytes: 100_000_000..=1_000_000_000,
};

/// Downloads use smaller parts than Ollama, which can resume any. The digest is computed in order, and
/// hashing parts that were fetched far ahead would delay the end.
const DOWNLOAD_PARTS: PartSizes = PartSizes {
    wanted: 128,
    bytes: 33_554_432..=1_000_000_000,
};

/// How often progress is reported.
const PROGRESS_EVERY: Duration = Duration::from_millis(60);

/// How blobs are divided into parts.
#[derive(Debug, Clone)]
pub struct PartSizes {
    /// The desired number of parts.
    pub wanted: u64,
    /// Bounds of a part's size in bytes; they take precedence.
    pub bytes: RangeInclusive<u64>,
}

impl PartSizes {
    /// The size in bytes of the parts of a blob.
    fn of(&self, total: u64) -> u64 {
        (total / self.wanted.max(1)).clamp(*self.bytes.start(), *self.bytes.end())
    }
}

/// The client's settings.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The user's private key (`~/.ollama/id_ed25519`).
    pub key: PathBuf,
    /// Base URLs that are tried before the default registry, in this order.
    pub mirrors: Vec<String>,
    /// Registries that every client may name, in any network.
    pub allowed: Vec<Pattern>,
    /// Hosts of the proxies that the environment names; they may be in private networks.
    pub proxies: Vec<String>,
    /// Longest time without a byte before a request is aborted and retried.
    pub stall: Duration,
    /// Longest time for a whole response that is not a blob.
    pub answer: Duration,
    /// The delay before the first retry; later delays grow from it.
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

/// A requested transfer.
#[derive(Debug, Clone)]
pub struct Wish {
    pub name: ModelName,
    /// Use plain HTTP.
    pub insecure: bool,
    /// Where the request comes from.
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

    /// Runs work on its own task, until it ends or the last listener has gone.
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
                        // The last listener has gone.
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

/// The ticks at which progress is reported; missed ones are skipped.
fn progress_ticks() -> Interval {
    let mut ticks = tokio::time::interval(PROGRESS_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// Reports progress to the client.
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

    /// Reports a blob's progress; zeros are omitted, as in Ollama.
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
        // When the listener is gone, the work ends elsewhere.
        let _ = self.0.send(Ok(progress)).await;
    }
}
