//! The counters of one model, which outlive its runners.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use prometheus_client::metrics::histogram::Histogram;

/// The most models that are counted separately, since clients could make and delete models without end.
pub(super) const MOST_MODELS: usize = 100;

/// The name under which all further models are counted.
const OTHERS: &str = "(others)";

/// Upper bounds in seconds: a step on a GPU takes a few milliseconds, a large prompt on a CPU a second.
const STEP_SECONDS: [f64; 11] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
];

/// Upper bounds in seconds, as vLLM has them: of the time to the first token, between tokens, and of whole
/// requests.
const FIRST_TOKEN_SECONDS: [f64; 22] = [
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
    20.0, 40.0, 80.0, 160.0, 640.0, 2560.0,
];
const BETWEEN_TOKENS_SECONDS: [f64; 19] = [
    0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0,
    40.0, 80.0,
];
const WHOLE_SECONDS: [f64; 21] = [
    0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0, 120.0, 240.0,
    480.0, 960.0, 1920.0, 7680.0,
];

/// Upper bounds of token counts, as vLLM has them.
const TOKENS: [f64; 16] = [
    1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1e3, 2e3, 5e3, 1e4, 2e4, 5e4, 1e5,
];

/// Upper bounds in seconds of the time that a load takes.
const LOAD_SECONDS: [f64; 10] = [0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0, 600.0];

static MODELS: LazyLock<Mutex<HashMap<String, Arc<Model>>>> = LazyLock::new(Mutex::default);

/// What one step of a model's engine did.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Step {
    /// Prompt tokens that were computed.
    pub n_prompt: u32,
    /// Prompt tokens that were in the cache.
    pub n_cached: u32,
    pub n_generated: u32,
    /// Drafted tokens, and those that were accepted.
    pub n_drafted: u32,
    pub n_accepted: u32,
    /// Idle slots that were evicted to make room.
    pub n_evicted: u32,
    /// Prefixes that were kept for later prompts.
    pub n_parked: u32,
    /// Sequences that were preempted.
    pub n_preempted: u32,
    /// Slot contents that were saved to the host cache, and that were restored from it.
    pub n_spilled: u32,
    pub n_restored: u32,
    /// How many sequences run, and how many requests wait for a slot.
    pub n_running: u32,
    pub n_waiting: u32,
    /// Cells of the KV cache that running sequences hold, and cells that idle slots keep in addition.
    pub n_cells: u32,
    pub n_kept: u32,
    pub time: Duration,
}

/// The class of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    Interactive,
    Batch,
}

impl Class {
    pub(super) const ALL: [Self; 2] = [Self::Interactive, Self::Batch];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Interactive => "interactive",
            Self::Batch => "batch",
        }
    }
}

/// Why an answer ended, in vLLM's terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Stop,
    Length,
    /// The client left.
    Abort,
    Error,
}

impl Outcome {
    pub(super) const ALL: [Self; 4] = [Self::Stop, Self::Length, Self::Abort, Self::Error];

    /// The name in logs and labels.
    pub fn name(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
            Self::Abort => "abort",
            Self::Error => "error",
        }
    }
}

/// A number that several threads update.
#[derive(Debug, Default)]
pub(super) struct Number(AtomicU64);

impl Number {
    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    pub(super) fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    pub(super) fn take_off(&self, less: u64) {
        // Only what was added before is subtracted.
        self.0.fetch_sub(less, Ordering::Relaxed);
    }
}

/// A sum of times, with their number.
#[derive(Debug, Default)]
pub(super) struct Sum {
    nanos: Number,
    n: Number,
}

impl Sum {
    pub(super) fn add(&self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.nanos.add(nanos);
        self.n.add(1);
    }

    fn get(&self) -> (u64, u64) {
        (self.nanos.get(), self.n.get())
    }
}

/// The times of the answers of one class.
#[derive(Debug)]
pub(super) struct Times {
    pub(super) n_begun: Number,
    pub(super) first_token: Histogram,
    pub(super) between_tokens: Histogram,
    /// The average of an answer.
    pub(super) per_token: Histogram,
    pub(super) queue: Histogram,
    pub(super) prefill: Histogram,
    pub(super) decode: Histogram,
    /// The sum of prefill and decode.
    pub(super) inference: Histogram,
    pub(super) whole: Histogram,
    pub(super) n_prompt: Histogram,
    pub(super) n_generated: Histogram,
}

impl Times {
    fn new() -> Self {
        let whole = || Histogram::new(WHOLE_SECONDS);
        Self {
            n_begun: Number::default(),
            first_token: Histogram::new(FIRST_TOKEN_SECONDS),
            between_tokens: Histogram::new(BETWEEN_TOKENS_SECONDS),
            per_token: Histogram::new(BETWEEN_TOKENS_SECONDS),
            queue: whole(),
            prefill: whole(),
            decode: whole(),
            inference: whole(),
            whole: whole(),
            n_prompt: Histogram::new(TOKENS),
            n_generated: Histogram::new(TOKENS),
        }
    }
}

/// All counters of a model.
pub(super) struct Model {
    pub(super) name: String,
    pub(super) n_prompt: Number,
    pub(super) n_cached: Number,
    pub(super) n_generated: Number,
    pub(super) n_drafted: Number,
    pub(super) n_accepted: Number,
    pub(super) n_evicted: Number,
    pub(super) n_parked: Number,
    pub(super) n_preempted: Number,
    pub(super) n_spilled: Number,
    pub(super) n_restored: Number,
    pub(super) running: Number,
    pub(super) waiting: Number,
    /// Requests that wait until the model is loaded.
    pub(super) awaiting: Number,
    pub(super) cells_used: Number,
    pub(super) cells_kept: Number,
    pub(super) cells: Number,
    pub(super) runners: Number,
    pub(super) bytes: Number,
    pub(super) vram_bytes: Number,
    pub(super) loads: Number,
    pub(super) load_failures: Number,
    pub(super) unloads: Number,
    pub(super) crashes: Number,
    pub(super) first_token: Sum,
    pub(super) between_tokens: Sum,
    pub(super) step_seconds: Histogram,
    pub(super) load_seconds: Histogram,
    times: [Times; 2],
    outcomes: [Number; 4],
}

impl fmt::Debug for Model {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Model").field(&self.name).finish()
    }
}

impl Model {
    fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            n_prompt: Number::default(),
            n_cached: Number::default(),
            n_generated: Number::default(),
            n_drafted: Number::default(),
            n_accepted: Number::default(),
            n_evicted: Number::default(),
            n_parked: Number::default(),
            n_preempted: Number::default(),
            n_spilled: Number::default(),
            n_restored: Number::default(),
            running: Number::default(),
            waiting: Number::default(),
            awaiting: Number::default(),
            cells_used: Number::default(),
            cells_kept: Number::default(),
            cells: Number::default(),
            runners: Number::default(),
            bytes: Number::default(),
            vram_bytes: Number::default(),
            loads: Number::default(),
            load_failures: Number::default(),
            unloads: Number::default(),
            crashes: Number::default(),
            first_token: Sum::default(),
            between_tokens: Sum::default(),
            step_seconds: Histogram::new(STEP_SECONDS),
            load_seconds: Histogram::new(LOAD_SECONDS),
            times: [Times::new(), Times::new()],
            outcomes: Default::default(),
        }
    }

    /// The counters of a model; makes them on first use.
    pub(super) fn of(name: &str) -> Arc<Self> {
        let mut models = MODELS.lock().unwrap_or_else(PoisonError::into_inner);
        among(&mut models, name)
    }

    /// All models that have counters, by name.
    pub(super) fn all() -> Vec<Arc<Self>> {
        let models = MODELS.lock().unwrap_or_else(PoisonError::into_inner);
        let mut models: Vec<_> = models.values().cloned().collect();
        models.sort_by(|one, other| one.name.cmp(&other.name));
        models
    }

    pub(super) fn times(&self, class: Class) -> &Times {
        &self.times[class as usize]
    }

    pub(super) fn outcome(&self, outcome: Outcome) -> &Number {
        &self.outcomes[outcome as usize]
    }
}

/// The counters of that name, or those of all further models.
pub(super) fn among(models: &mut HashMap<String, Arc<Model>>, name: &str) -> Arc<Model> {
    if let Some(model) = models.get(name) {
        return Arc::clone(model);
    }
    let has_room = models.len() < MOST_MODELS;
    let name = if has_room { name } else { OTHERS };
    let model = models.entry(name.to_owned());
    Arc::clone(model.or_insert_with(|| Arc::new(Model::new(name))))
}

/// The name under which a model is counted.
pub(super) fn label(name: &str) -> String {
    if name.is_empty() {
        return String::new();
    }
    Model::of(name).name.clone()
}

/// A snapshot of a model's numbers, for `/ui` and `drover top`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Numbers {
    pub name: String,
    /// Sums since the start.
    pub n_prompt: u64,
    pub n_generated: u64,
    /// Total nanoseconds, and their number.
    pub first_token: (u64, u64),
    pub between_tokens: (u64, u64),
    /// Present values.
    pub n_running: u64,
    pub n_waiting: u64,
    pub n_awaiting: u64,
    pub cells: u64,
    pub cells_used: u64,
    pub cells_kept: u64,
}

/// The numbers of all models.
pub fn numbers() -> Vec<Numbers> {
    let models = Model::all();
    let of = |model: &Arc<Model>| Numbers {
        name: model.name.clone(),
        n_prompt: model.n_prompt.get(),
        n_generated: model.n_generated.get(),
        first_token: model.first_token.get(),
        between_tokens: model.between_tokens.get(),
        n_running: model.running.get(),
        n_waiting: model.waiting.get(),
        n_awaiting: model.awaiting.get(),
        cells: model.cells.get(),
        cells_used: model.cells_used.get(),
        cells_kept: model.cells_kept.get(),
    };
    models.iter().map(of).collect()
}

/// A runner's handle to the counters of its model.
#[derive(Debug)]
pub struct ModelMetrics {
    model: Arc<Model>,
    /// What this runner added to the totals of loaded models.
    held: Held,
}

/// What a loaded model holds.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Held {
    /// All bytes, and the part of them on GPUs.
    pub bytes: u64,
    pub vram_bytes: u64,
    /// Cells of the KV cache.
    pub n_cells: u64,
}

impl ModelMetrics {
    /// Returns a model's counters, which continue those of an earlier runner of the same model.
    pub fn new(model: &str) -> Self {
        Self {
            model: Model::of(model),
            held: Held::default(),
        }
    }

    /// Counts a load that has succeeded.
    pub fn loaded(&mut self, held: Held, time: Duration) {
        let model = &self.model;
        model.loads.add(1);
        model.load_seconds.observe(time.as_secs_f64());
        model.runners.add(1);
        model.bytes.add(held.bytes);
        model.vram_bytes.add(held.vram_bytes);
        model.cells.add(held.n_cells);
        self.held = held;
    }

    /// Counts a load that has failed.
    pub fn load_failed(&self) {
        self.model.load_failures.add(1);
    }

    /// Counts the end of a loaded runner.
    pub fn ended(&self, was_asked_to: bool) {
        let ends = if was_asked_to {
            &self.model.unloads
        } else {
            &self.model.crashes
        };
        ends.add(1);
    }

    /// Counts a step.
    pub fn step(&self, step: &Step) {
        let model = &self.model;
        for (counter, n) in [
            (&model.n_prompt, step.n_prompt),
            (&model.n_cached, step.n_cached),
            (&model.n_generated, step.n_generated),
            (&model.n_drafted, step.n_drafted),
            (&model.n_accepted, step.n_accepted),
            (&model.n_evicted, step.n_evicted),
            (&model.n_parked, step.n_parked),
            (&model.n_preempted, step.n_preempted),
            (&model.n_spilled, step.n_spilled),
            (&model.n_restored, step.n_restored),
        ] {
            if n > 0 {
                counter.add(n.into());
            }
        }
        model.running.set(step.n_running.into());
        model.waiting.set(step.n_waiting.into());
        model.cells_used.set(step.n_cells.into());
        model.cells_kept.set(step.n_kept.into());
        model.step_seconds.observe(step.time.as_secs_f64());
    }

    /// Resets the gauges when nothing runs or waits, since no step will come that reports it.
    pub fn idle(&self) {
        let model = &self.model;
        model.running.set(0);
        model.waiting.set(0);
        // Idle slots keep them.
        let used = model.cells_used.get();
        model.cells_kept.set(model.cells_kept.get() + used);
        model.cells_used.set(0);
    }
}

impl Drop for ModelMetrics {
    fn drop(&mut self) {
        self.idle();
        if self.held == Held::default() {
            return;
        }
        let model = &self.model;
        model.cells_kept.set(0);
        model.runners.take_off(1);
        model.bytes.take_off(self.held.bytes);
        model.vram_bytes.take_off(self.held.vram_bytes);
        model.cells.take_off(self.held.n_cells);
    }
}

/// A request that waits until a model is loaded; counted until this is dropped.
#[derive(Debug)]
pub struct Awaiting(Arc<Model>);

impl Awaiting {
    /// Counts one more.
    pub fn of(model: &str) -> Self {
        let model = Model::of(model);
        model.awaiting.add(1);
        Self(model)
    }
}

impl Drop for Awaiting {
    fn drop(&mut self) {
        self.0.awaiting.take_off(1);
    }
}
