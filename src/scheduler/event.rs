//! The inputs and outputs of the scheduler's state machine.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use super::fit::{Fit, FitQuestion};
use super::placement::LoadPlan;
use super::state::{Foreseen, MeasureKey};
use super::{AcquireError, Lease, LoadedModel, ModelSpec};
use crate::config::KeepAlive;
use crate::device::{Obstacle, Snapshot};
use crate::protocol::{DeviceInfo, LoadedInfo, MeasureParams, Measured};
use crate::runner_client::{StartError, Started};

/// One loaded (or wanted) model.
pub(super) type EntryId = u64;

/// One request that waits for a lease.
pub(super) type WaiterId = u64;

/// Messages from the handles and the actor's own tasks to the actor.
#[derive(Debug)]
pub(super) enum Message {
    Acquire {
        waiter: WaiterId,
        spec: Box<ModelSpec>,
        keep_alive: Option<KeepAlive>,
        reply: oneshot::Sender<Result<Lease, AcquireError>>,
    },
    Unload {
        weights: PathBuf,
    },
    List {
        reply: oneshot::Sender<Vec<LoadedModel>>,
    },
    Machine {
        reply: oneshot::Sender<Snapshot>,
    },
    Shutdown {
        reply: oneshot::Sender<()>,
    },
    LoadEnded {
        entry: EntryId,
        result: Result<Started, StartError>,
    },
    Measured {
        key: Box<MeasureKey>,
        measured: Option<Measured>,
    },
    /// Where would this model go?
    Fit {
        question: Box<FitQuestion>,
        reply: oneshot::Sender<Fit>,
    },
    /// The same, after the model was measured.
    Foresee {
        question: Box<FitQuestion>,
        reply: oneshot::Sender<(Foreseen, Snapshot)>,
    },
    Exited {
        entry: EntryId,
    },
    /// Look for devices again.
    Probe,
    Devices(Found),
}

/// The result of a search for GPUs.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) gpus: Vec<DeviceInfo>,
    /// Why a present card is not among them.
    pub(super) obstacle: Option<Obstacle>,
    /// The search itself failed, so there may be more.
    pub(super) has_failed: bool,
    /// An RPC server did not lend its devices.
    pub(super) lacks_servers: bool,
}

impl Found {
    /// Whether GPUs that are missing now may be found later.
    pub(super) fn may_change(&self) -> bool {
        self.lacks_servers || self.gpus.is_empty() && (self.has_failed || self.obstacle.is_some())
    }
}

/// What happened.
#[derive(Debug)]
pub(super) enum Event {
    Acquire {
        waiter: WaiterId,
        spec: Box<ModelSpec>,
        keep_alive: Option<KeepAlive>,
    },
    /// A waiting request was cancelled.
    Canceled(WaiterId),
    /// A lease of this origin was dropped.
    Released(EntryId, Arc<str>),
    Loaded {
        entry: EntryId,
        info: Box<LoadedInfo>,
    },
    LoadFailed {
        entry: EntryId,
        failure: LoadFailure,
    },
    /// A loaded runner's process has ended, as intended or not.
    Exited(EntryId),
    Unload {
        weights: PathBuf,
    },
    /// A model was measured; `None` = there was no answer.
    Measured {
        key: Box<MeasureKey>,
        measured: Option<Measured>,
    },
    /// The devices are known now (or again); `obstacle` is why a present card is not among them.
    Devices {
        obstacle: Option<String>,
    },
    /// Time has passed.
    Tick,
}

/// How a load failed.
#[derive(Debug, Clone)]
pub(super) struct LoadFailure {
    /// The error for waiting requests.
    pub(super) error: AcquireError,
    /// The process died instead of refusing the file.
    pub(super) crashed: bool,
    /// It may succeed with a smaller pool.
    pub(super) short_of_memory: bool,
}

/// What the actor has to do.
#[derive(Debug, PartialEq)]
pub(super) enum Effect {
    /// Load a model; `LoadEnded` follows.
    Spawn { entry: EntryId, plan: Box<LoadPlan> },
    /// Measure a model with the inference library; `Measured` follows.
    Measure {
        key: Box<MeasureKey>,
        params: Box<MeasureParams>,
    },
    /// Give up a load that no request waits for; nothing follows.
    Abort(EntryId),
    /// Stop a loaded runner; `Exited` follows.
    Stop(EntryId),
    Grant {
        waiter: WaiterId,
        entry: EntryId,
        origin: Arc<str>,
    },
    Refuse {
        waiter: WaiterId,
        error: AcquireError,
    },
}

/// What decisions depend on besides the state.
pub(super) struct World<'a> {
    pub(super) now: tokio::time::Instant,
    /// Looks at the machine; called only if something is to be loaded, because the system may answer slowly.
    pub(super) snapshot: &'a dyn Fn() -> Snapshot,
    /// About how long it takes until a loaded model has finished one request more than `n`.
    pub(super) wait: &'a dyn Fn(EntryId, u32) -> Option<Duration>,
    /// Loads wait until the devices are known.
    pub(super) devices_known: bool,
}
