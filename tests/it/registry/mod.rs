//! Models over the network: a real registry, and a faulty one.

mod fake;
mod faults;
mod killed;
mod proxy;
mod pushes;
mod reach;
mod real;
mod sources;
mod taker;
mod tokens;

use std::sync::Arc;
use std::time::Duration;

use drover::model::ModelName;
use drover::registry::{Asker, Registry, Settings, Steps, Wish};
use drover::store::Store;
use futures_util::StreamExt as _;
use tempfile::TempDir;
use tokio_util::task::TaskTracker;

use crate::support::check_store;

/// The longest wait for a transfer.
const PATIENCE: Duration = Duration::from_secs(60);

/// The size of a part: small, so that a small blob has many.
const PART: u64 = 64 << 10;

/// The registry client with its own store.
struct Puller {
    folder: Arc<TempDir>,
    store: Store,
    registry: Registry,
}

impl Puller {
    fn new() -> Self {
        Self::with(Arc::new(TempDir::new().unwrap()), |_| {})
    }

    fn with(folder: Arc<TempDir>, change: impl FnOnce(&mut Settings)) -> Self {
        let store = Store::open(&folder.path().join("models")).unwrap();
        let mut settings = Settings::new(folder.path().join("id_ed25519"), Vec::new());
        settings.first_delay = Duration::from_millis(1);
        settings.download_parts.bytes = PART..=PART;
        settings.upload_parts.bytes = PART..=PART;
        change(&mut settings);
        let registry = Registry::new(store.clone(), settings, &TaskTracker::new()).unwrap();
        Self {
            folder,
            store,
            registry,
        }
    }

    fn steps(&self, name: &str) -> Steps {
        self.registry.pull(wish(name, Asker::Here))
    }

    async fn pull(&self, name: &str) -> Result<Vec<String>, String> {
        finish(self.steps(name)).await
    }

    /// The files in the blobs folder.
    fn blobs(&self) -> Vec<String> {
        let entries = fs_err::read_dir(self.folder.path().join("models/blobs")).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.collect();
        names.sort();
        names
    }

    /// Fails unless every model's blobs exist and match their digests.
    fn check(&self) {
        check_store(&self.folder.path().join("models"));
    }
}

/// A model over plain HTTP.
fn wish(name: &str, asker: Asker) -> Wish {
    Wish {
        name: ModelName::parse(name).unwrap(),
        insecure: true,
        asker,
    }
}

/// Reads the steps to their end.
async fn finish(steps: Steps) -> Result<Vec<String>, String> {
    let steps = steps
        .map(|step| step.map(|step| step.status))
        .collect::<Vec<_>>();
    let steps = tokio::time::timeout(PATIENCE, steps)
        .await
        .expect("it hangs");
    let steps: Result<Vec<String>, _> = steps.into_iter().collect();
    steps.map_err(|error| error.to_string())
}
