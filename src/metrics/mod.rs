//! The daemon's counters in Prometheus' text format: requests by route, and the runners' steps by model.
//!
//! The process has one set of counters, since it runs one daemon. A request costs two look-ups. Each runner
//! holds references to its own counters, so a step costs a few atomic additions and a token costs nothing.
//! *Invariant:* labels have few values: routes of the table, status codes, names of models. Nothing that a
//! client can choose freely becomes a label.

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::LazyLock;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

/// Upper bounds in seconds: a step on a GPU takes a few milliseconds, a large prompt on a CPU a second.
const STEP_SECONDS: [f64; 11] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
];

/// Upper bounds in seconds, from a version query to a long answer.
const REQUEST_SECONDS: [f64; 11] = [
    0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0,
];

static METRICS: LazyLock<Metrics> = LazyLock::new(Metrics::new);

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    route: String,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabel {
    route: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ModelLabel {
    model: String,
}

/// Names of instruction sets, separated by spaces.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CpuLabels {
    used: String,
    unused: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
}

type ByModel<M> = Family<ModelLabel, M>;
type HistogramFamily<L> = Family<L, Histogram, fn() -> Histogram>;

struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    request_seconds: HistogramFamily<RouteLabel>,
    prompt_tokens: ByModel<Counter>,
    cached_tokens: ByModel<Counter>,
    generated_tokens: ByModel<Counter>,
    drafted_tokens: ByModel<Counter>,
    accepted_tokens: ByModel<Counter>,
    evictions: ByModel<Counter>,
    parked: ByModel<Counter>,
    preemptions: ByModel<Counter>,
    spilled: ByModel<Counter>,
    restored: ByModel<Counter>,
    running: ByModel<Gauge>,
    waiting: ByModel<Gauge>,
    step_seconds: HistogramFamily<ModelLabel>,
    cpu: Family<CpuLabels, Gauge<u64, AtomicU64>>,
    batches: Gauge<u64, AtomicU64>,
    batch_waiting: Gauge<u64, AtomicU64>,
    batch_lines: Family<OutcomeLabel, Counter>,
}

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
    /// Idle slots that were emptied to make room.
    pub n_evicted: u32,
    /// Prefixes that were kept for later prompts.
    pub n_parked: u32,
    /// Sequences that were put back into the queue.
    pub n_preempted: u32,
    /// Slot contents that were saved to the host cache, and that were restored from it.
    pub n_spilled: u32,
    pub n_restored: u32,
    /// How many sequences run, and how many requests wait for a slot.
    pub n_running: u32,
    pub n_waiting: u32,
    pub time: Duration,
}

/// A runner's counters.
#[derive(Debug)]
pub struct ModelMetrics {
    prompt_tokens: Counter,
    cached_tokens: Counter,
    generated_tokens: Counter,
    drafted_tokens: Counter,
    accepted_tokens: Counter,
    evictions: Counter,
    parked: Counter,
    preemptions: Counter,
    spilled: Counter,
    restored: Counter,
    running: Gauge,
    waiting: Gauge,
    step_seconds: Histogram,
}

/// Counts a request that has been answered; `route` is a line of the route table.
pub fn request(route: &str, status: u16, time: Duration) {
    let route = route.to_owned();
    let label = RouteLabel {
        route: route.clone(),
    };
    let seconds = METRICS.request_seconds.get_or_create_owned(&label);
    seconds.observe(time.as_secs_f64());
    let labels = RequestLabels { route, status };
    METRICS.requests.get_or_create_owned(&labels).inc();
}

/// Counts a request of a batch job: `completed`, `failed`, or tried `again`.
pub fn batch_line(outcome: &'static str) {
    let label = OutcomeLabel { outcome };
    METRICS.batch_lines.get_or_create_owned(&label).inc();
}

/// Records how many batch jobs have not ended, and how many of their requests have no result yet.
pub fn batches(n_jobs: u64, n_waiting: u64) {
    METRICS.batches.set(n_jobs);
    METRICS.batch_waiting.set(n_waiting);
}

/// Records which instruction sets the build uses, and which ones of the CPU it does not.
pub fn cpu(used: String, unused: String) {
    METRICS.cpu.clear();
    let labels = CpuLabels { used, unused };
    METRICS.cpu.get_or_create_owned(&labels).set(1);
}

/// Returns all counters as `GET /metrics` sends them.
///
/// # Errors
/// The encoder's errors; writing to a `String` causes none.
pub fn text() -> Result<String, fmt::Error> {
    let mut text = String::new();
    encode(&mut text, &METRICS.registry)?;
    Ok(text)
}

impl ModelMetrics {
    /// Returns a model's counters, which continue those of an earlier runner of the same model.
    pub fn new(model: &str) -> Self {
        let label = ModelLabel {
            model: model.to_owned(),
        };
        let counter = |family: &ByModel<Counter>| family.get_or_create_owned(&label);
        Self {
            prompt_tokens: counter(&METRICS.prompt_tokens),
            cached_tokens: counter(&METRICS.cached_tokens),
            generated_tokens: counter(&METRICS.generated_tokens),
            drafted_tokens: counter(&METRICS.drafted_tokens),
            accepted_tokens: counter(&METRICS.accepted_tokens),
            evictions: counter(&METRICS.evictions),
            parked: counter(&METRICS.parked),
            preemptions: counter(&METRICS.preemptions),
            spilled: counter(&METRICS.spilled),
            restored: counter(&METRICS.restored),
            running: METRICS.running.get_or_create_owned(&label),
            waiting: METRICS.waiting.get_or_create_owned(&label),
            step_seconds: METRICS.step_seconds.get_or_create_owned(&label),
        }
    }

    /// Counts a step.
    pub fn step(&self, step: &Step) {
        for (counter, n) in [
            (&self.prompt_tokens, step.n_prompt),
            (&self.cached_tokens, step.n_cached),
            (&self.generated_tokens, step.n_generated),
            (&self.drafted_tokens, step.n_drafted),
            (&self.accepted_tokens, step.n_accepted),
            (&self.evictions, step.n_evicted),
            (&self.parked, step.n_parked),
            (&self.preemptions, step.n_preempted),
            (&self.spilled, step.n_spilled),
            (&self.restored, step.n_restored),
        ] {
            if n > 0 {
                counter.inc_by(n.into());
            }
        }
        self.running.set(step.n_running.into());
        self.waiting.set(step.n_waiting.into());
        self.step_seconds.observe(step.time.as_secs_f64());
    }

    /// Resets the gauges when nothing runs or waits, since no step will come that reports it.
    pub fn idle(&self) {
        self.running.set(0);
        self.waiting.set(0);
    }
}

impl Drop for ModelMetrics {
    fn drop(&mut self) {
        self.idle();
    }
}

impl Metrics {
    fn new() -> Self {
        let mut registry = Registry::with_prefix("drover");
        let build = Family::<[(&str, &str); 1], Gauge<u64, AtomicU64>>::default();
        let version = [("version", env!("CARGO_PKG_VERSION"))];
        build.get_or_create_owned(&version).set(1);
        registry.register("build_info", "The version that runs", build);
        let cpu = Family::default();
        registry.register(
            "cpu_info",
            "The CPU's instruction sets that llama.cpp computes with, and the others",
            cpu.clone(),
        );
        let requests = Family::default();
        registry.register(
            "requests",
            "Answered requests; 499 = the client left first",
            requests.clone(),
        );
        let request_seconds: HistogramFamily<_> =
            Family::new_with_constructor(|| Histogram::new(REQUEST_SECONDS));
        registry.register_with_unit(
            "request_duration",
            "From a request to the end of its answer",
            Unit::Seconds,
            request_seconds.clone(),
        );
        let step_seconds: HistogramFamily<_> =
            Family::new_with_constructor(|| Histogram::new(STEP_SECONDS));
        registry.register_with_unit(
            "step_duration",
            "One step of a model's engine",
            Unit::Seconds,
            step_seconds.clone(),
        );
        let batches = Gauge::default();
        registry.register("batches", "Batch jobs that have not ended", batches.clone());
        let batch_waiting = Gauge::default();
        registry.register(
            "batch_requests_waiting",
            "Requests of batch jobs without a result",
            batch_waiting.clone(),
        );
        let batch_lines = Family::default();
        registry.register(
            "batch_requests",
            "Requests of batch jobs that were answered, and that will be tried again",
            batch_lines.clone(),
        );
        let mut counter = |name: &str, help: &str| {
            let family = ByModel::<Counter>::default();
            registry.register(name, help, family.clone());
            family
        };
        let prompt_tokens = counter("prompt_tokens", "Prompt tokens that were computed");
        let cached_tokens = counter("prompt_tokens_cached", "Prompt tokens found in the cache");
        let generated_tokens = counter("generated_tokens", "Generated tokens");
        let drafted_tokens = counter("drafted_tokens", "Drafted tokens that were checked");
        let accepted_tokens = counter("accepted_tokens", "Drafted tokens that were accepted");
        let evictions = counter("cache_evictions", "Idle slots emptied to make room");
        let parked = counter("cache_parked", "Prefixes kept for later prompts");
        let preemptions = counter("preemptions", "Sequences put back into the queue");
        let spilled = counter("cache_spilled", "Prompts kept outside of the cache");
        let restored = counter("cache_restored", "Prompts that came back into the cache");
        let mut gauge = |name: &str, help: &str| {
            let family = ByModel::<Gauge>::default();
            registry.register(name, help, family.clone());
            family
        };
        let running = gauge("sequences_running", "Requests that have a slot");
        let waiting = gauge("sequences_waiting", "Requests that wait for a slot");
        Self {
            registry,
            requests,
            request_seconds,
            prompt_tokens,
            cached_tokens,
            generated_tokens,
            drafted_tokens,
            accepted_tokens,
            evictions,
            parked,
            preemptions,
            spilled,
            restored,
            running,
            waiting,
            step_seconds,
            cpu,
            batches,
            batch_waiting,
            batch_lines,
        }
    }
}
