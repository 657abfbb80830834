//! `GET /api/drover/events`: the state of the daemon as server-sent events, one per second.
//!
//! Each reader has its own stream, which samples the daemon's state when it is read; without readers it costs nothing.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use futures_util::stream;
use jiff::Timestamp;

use crate::api::drover::{BatchState, DaemonState, Device, ModelState, RequestState};
use crate::error::RequestError;
use crate::jobs::{Batch, BatchPage, Origin as Api};
use crate::keys::Seen;
use crate::metrics::account::{Account, Facts};
use crate::metrics::{self, Numbers, recent};
use crate::scheduler::LoadedModel;
use crate::server::access::Access;
use crate::server::error::OllamaError;
use crate::server::gate::Pass;
use crate::server::origin::Origin;
use crate::server::state::App;
use crate::server::stream::{SSE, event, streamed};

/// How often a state is sent.
const EVERY: Duration = Duration::from_secs(1);

/// The name of the events.
const STATE: &str = "state";

/// How many of the newest batch jobs of each API are shown, and how often they are looked up.
const BATCHES: usize = 5;
const BATCHES_EVERY: u32 = 5;

/// The most requests that are shown.
const REQUESTS: usize = 100;

pub(super) async fn events(
    State(app): State<App>,
    access: Access,
    origin: Origin,
) -> Result<Response, OllamaError> {
    let pass = app.gates.watchers.enter(origin).await?;
    let cut_off = app.cut_off.clone();
    let watcher = Watcher::new(app, access, pass);
    let frames = stream::unfold(watcher, |mut watcher| async move {
        let state = watcher.next().await;
        Some((Ok::<_, RequestError>(event(Some(STATE), &state)), watcher))
    });
    let mut response = streamed(SSE, frames, &cut_off);
    let no_cache = HeaderValue::from_static("no-cache");
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, no_cache);
    Ok(response)
}

/// What one reader has seen.
struct Watcher {
    app: App,
    /// Readers without full access see neither other clients nor the log, and only their own jobs.
    access: Access,
    clock: tokio::time::Interval,
    n_ticks: u32,
    last: Option<(Instant, HashMap<String, Numbers>)>,
    n_lines: u64,
    batches: Vec<BatchState>,
    _pass: Pass,
}

impl Watcher {
    fn new(app: App, access: Access, pass: Pass) -> Self {
        let mut clock = tokio::time::interval(EVERY);
        clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        Self {
            app,
            access,
            clock,
            n_ticks: 0,
            last: None,
            n_lines: 0,
            batches: Vec::new(),
            _pass: pass,
        }
    }

    async fn next(&mut self) -> DaemonState {
        self.clock.tick().await;
        if self.n_ticks.is_multiple_of(BATCHES_EVERY) {
            self.batches = batches(&self.app, &self.access.seen()).await;
        }
        self.n_ticks = self.n_ticks.wrapping_add(1);
        let loaded = self.app.scheduler.loaded().await;
        let machine = self.app.scheduler.machine().await;
        let mut devices = vec![Device {
            name: "RAM".to_owned(),
            description: "main memory".to_owned(),
            is_gpu: false,
            total_bytes: machine.system_total_bytes,
            free_bytes: machine.system_available_bytes,
        }];
        devices.extend(machine.gpus.into_iter().map(|gpu| Device {
            name: gpu.name,
            description: gpu.description,
            is_gpu: true,
            total_bytes: gpu.total_bytes,
            free_bytes: gpu.free_bytes,
        }));
        DaemonState {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            time: Timestamp::now(),
            uptime: self.app.started.elapsed().as_secs_f64(),
            devices,
            models: self.models(loaded),
            requests: self.requests(),
            batches: self.batches.clone(),
            log: self.log(),
        }
    }

    fn models(&mut self, loaded: Vec<LoadedModel>) -> Vec<ModelState> {
        let now = Instant::now();
        let numbers = metrics::numbers().into_iter();
        let numbers: HashMap<String, Numbers> = numbers.map(|of| (of.name.clone(), of)).collect();
        let last = self.last.take();
        let seconds = last
            .as_ref()
            .map(|(at, _)| now.duration_since(*at).as_secs_f64());
        let mut models: Vec<ModelState> = loaded.into_iter().map(state).collect();
        for of in numbers.values() {
            let is_known = models.iter().any(|model| model.name == of.name);
            if !is_known && of.n_awaiting > 0 {
                models.push(ModelState {
                    name: of.name.clone(),
                    ..ModelState::default()
                });
            }
        }
        for model in &mut models {
            if let Some(of) = numbers.get(&model.name) {
                let before = last.as_ref().and_then(|(_, last)| last.get(&model.name));
                add(model, of, before.zip(seconds));
            }
        }
        self.last = Some((now, numbers));
        models
    }

    fn requests(&self) -> Vec<RequestState> {
        let accounts = Account::live();
        let of = |account: &std::sync::Arc<Account>| {
            let facts = account.facts();
            let is_for_model = !facts.operation.is_empty();
            is_for_model.then(|| RequestState {
                id: account.id.clone(),
                route: account.route.clone(),
                client: if self.access.sees_all() {
                    client(account, &facts)
                } else {
                    String::new()
                },
                phase: phase(&facts).to_owned(),
                n_prompt: facts.n_prompt,
                n_generated: facts.n_generated + facts.n_now,
                model: facts.model,
                seconds: account.started.elapsed().as_secs_f64(),
            })
        };
        accounts.iter().filter_map(of).take(REQUESTS).collect()
    }

    fn log(&mut self) -> Vec<String> {
        if !self.access.sees_all() {
            return Vec::new();
        }
        let (lines, n_lines) = recent::since(self.n_lines);
        self.n_lines = n_lines;
        lines
    }
}

/// The client: the name of its key, and its address.
fn client(account: &Account, facts: &Facts) -> String {
    match facts.key.as_str() {
        "" => account.client.clone(),
        key => format!("{key} ({})", account.client),
    }
}

fn phase(facts: &Facts) -> &'static str {
    if facts.first_token.is_some() {
        "generating"
    } else if facts.is_loaded {
        "waiting"
    } else {
        "loading"
    }
}

fn state(loaded: LoadedModel) -> ModelState {
    ModelState {
        name: loaded.name.short(),
        is_loaded: true,
        is_going: loaded.is_going,
        size_bytes: loaded.info.size_bytes,
        vram_bytes: loaded.info.vram_bytes,
        gpus: loaded.info.gpus,
        context_length: loaded.context_length,
        expires_at: loaded.expires_at,
        n_slots: loaded.info.n_slots,
        ..ModelState::default()
    }
}

/// Adds a model's numbers; `before` = those of the last event, and the seconds since.
fn add(model: &mut ModelState, of: &Numbers, before: Option<(&Numbers, f64)>) {
    model.n_running = of.n_running;
    model.n_waiting = of.n_waiting;
    model.n_awaiting = of.n_awaiting;
    model.cells = of.cells;
    model.cells_used = of.cells_used;
    model.cells_kept = of.cells_kept;
    let Some((before, seconds)) = before.filter(|(_, seconds)| *seconds > 0.0) else {
        return;
    };
    #[expect(clippy::cast_precision_loss, reason = "a rate")]
    let rate = |now: u64, before: u64| now.saturating_sub(before) as f64 / seconds;
    model.prompt_rate = rate(of.n_prompt, before.n_prompt);
    model.generated_rate = rate(of.n_generated, before.n_generated);
    let average = |now: (u64, u64), before: (u64, u64)| {
        let n = now.1.checked_sub(before.1).filter(|n| *n > 0)?;
        #[expect(clippy::cast_precision_loss, reason = "an average")]
        let nanos = now.0.saturating_sub(before.0) as f64 / n as f64;
        Some(nanos / 1e9)
    };
    model.first_token = average(of.first_token, before.first_token);
    model.between_tokens = average(of.between_tokens, before.between_tokens);
}

async fn batches(app: &App, seen: &Seen) -> Vec<BatchState> {
    let mut all = Vec::new();
    for api in [Api::OpenAi, Api::Anthropic] {
        let jobs = &app.jobs.batches;
        let newest = BatchPage {
            limit: BATCHES,
            ..BatchPage::default()
        };
        let listed = jobs.list(api, seen, newest).await;
        // A database error is reported to clients that use batch jobs; here the list stays empty.
        let (batches, _) = listed.unwrap_or_default();
        all.extend(batches.into_iter().map(batch_state));
    }
    all
}

/// A job as the page shows it.
pub(in crate::server) fn batch_state(batch: Batch) -> BatchState {
    BatchState {
        id: batch.id,
        model: batch.model.unwrap_or_default(),
        status: batch.status.word().to_owned(),
        total: batch.counts.total,
        completed: batch.counts.completed,
        failed: batch.counts.failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_those_since_the_last_event() {
        let before = Numbers {
            n_generated: 100,
            first_token: (5_000_000_000, 5),
            ..Numbers::default()
        };
        let now = Numbers {
            n_generated: 140,
            n_running: 2,
            first_token: (7_000_000_000, 9),
            between_tokens: (0, 0),
            ..Numbers::default()
        };
        let mut model = ModelState::default();
        add(&mut model, &now, Some((&before, 2.0)));
        assert_eq!((model.generated_rate, model.n_running), (20.0, 2));
        assert_eq!((model.first_token, model.between_tokens), (Some(0.5), None));
        let mut first = ModelState::default();
        add(&mut first, &now, None);
        assert_eq!((first.generated_rate, first.n_running), (0.0, 2));
    }

    #[test]
    fn a_request_says_where_it_is() {
        let mut facts = Facts::default();
        assert_eq!(phase(&facts), "loading");
        facts.is_loaded = true;
        assert_eq!(phase(&facts), "waiting");
        facts.first_token = Some(Duration::from_millis(1));
        assert_eq!(phase(&facts), "generating");
    }
}
