//! The one task that owns the scheduler's state, the timer and the effects.
//!
//! - [`devices`]: the GPUs and their free memory · [`fits`]: how much memory models would take

mod devices;
mod fits;

use std::collections::HashMap;
use std::path::PathBuf;

use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use super::event::{Effect, EntryId, Event, Message, WaiterId, World};
use super::lease::{Lease, Note, Notes};
use super::load;
use super::measured_files::MeasuredFiles;
use super::placement::{LoadPlan, Policy};
use super::state::{Entry, Limits, Phase, State};
use super::{AcquireError, LoadedModel};
use crate::config::Config;
use crate::device::Snapshot;
use crate::protocol::{DeviceInfo, DeviceMemory, HOST, LoadedInfo};
use crate::runner_client::{self, RunnerHandle, StartError, StartParams, Started};

type Inbox = mpsc::Receiver<Message>;

/// The task's ends of its channels.
pub(super) struct Channels {
    pub(super) messages: mpsc::Sender<Message>,
    pub(super) inbox: Inbox,
    pub(super) notes: Notes,
    /// Why a present GPU is not used.
    pub(super) obstacle: watch::Sender<Option<String>>,
}

/// Starts the task.
pub(super) fn spawn(config: &Config, exe: PathBuf, tasks: &TaskTracker, channels: Channels) {
    let Channels {
        messages,
        inbox,
        notes,
        obstacle,
    } = channels;
    let policy = Policy::new(config);
    let limits = Limits {
        max_loaded: config.max_loaded_models,
        max_queue: config.max_queue,
        keep_alive: config.keep_alive,
        policy: policy.clone(),
    };
    let measured = MeasuredFiles::new(&config.state_dir);
    let actor = Actor {
        state: State::new(limits),
        config: config.clone(),
        policy,
        exe,
        tasks: tasks.clone(),
        messages,
        notes,
        replies: HashMap::new(),
        runners: HashMap::new(),
        loads: HashMap::new(),
        fits: measured.with_a_turn_of_its_own(),
        measured,
        gpus: None,
        missing_since: None,
        is_looking: false,
        obstacle,
        ended_at: None,
    };
    actor.probe();
    tasks.spawn(actor.run(inbox));
}

struct Actor {
    state: State,
    config: Config,
    policy: Policy,
    exe: PathBuf,
    tasks: TaskTracker,
    messages: mpsc::Sender<Message>,
    notes: Notes,
    replies: HashMap<WaiterId, oneshot::Sender<Result<Lease, AcquireError>>>,
    runners: HashMap<EntryId, RunnerHandle>,
    loads: HashMap<EntryId, CancellationToken>,
    measured: MeasuredFiles,
    /// The same for `/api/fit`, so that no load waits behind its questions.
    fits: MeasuredFiles,
    /// `None` until the first probe has answered.
    gpus: Option<Vec<DeviceInfo>>,
    /// Since when GPUs are known to be missing that may still appear.
    missing_since: Option<Instant>,
    /// A probe looks for them, and loads wait for it.
    is_looking: bool,
    /// Why a present GPU is not used.
    obstacle: watch::Sender<Option<String>>,
    /// When a runner last ended.
    ended_at: Option<Instant>,
}

impl Actor {
    async fn run(mut self, mut inbox: Inbox) {
        loop {
            let deadline = self.state.next_deadline();
            tokio::select! {
                // Released leases count before the next request.
                biased;
                notes = self.notes.read() => for note in notes {
                    let event = match note {
                        Note::Released(entry, origin) => Event::Released(entry, origin),
                        Note::Canceled(waiter) => {
                            self.replies.remove(&waiter);
                            Event::Canceled(waiter)
                        }
                    };
                    self.handle(event).await;
                },
                () = sleep_until(deadline) => self.handle(Event::Tick).await,
                message = inbox.recv() => match message {
                    Some(Message::Shutdown { reply }) => {
                        self.shutdown(&mut inbox).await;
                        // The caller may be gone.
                        let _ = reply.send(());
                        return;
                    }
                    Some(message) => self.receive(message).await,
                    None => return,
                },
            }
        }
    }

    async fn receive(&mut self, message: Message) {
        match message {
            Message::Acquire {
                waiter,
                spec,
                keep_alive,
                reply,
            } => {
                // The request is gone before its turn: its cancellation was already processed.
                if reply.is_closed() {
                    return;
                }
                self.notice_ended().await;
                if !self.state.is_ready_for(&spec) {
                    self.look_for_missing();
                }
                self.replies.insert(waiter, reply);
                self.handle(Event::Acquire {
                    waiter,
                    spec,
                    keep_alive,
                })
                .await;
            }
            Message::Unload { weights } => self.handle(Event::Unload { weights }).await,
            Message::List { reply } => drop(reply.send(self.list())),
            Message::Machine { reply } => {
                let gpus = self.gpus.as_deref().unwrap_or_default();
                drop(reply.send(Snapshot::take(gpus)));
            }
            Message::LoadEnded { entry, result } => self.load_ended(entry, result).await,
            Message::Measured { key, measured } => {
                self.handle(Event::Measured { key, measured }).await;
            }
            Message::Fit { question, reply } => self.fit(*question, reply),
            Message::Foresee { question, reply } => self.foresee(&question, reply),
            Message::Exited { entry } => self.exited(entry).await,
            Message::Probe => self.probe(),
            Message::Devices(found) => self.found(found).await,
            Message::Shutdown { .. } => {}
        }
    }

    /// Notices runners that have ended, although their messages may still be on the way: a client that has seen
    /// a runner end and asks again must not get the same one.
    async fn notice_ended(&mut self) {
        let runners = self.runners.iter();
        let gone = runners.filter(|(_, runner)| runner.is_gone());
        let gone: Vec<EntryId> = gone.map(|(entry, _)| *entry).collect();
        for entry in gone {
            self.exited(entry).await;
        }
    }

    async fn exited(&mut self, entry: EntryId) {
        if self.runners.remove(&entry).is_some() {
            self.ended_at = Some(Instant::now());
            self.handle(Event::Exited(entry)).await;
            self.probe_again();
        }
    }

    async fn load_ended(&mut self, entry: EntryId, result: Result<Started, StartError>) {
        self.loads.remove(&entry);
        match result {
            Ok(Started { handle, ended }) => {
                let info = Box::new(handle.info().clone());
                self.compare(entry, &info);
                self.runners.insert(entry, handle);
                let messages = self.messages.clone();
                self.tasks.spawn(async move {
                    // An error only says that the process task is gone too.
                    let _ = ended.await;
                    let _ = messages.send(Message::Exited { entry }).await;
                });
                self.handle(Event::Loaded { entry, info }).await;
            }
            Err(error) => {
                let model = self.model_of(entry);
                tracing::error!(%model, %error, "the model could not be loaded");
                let failure = load::failure(&model, &error);
                self.handle(Event::LoadFailed { entry, failure }).await;
                self.probe_again();
            }
        }
    }

    /// Logs how much memory a model took, beside what was planned.
    fn compare(&self, id: EntryId, info: &LoadedInfo) {
        let entry = self.state.entries().iter().find(|entry| entry.id == id);
        let Some(plan) = entry.and_then(Entry::plan) else {
            return;
        };
        tracing::info!(
            model = %self.model_of(id),
            gpu_bytes = info.memory.on_devices(),
            planned_gpu_bytes = plan.gpu_bytes(),
            system_bytes = info.memory.get(HOST).map_or(0, DeviceMemory::total),
            planned_system_bytes = plan.system_bytes,
            "memory of the loaded model"
        );
    }

    async fn handle(&mut self, event: Event) {
        for effect in self.decide(event) {
            self.perform(effect).await;
        }
    }

    fn decide(&mut self, event: Event) -> Vec<Effect> {
        let gpus = self.gpus.as_deref();
        let runners = &self.runners;
        let world = World {
            now: Instant::now(),
            snapshot: &|| Snapshot::take(gpus.unwrap_or_default()),
            wait: &|entry, n_before| runners.get(&entry)?.expected_wait(n_before),
            devices_known: gpus.is_some() && !self.is_looking,
        };
        self.state.handle(event, &world)
    }

    async fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Spawn { entry, plan } => self.load(entry, &plan),
            Effect::Measure { key, params } => self.measure(key, *params),
            Effect::Abort(entry) => {
                if let Some(cancel) = self.loads.remove(&entry) {
                    cancel.cancel();
                }
            }
            Effect::Stop(entry) => {
                if let Some(runner) = self.runners.get(&entry) {
                    runner.stop().await;
                }
            }
            Effect::Grant {
                waiter,
                entry,
                origin,
            } => {
                let Some(runner) = self.runners.get(&entry).cloned() else {
                    // This never happens: an entry is ready only while its runner is known. Still, the lease
                    // must not be lost.
                    self.notes.write(Note::Released(entry, origin));
                    self.replies.remove(&waiter);
                    return;
                };
                let default_ctx = load::default_ctx(self.config.context_length, runner.info());
                let lease = Lease {
                    entry,
                    origin,
                    runner,
                    default_ctx,
                    notes: self.notes.clone(),
                };
                // If the request is gone, the lease is dropped here and noted as released.
                if let Some(reply) = self.replies.remove(&waiter) {
                    drop(reply.send(Ok(lease)));
                }
            }
            Effect::Refuse { waiter, error } => {
                if let Some(reply) = self.replies.remove(&waiter) {
                    drop(reply.send(Err(error)));
                }
            }
        }
    }

    fn load(&mut self, id: EntryId, plan: &LoadPlan) {
        let Some(entry) = self.state.entries().iter().find(|entry| entry.id == id) else {
            return;
        };
        let params = StartParams {
            exe: self.exe.clone(),
            model: entry.spec.name.short(),
            load: load::params(&entry.spec, plan, &self.policy),
            load_timeout: self.config.load_timeout,
            silence_timeout: self.config.runner_timeout,
        };
        tracing::info!(
            model = %params.model,
            n_ctx_pool = plan.shape.n_ctx_pool,
            n_slots = plan.shape.n_slots,
            n_ubatch = plan.shape.n_ubatch,
            n_gpu_layers = plan.n_gpu_layers,
            n_cpu_moe = plan.n_cpu_moe,
            gpus = plan.cards.len(),
            system_bytes = plan.system_bytes,
            gpu_bytes = plan.gpu_bytes(),
            "loading"
        );
        let cancel = CancellationToken::new();
        self.loads.insert(id, cancel.clone());
        let (tasks, messages) = (self.tasks.clone(), self.messages.clone());
        let span = tracing::info_span!("load", model = %params.model);
        let needs = self.needs_given_back(plan);
        let task = async move {
            let start = async {
                if !needs.is_empty() {
                    devices::wait_for_memory(needs).await;
                }
                runner_client::start(params, &tasks).await
            };
            let result = tokio::select! {
                result = start => result,
                () = cancel.cancelled() => return,
            };
            // The actor ends only after all loads were cancelled.
            let _ = messages
                .send(Message::LoadEnded { entry: id, result })
                .await;
        };
        self.tasks.spawn(task.instrument(span));
    }

    fn model_of(&self, id: EntryId) -> String {
        let entries = self.state.entries();
        let entry = entries.iter().find(|entry| entry.id == id);
        entry
            .map(|entry| entry.spec.name.short())
            .unwrap_or_default()
    }

    fn list(&self) -> Vec<LoadedModel> {
        let (now, clock) = (Instant::now(), Timestamp::now());
        let mut list: Vec<LoadedModel> = self
            .state
            .entries()
            .iter()
            .filter_map(|entry| {
                let (Phase::Ready(info) | Phase::Draining(info)) = &entry.phase else {
                    return None;
                };
                let runner = self.runners.get(&entry.id)?;
                let own = entry.spec.options.num_ctx;
                let loaded_for = own.unwrap_or(self.config.context_length);
                Some(LoadedModel {
                    name: entry.spec.name.clone(),
                    digest: entry.spec.digest.clone(),
                    info: (**info).clone(),
                    pid: runner.pid(),
                    n_active: entry.n_active,
                    is_going: matches!(entry.phase, Phase::Draining(_)),
                    expires_at: load::expires_at(entry, now, clock),
                    context_length: load::default_ctx(loaded_for, runner.info()),
                })
            })
            .collect();
        // Latest expiry first; models that never expire come before all others.
        list.sort_by_key(|model| std::cmp::Reverse(model.expires_at.unwrap_or(Timestamp::MAX)));
        list
    }

    async fn shutdown(&mut self, inbox: &mut Inbox) {
        for (_, reply) in self.replies.drain() {
            drop(reply.send(Err(AcquireError::ShuttingDown)));
        }
        for (_, cancel) in self.loads.drain() {
            cancel.cancel();
        }
        for runner in self.runners.values() {
            runner.stop().await;
        }
        while !self.runners.is_empty() {
            match inbox.recv().await {
                Some(Message::Exited { entry }) => drop(self.runners.remove(&entry)),
                Some(_) => {}
                None => return,
            }
        }
    }
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
