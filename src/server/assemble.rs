//! Makes the parts of the daemon from its settings: store, keys, scheduler, registry, jobs.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::ServeError;
use super::audit::Audit;
use super::extract::Memory;
use super::gate::Gates;
use super::openai::Responses;
use super::state::{App, AppState};
use super::tls::Tls;
use crate::config::Config;
use crate::inference::Inference;
use crate::jobs::{self, Jobs};
use crate::keys::Keys;
use crate::registry::{self, Key, Registry};
use crate::scheduler::SchedulerHandle;
use crate::store::Store;
use crate::workers::{self, Workers};

/// The longest time that a batch job may take, in seconds.
const YEAR: i64 = 365 * 24 * 3600;

/// Opens the store and starts the scheduler, which probes the devices concurrently.
pub(super) async fn assemble(config: Config, exe: PathBuf) -> Result<App, ServeError> {
    let config = Arc::new(config);
    let tasks = TaskTracker::new();
    let root = config.models.clone();
    let store = tasks
        .spawn_blocking(move || Store::open(&root))
        .await
        .map_err(std::io::Error::from)??;
    store.set_keep_unused(config.no_prune);
    let access = config.access.clone();
    let audit = Audit::new(access.audit_log.clone(), &tasks);
    let (keys, tls) = tasks
        .spawn_blocking(move || {
            let keys = Keys::open(&access.keys_file, access.keys_are_named)?;
            let tls = access.tls.map(Tls::load).transpose()?;
            Ok::<_, ServeError>((keys, tls.map(Arc::new)))
        })
        .await
        .map_err(std::io::Error::from)??;
    let scheduler = SchedulerHandle::start(&config, exe.clone(), &tasks);
    let settings = registry::Settings {
        allowed: config.allowed_registries.clone(),
        proxies: config.proxy_hosts.clone(),
        ..registry::Settings::new(config.registry_key.clone(), config.registry_mirrors.clone())
    };
    let registry = Registry::new(store.clone(), settings, &tasks)?;
    let key = config.registry_key.clone();
    tasks
        .spawn_blocking(move || prepare_key(&key))
        .await
        .map_err(std::io::Error::from)?;
    let workers = workers::Settings::new(exe.clone(), config.template_timeout);
    let workers = Workers::new(workers, &tasks);
    let inference = Inference::new(
        store.clone(),
        scheduler.clone(),
        workers,
        keys.clone(),
        config.go_template,
    );
    let memory = Memory::new(config.body_memory);
    let jobs = Jobs::new(&config.state_dir, &limits(&config), &tasks);
    if let Err(error) = jobs.files.sweep().await {
        tracing::warn!(%error, "could not remove what is left of unfinished files");
    }
    let responses = Responses::new(&config);
    Ok(Arc::new(AppState {
        inference,
        store,
        registry,
        scheduler,
        jobs,
        config,
        exe,
        started: std::time::Instant::now(),
        gates: Gates::default(),
        keys,
        audit,
        tls,
        responses,
        memory,
        tasks,
        draining: CancellationToken::new(),
        cut_off: CancellationToken::new(),
    }))
}

fn limits(config: &Config) -> jobs::Limits {
    let window = i64::try_from(config.batch_window.as_secs()).unwrap_or(i64::MAX);
    jobs::Limits {
        disk: config.batch_disk,
        settings: jobs::Settings {
            window: window.clamp(1, YEAR),
            hours: config.batch_hours,
        },
    }
}

/// Makes the key that identifies this user to registries, if there is none, so that its public half can be registered.
/// A failure only affects registries. Blocks.
fn prepare_key(path: &Path) {
    if let Err(error) = Key::load_or_create(path) {
        tracing::warn!(%error, "registries that ask for a key will refuse");
    }
}
