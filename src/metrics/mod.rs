//! The daemon's counters in Prometheus' text format: requests by route; steps, answers and loads by model.
//!
//! The process has one set of counters, since it runs one daemon. A request costs a few look-ups. Each runner
//! and each answer hold their model's counters, so a step or a piece of an answer costs a few additions.
//! *Invariant:* labels have few values: routes of the table, status codes, and a limited number of model names.
//! Nothing that a client can choose freely becomes a label.

pub mod account;
mod collect;
mod generation;
mod gpu;
mod model;
mod plain;
mod process;
pub mod recent;
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

pub use generation::{Finish, Generation};
pub use gpu::GpuState;
pub use model::{Awaiting, Class, Held, ModelMetrics, Numbers, Outcome, Step, numbers};

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
struct TimeLabels {
    route: String,
    status: u16,
    /// Empty for requests without a model.
    model: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabel {
    route: String,
}

/// The name of an API key; administrators make few of them.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KeyLabel {
    key: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KeyLabels {
    key: String,
    status: u16,
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

type HistogramFamily<L> = Family<L, Histogram, fn() -> Histogram>;

struct Metrics {
    registry: Registry,
    gpus: gpu::Gpus,
    requests: Family<RequestLabels, Counter>,
    request_seconds: HistogramFamily<TimeLabels>,
    in_flight: Family<RouteLabel, Gauge>,
    broken: Family<RouteLabel, Counter>,
    key_requests: Family<KeyLabels, Counter>,
    key_prompt_tokens: Family<KeyLabel, Counter>,
    key_generated_tokens: Family<KeyLabel, Counter>,
    cpu: Family<CpuLabels, Gauge<u64, AtomicU64>>,
    batches: Gauge<u64, AtomicU64>,
    batch_waiting: Gauge<u64, AtomicU64>,
    batch_lines: Family<OutcomeLabel, Counter>,
}

/// A request that is being answered; counted until this is dropped.
#[derive(Debug)]
pub struct InFlight(Gauge);

impl InFlight {
    /// Counts one more; `route` is a route of the table.
    pub fn new(route: &str) -> Self {
        let label = RouteLabel {
            route: route.to_owned(),
        };
        let gauge = METRICS.in_flight.get_or_create_owned(&label);
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Counts a request that has been answered; `route` is a route of the table, `model` the name of a model in the store,
/// or empty.
pub fn request(route: &str, status: u16, model: &str, time: Duration) {
    let labels = TimeLabels {
        route: route.to_owned(),
        status,
        model: model::label(model),
    };
    let seconds = METRICS.request_seconds.get_or_create_owned(&labels);
    seconds.observe(time.as_secs_f64());
    let TimeLabels { route, .. } = labels;
    let labels = RequestLabels { route, status };
    METRICS.requests.get_or_create_owned(&labels).inc();
}

/// Counts an answer that broke off after its status was sent.
pub fn broken(route: &str) {
    let label = RouteLabel {
        route: route.to_owned(),
    };
    METRICS.broken.get_or_create_owned(&label).inc();
}

/// Counts a request by its API key.
pub fn of_key(key: &str, status: u16, n_prompt: u64, n_generated: u64) {
    let key = key.to_owned();
    let label = KeyLabel { key: key.clone() };
    for (family, n) in [
        (&METRICS.key_prompt_tokens, n_prompt),
        (&METRICS.key_generated_tokens, n_generated),
    ] {
        family.get_or_create_owned(&label).inc_by(n);
    }
    let labels = KeyLabels { key, status };
    METRICS.key_requests.get_or_create_owned(&labels).inc();
}

/// Counts a request of a batch job: `completed`, `failed`, or retried (`again`).
pub fn batch_line(outcome: &'static str) {
    let label = OutcomeLabel { outcome };
    METRICS.batch_lines.get_or_create_owned(&label).inc();
}

/// Records how many batch jobs have not ended, and how many of their requests have no result yet.
pub fn batches(n_jobs: u64, n_waiting: u64) {
    METRICS.batches.set(n_jobs);
    METRICS.batch_waiting.set(n_waiting);
}

/// Records which instruction sets the build uses, and which of the CPU's it does not.
pub fn cpu(used: String, unused: String) {
    METRICS.cpu.clear();
    let labels = CpuLabels { used, unused };
    METRICS.cpu.get_or_create_owned(&labels).set(1);
}

/// Records the state of the GPUs.
pub fn gpus(cards: Vec<GpuState>) {
    METRICS.gpus.set(cards);
}

/// Returns all counters in OpenMetrics' text format.
///
/// # Errors
/// The encoder's errors; writing to a `String` causes none.
pub fn open_text() -> Result<String, fmt::Error> {
    let mut text = String::new();
    encode(&mut text, &METRICS.registry)?;
    Ok(text)
}

/// Returns all counters in Prometheus' older text format.
///
/// # Errors
/// As [`open_text`].
pub fn text() -> Result<String, fmt::Error> {
    Ok(plain::plain(&open_text()?))
}

impl Metrics {
    fn new() -> Self {
        let mut all = Registry::default();
        process::register(&mut all);
        collect::register(&mut all);
        let registry = all.sub_registry_with_prefix("drover");
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
        let in_flight = Family::default();
        registry.register(
            "requests_in_flight",
            "Requests that are being answered",
            in_flight.clone(),
        );
        let broken = Family::default();
        registry.register(
            "answers_broken",
            "Answers that broke off after their status was sent",
            broken.clone(),
        );
        let key_requests = Family::default();
        registry.register("key_requests", "Requests by API key", key_requests.clone());
        let mut of_key = |name: &str, help: &str| {
            let family = Family::<KeyLabel, Counter>::default();
            registry.register(name, help, family.clone());
            family
        };
        let key_prompt_tokens = of_key("key_prompt_tokens", "Prompt tokens by API key");
        let key_generated_tokens = of_key("key_generated_tokens", "Generated tokens by API key");
        let gpus = gpu::Gpus::register(registry);
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
        Self {
            registry: all,
            gpus,
            requests,
            request_seconds,
            in_flight,
            broken,
            key_requests,
            key_prompt_tokens,
            key_generated_tokens,
            cpu,
            batches,
            batch_waiting,
            batch_lines,
        }
    }
}
