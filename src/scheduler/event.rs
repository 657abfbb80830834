//! What goes into the scheduler's state machine, and what comes out.

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

/// From the handles and the actor's own tasks to the actor.
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

/// What a look for GPUs found.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) gpus: Vec<DeviceInfo>,
    /// Why a card that is there is not among them.
    pub(super) obstacle: Option<Obstacle>,
    /// The look itself failed, so that there may be more.
    pub(super) has_failed: bool,
    /// An RPC server did not lend its devices.
    pub(super) lacks_servers: bool,
}

impl Found {
    /// Whether GPUs may be found later that are missing now.
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
    /// A waiting request's client has gone.
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
    /// A loaded runner's process has ended, wanted or not.
    Exited(EntryId),
    Unload {
        weights: PathBuf,
    },
    /// What a model takes was asked for; `None` = there was no answer.
    Measured {
        key: Box<MeasureKey>,
        measured: Option<Measured>,
    },
    /// The devices are known now (or again); why a card that is there is not among them.
    Devices {
        obstacle: Option<String>,
    },
    /// Time has passed.
    Tick,
}

/// How a load failed.
#[derive(Debug, Clone)]
pub(super) struct LoadFailure {
    /// What waiting requests are told.
    pub(super) error: AcquireError,
    /// The process died, instead of refusing the file.
    pub(super) crashed: bool,
    /// A smaller pool may do.
    pub(super) short_of_memory: bool,
}

/// What is to be done.
#[derive(Debug, PartialEq)]
pub(super) enum Effect {
    /// Load a model; `LoadEnded` follows.
    Spawn { entry: EntryId, plan: Box<LoadPlan> },
    /// Ask the inference library what a model takes; `Measured` follows.
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

/// What an event is judged by besides the state.
pub(super) struct World<'a> {
    pub(super) now: tokio::time::Instant,
    /// Looks at the machine; only asked where something is to be loaded, because the system takes
    /// its time to answer.
    pub(super) snapshot: &'a dyn Fn() -> Snapshot,
    /// About how long it takes until a loaded model has finished one request more than `n`.
    pub(super) wait: &'a dyn Fn(EntryId, u32) -> Option<Duration>,
    /// Loads wait until the devices are known.
    pub(super) devices_known: bool,
}
