//! Starts and loads a runner, and runs the short-lived process that lists the devices.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use tokio::sync::{mpsc, oneshot};
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use super::cancels::Cancels;
use super::frames::Frames;
use super::pace::Pace;
use super::process::Receivers;
use super::spawn::{Spawned, spawn};
use super::{Inner, RunnerHandle, limits, process};
use crate::metrics::{Held, ModelMetrics};
use crate::protocol::{self, Command, DeviceInfo, Event, LoadParams, LoadedInfo, framing};

/// How long listing the devices may take; a driver can need seconds to initialize.
const PROBE_TIMEOUT: Duration = Duration::from_secs(30);

/// The parameters of a start.
#[derive(Debug, Clone)]
pub struct StartParams {
    /// Our own executable.
    pub exe: PathBuf,
    /// For the log.
    pub model: String,
    pub load: LoadParams,
    /// Longest time without progress; `None` = never give up.
    pub load_timeout: Option<Duration>,
    /// Longest silence of a loaded runner before it is killed.
    pub silence_timeout: Duration,
}

/// A loaded runner, and a signal of its end.
#[derive(Debug)]
pub struct Started {
    pub handle: RunnerHandle,
    /// Resolves when the process has ended and is reaped.
    pub ended: oneshot::Receiver<()>,
}

/// Why a model could not be loaded.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StartError {
    #[error("the runner could not be started: {0}")]
    Spawn(String),
    /// llama.cpp refused the file.
    #[error("{0}")]
    Refused(String),
    /// The process ended while it was loading: its exit status and its last error.
    #[error("llama-server process has terminated: {exit}{}{cause}", if cause.is_empty() { "" } else { ": " })]
    Died { exit: String, cause: String },
    #[error("{0}")]
    Timeout(String),
}

/// Starts a runner and loads its model. Dropping the future kills the process.
///
/// # Errors
/// See [`StartError`]; by then the process has ended and is reaped.
pub async fn start(params: StartParams, tasks: &TaskTracker) -> Result<Started, StartError> {
    let mut metrics = ModelMetrics::new(&params.model);
    let started = Instant::now();
    let mut spawned = spawn(&params.exe, &params.model, tasks).map_err(|error| {
        metrics.load_failed();
        StartError::Spawn(error.to_string())
    })?;
    let pid = spawned.pid;
    tracing::info!(runner.pid = pid, model = %params.model, "runner started");
    let spill_bytes = params.load.spill.memory_bytes;
    let load = Command::Load(Box::new(params.load));
    let info = match load_model(&mut spawned, &load, params.load_timeout).await {
        Ok(info) => info,
        Err(error) => {
            // Reaped here so that no zombie waits for the runtime's orphan queue.
            let _ = spawned.child.kill().await;
            metrics.load_failed();
            return Err(error);
        }
    };
    limits::when_loaded(pid, &info, spill_bytes);
    let (requests, inbox) = mpsc::channel(1024);
    let (ended, end) = oneshot::channel();
    let span = tracing::info_span!("runner", model = %params.model, pid);
    let held = Held {
        bytes: info.size_bytes,
        vram_bytes: info.vram_bytes,
        n_cells: info.n_ctx_pool.into(),
    };
    metrics.loaded(held, started.elapsed());
    let cancels = Cancels::default();
    let pace = Arc::new(Pace::default());
    let receivers = Receivers {
        inbox,
        cancels: cancels.clone(),
        pace: Arc::clone(&pace),
    };
    let task = process::run(spawned, receivers, params.silence_timeout, metrics, ended);
    tasks.spawn(task.instrument(span));
    let inner = Inner {
        info,
        pid,
        requests,
        cancels,
        next_id: AtomicU64::new(1),
        frames: Frames::default(),
        pace,
    };
    Ok(Started {
        handle: RunnerHandle {
            inner: Arc::new(inner),
        },
        ended: end,
    })
}

async fn load_model(
    spawned: &mut Spawned,
    load: &Command,
    timeout: Option<Duration>,
) -> Result<LoadedInfo, StartError> {
    send(spawned, load).await?;
    loop {
        let event = match timeout {
            None => receive(spawned).await?,
            Some(limit) => match tokio::time::timeout(limit, receive(spawned)).await {
                Ok(event) => event?,
                Err(_) => return Err(StartError::Timeout(spawned.output.cause())),
            },
        };
        match event {
            Event::Hello { version, .. } if version != protocol::VERSION => {
                return Err(StartError::Refused(format!(
                    "the drover executable was replaced (runner protocol {version} instead of {}); restart the daemon",
                    protocol::VERSION
                )));
            }
            Event::Loaded(info) => return Ok(*info),
            Event::LoadFailed { message } => return Err(StartError::Refused(message)),
            Event::LoadProgress { fraction } => tracing::debug!(fraction, "loading"),
            _ => {}
        }
    }
}

/// Lists the devices that llama.cpp finds, in a separate process.
///
/// # Errors
/// The process could not be started, or died; the text includes its last error.
pub async fn probe(exe: PathBuf, tasks: &TaskTracker) -> Result<Vec<DeviceInfo>, StartError> {
    let mut spawned =
        spawn(&exe, "(devices)", tasks).map_err(|error| StartError::Spawn(error.to_string()))?;
    let listed = async {
        send(&mut spawned, &Command::Probe).await?;
        loop {
            if let Event::Devices { devices } = receive(&mut spawned).await? {
                return Ok(devices);
            }
        }
    };
    let result = tokio::time::timeout(PROBE_TIMEOUT, listed)
        .await
        .unwrap_or_else(|_| Err(StartError::Timeout("no answer in 30 seconds".to_owned())));
    let _ = spawned.child.kill().await;
    result
}

pub(super) async fn send(spawned: &mut Spawned, command: &Command) -> Result<(), StartError> {
    let frame = framing::encode(command).map_err(|error| StartError::Spawn(error.to_string()))?;
    match spawned.channel.send(frame).await {
        Ok(()) => Ok(()),
        Err(_) => Err(death(spawned).await),
    }
}

pub(super) async fn receive(spawned: &mut Spawned) -> Result<Event, StartError> {
    match spawned.channel.next().await {
        Some(Ok(frame)) => {
            framing::decode(&frame).map_err(|error| StartError::Refused(error.to_string()))
        }
        Some(Err(_)) | None => Err(death(spawned).await),
    }
}

/// Waits for the end of a process whose channel is closed.
async fn death(spawned: &mut Spawned) -> StartError {
    let exit = match spawned.child.wait().await {
        Ok(status) => status.to_string(),
        Err(error) => error.to_string(),
    };
    StartError::Died {
        exit,
        cause: spawned.output.last_words().await,
    }
}
