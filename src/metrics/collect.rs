//! The counters of all models as metrics: by our names, and by vLLM's, which dashboards and the endpoint
//! picker of Kubernetes' Gateway API inference extension read.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::model::{Class, Model, Outcome, Times};

/// Reads the counters at each scrape.
#[derive(Debug)]
struct Models;

pub(super) fn register(registry: &mut Registry) {
    registry.register_collector(Box::new(Models));
}

/// A number of a model, under our name, and under vLLM's if it has one; empty = none.
struct Row<V> {
    ours: &'static str,
    theirs: &'static str,
    help: &'static str,
    value: fn(&Model) -> V,
}

const fn row<V>(
    ours: &'static str,
    theirs: &'static str,
    help: &'static str,
    value: fn(&Model) -> V,
) -> Row<V> {
    Row {
        ours,
        theirs,
        help,
        value,
    }
}

const COUNTERS: &[Row<u64>] = &[
    row(
        "drover_prompt_tokens",
        "",
        "Prompt tokens that were computed",
        |m| m.n_prompt.get(),
    ),
    row(
        "drover_prompt_tokens_cached",
        "vllm:prefix_cache_hits",
        "Prompt tokens found in the cache",
        |m| m.n_cached.get(),
    ),
    row(
        "",
        "vllm:prefix_cache_queries",
        "Prompt tokens looked for in the cache",
        n_prompt,
    ),
    row(
        "",
        "vllm:prompt_tokens",
        "Prompt tokens, those found in the cache included",
        n_prompt,
    ),
    row(
        "drover_generated_tokens",
        "vllm:generation_tokens",
        "Generated tokens",
        |m| m.n_generated.get(),
    ),
    row(
        "drover_drafted_tokens",
        "vllm:spec_decode_num_draft_tokens",
        "Drafted tokens that were checked",
        |m| m.n_drafted.get(),
    ),
    row(
        "drover_accepted_tokens",
        "vllm:spec_decode_num_accepted_tokens",
        "Drafted tokens that were accepted",
        |m| m.n_accepted.get(),
    ),
    row(
        "drover_cache_evictions",
        "",
        "Idle slots emptied to make room",
        |m| m.n_evicted.get(),
    ),
    row(
        "drover_cache_parked",
        "",
        "Prefixes kept for later prompts",
        |m| m.n_parked.get(),
    ),
    row(
        "drover_preemptions",
        "vllm:num_preemptions",
        "Sequences put back into the queue",
        |m| m.n_preempted.get(),
    ),
    row(
        "drover_cache_spilled",
        "",
        "Prompts kept outside of the cache",
        |m| m.n_spilled.get(),
    ),
    row(
        "drover_cache_restored",
        "",
        "Prompts that came back into the cache",
        |m| m.n_restored.get(),
    ),
    row("drover_model_loads", "", "Loads that succeeded", |m| {
        m.loads.get()
    }),
    row("drover_model_load_failures", "", "Loads that failed", |m| {
        m.load_failures.get()
    }),
    row(
        "drover_model_unloads",
        "",
        "Loaded models that were unloaded",
        |m| m.unloads.get(),
    ),
    row(
        "drover_runner_crashes",
        "",
        "Loaded runners that ended by themselves",
        |m| m.crashes.get(),
    ),
];

const GAUGES: &[Row<u64>] = &[
    row(
        "drover_sequences_running",
        "vllm:num_requests_running",
        "Requests that have a slot",
        |m| m.running.get(),
    ),
    row(
        "drover_sequences_waiting",
        "",
        "Requests that wait for a slot",
        |m| m.waiting.get(),
    ),
    row(
        "drover_requests_awaiting_model",
        "",
        "Requests that wait until the model is loaded",
        |m| m.awaiting.get(),
    ),
    row(
        "",
        "vllm:num_requests_waiting",
        "Requests that wait for the model or a slot",
        |m| m.waiting.get().saturating_add(m.awaiting.get()),
    ),
    row("drover_kv_cells", "", "Cells of the KV cache", |m| {
        m.cells.get()
    }),
    row(
        "drover_kv_cells_used",
        "",
        "Cells that running requests hold",
        |m| m.cells_used.get(),
    ),
    row(
        "drover_kv_cells_kept",
        "",
        "Cells that idle slots keep for later prompts",
        |m| m.cells_kept.get(),
    ),
    row(
        "drover_model_runners",
        "",
        "Runners that have the model loaded",
        |m| m.runners.get(),
    ),
    row(
        "drover_model_bytes",
        "",
        "Memory of the loaded model, on all devices",
        |m| m.bytes.get(),
    ),
    row(
        "drover_model_vram_bytes",
        "",
        "The part of it on GPUs",
        |m| m.vram_bytes.get(),
    ),
];

const SHARES: &[Row<f64>] = &[
    row(
        "",
        "vllm:kv_cache_usage_perc",
        "KV cache usage; 1 = all of it",
        kv_usage,
    ),
    // The metric's former name.
    row(
        "",
        "vllm:gpu_cache_usage_perc",
        "KV cache usage; 1 = all of it",
        kv_usage,
    ),
];

/// A histogram of the answers of a model.
type OfTimes = fn(&Times) -> &Histogram;

const TIMES: &[(&str, &str, &str, OfTimes)] = &[
    (
        "drover_time_to_first_token_seconds",
        "vllm:time_to_first_token_seconds",
        "From a request to its first token",
        |t| &t.first_token,
    ),
    (
        "drover_inter_token_seconds",
        "vllm:inter_token_latency_seconds",
        "Between tokens of an answer",
        |t| &t.between_tokens,
    ),
    // The metric's former name.
    (
        "",
        "vllm:time_per_output_token_seconds",
        "Between tokens of an answer",
        |t| &t.between_tokens,
    ),
    (
        "",
        "vllm:request_time_per_output_token_seconds",
        "Time per token of an answer, on average",
        |t| &t.per_token,
    ),
    (
        "drover_queue_seconds",
        "vllm:request_queue_time_seconds",
        "How long requests waited for a slot",
        |t| &t.queue,
    ),
    (
        "drover_prefill_seconds",
        "vllm:request_prefill_time_seconds",
        "How long prompts took to compute",
        |t| &t.prefill,
    ),
    (
        "drover_decode_seconds",
        "vllm:request_decode_time_seconds",
        "How long answers took to generate",
        |t| &t.decode,
    ),
    (
        "",
        "vllm:request_inference_time_seconds",
        "Prefill and decode together",
        |t| &t.inference,
    ),
    (
        "",
        "vllm:e2e_request_latency_seconds",
        "From a request to its last token",
        |t| &t.whole,
    ),
    (
        "",
        "vllm:request_prompt_tokens",
        "Prompt tokens of a request",
        |t| &t.n_prompt,
    ),
    (
        "",
        "vllm:request_generation_tokens",
        "Generated tokens of a request",
        |t| &t.n_generated,
    ),
];

/// Prompt tokens that were looked up in the cache.
fn n_prompt(model: &Model) -> u64 {
    model.n_prompt.get().saturating_add(model.n_cached.get())
}

fn kv_usage(model: &Model) -> f64 {
    let (used, all) = (model.cells_used.get(), model.cells.get());
    #[expect(clippy::cast_precision_loss, reason = "a share")]
    let share = used as f64 / all.max(1) as f64;
    share.min(1.0)
}

impl Collector for Models {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let models = Model::all();
        // A metric family without samples is of no use.
        if models.is_empty() {
            return Ok(());
        }
        let mut page = Page { encoder, models };
        for row in COUNTERS {
            page.row(row, ConstCounter::new)?;
        }
        for row in GAUGES {
            page.row(row, ConstGauge::new)?;
        }
        for row in SHARES {
            page.row(row, ConstGauge::new)?;
        }
        for (ours, theirs, help, of) in TIMES {
            page.times(ours, theirs, help, *of)?;
        }
        page.steps()?;
        page.outcomes()?;
        page.cache_config()
    }
}

struct Page<'a> {
    encoder: DescriptorEncoder<'a>,
    models: Vec<Arc<Model>>,
}

/// Which names a metric family uses.
#[derive(Clone, Copy)]
enum Names {
    Ours,
    Theirs,
}

/// The labels of a model's sample; vLLM may have several engines for a model.
fn labels(names: Names, model: &Model) -> Vec<(&'static str, &str)> {
    match names {
        Names::Ours => vec![("model", &model.name)],
        Names::Theirs => vec![("model_name", &model.name), ("engine", "0")],
    }
}

impl Page<'_> {
    fn row<V, M: EncodeMetric>(&mut self, row: &Row<V>, metric: fn(V) -> M) -> fmt::Result {
        let of = |model: &Model| metric((row.value)(model));
        for (names, name) in [(Names::Ours, row.ours), (Names::Theirs, row.theirs)] {
            let Some(first) = self.models.first().filter(|_| !name.is_empty()) else {
                continue;
            };
            let kind = of(first).metric_type();
            let mut family = self.encoder.encode_descriptor(name, row.help, None, kind)?;
            for model in &self.models {
                of(model).encode(family.encode_family(&labels(names, model))?)?;
            }
        }
        Ok(())
    }

    /// Writes a histogram for each model and class that has had an answer.
    fn times(&mut self, ours: &str, theirs: &str, help: &str, of: OfTimes) -> fmt::Result {
        for (names, name) in [(Names::Ours, ours), (Names::Theirs, theirs)] {
            if name.is_empty() {
                continue;
            }
            let kind = MetricType::Histogram;
            let mut family = self.encoder.encode_descriptor(name, help, None, kind)?;
            for model in &self.models {
                for class in Class::ALL {
                    let times = model.times(class);
                    if class == Class::Batch && times.n_begun.get() == 0 {
                        continue;
                    }
                    let mut labels = labels(names, model);
                    labels.push(("class", class.name()));
                    of(times).encode(family.encode_family(&labels)?)?;
                }
            }
        }
        Ok(())
    }

    fn steps(&mut self) -> fmt::Result {
        for (name, help, of) in [
            (
                "drover_step_duration_seconds",
                "One step of a model's engine",
                (|model| &model.step_seconds) as fn(&Model) -> &Histogram,
            ),
            (
                "drover_model_load_seconds",
                "How long loads took",
                |model| &model.load_seconds,
            ),
        ] {
            let kind = MetricType::Histogram;
            let mut family = self.encoder.encode_descriptor(name, help, None, kind)?;
            for model in &self.models {
                let labels = labels(Names::Ours, model);
                of(model).encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }

    fn outcomes(&mut self) -> fmt::Result {
        for (names, name, help, key, outcomes) in [
            (
                Names::Ours,
                "drover_answers",
                "Answers by how they ended",
                "outcome",
                &Outcome::ALL[..],
            ),
            (
                Names::Theirs,
                "vllm:request_success",
                "Answers that did not fail, by how they ended",
                "finished_reason",
                &Outcome::ALL[..3],
            ),
        ] {
            let kind = MetricType::Counter;
            let mut family = self.encoder.encode_descriptor(name, help, None, kind)?;
            for model in &self.models {
                for &outcome in outcomes {
                    let mut labels = labels(names, model);
                    labels.push((key, outcome.name()));
                    let counter = ConstCounter::new(model.outcome(outcome).get());
                    counter.encode(family.encode_family(&labels)?)?;
                }
            }
        }
        Ok(())
    }

    /// The size of the KV cache in the format that the endpoint picker expects: here a block is one cell.
    fn cache_config(&mut self) -> fmt::Result {
        let (name, help) = ("vllm:cache_config_info", "The size of the KV cache");
        let kind = MetricType::Gauge;
        let mut family = self.encoder.encode_descriptor(name, help, None, kind)?;
        for model in &self.models {
            let n_cells = model.cells.get().to_string();
            let mut labels = labels(Names::Theirs, model);
            labels.push(("block_size", "1"));
            labels.push(("num_gpu_blocks", &n_cells));
            ConstGauge::new(1_u64).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}
