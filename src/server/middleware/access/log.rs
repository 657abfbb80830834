//! The log line of a request, and its span in a trace.

use std::net::IpAddr;
use std::time::Duration;

use axum::http::{HeaderValue, Method};

use crate::config::{Config, LogFormat};
use crate::metrics;
use crate::metrics::account::Facts;

/// Routes that monitors and browsers poll; they are only logged when something is wrong.
const QUIET: [&str; 7] = [
    "/",
    "/health",
    "/metrics",
    "/api/version",
    "/api/drover/events",
    "/ui",
    "/ui/{*file}",
];

/// A request that has ended.
#[derive(Debug)]
pub(super) struct Done {
    pub(super) id: HeaderValue,
    /// `None` = in process.
    pub(super) client: Option<IpAddr>,
    /// The trace that the request belongs to.
    pub(super) parent: Option<String>,
    pub(super) method: Method,
    /// The route as in the route table; `-` = none.
    pub(super) route: String,
    pub(super) path: String,
    pub(super) status: u16,
    pub(super) time: Duration,
    pub(super) end: End,
}

/// How an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Done,
    /// The model stopped, for this reason.
    Finished(&'static str),
    /// Refused; the status says why.
    Refused,
    Failed,
    /// Failed after the status was sent.
    Broken,
    /// The client left.
    Left,
}

impl End {
    fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Finished(finish) => finish,
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::Broken => "broken",
            Self::Left => "client_left",
        }
    }
}

/// Where requests are reported.
#[derive(Debug, Clone, Copy)]
pub(in crate::server::middleware) struct Log {
    format: LogFormat,
    /// Requests also go into traces (`telemetry`).
    traces: bool,
    /// Requests are also counted by key.
    by_key: bool,
}

impl Log {
    pub(in crate::server::middleware) fn new(config: &Config) -> Self {
        Self {
            format: config.log_format,
            traces: config.traces.is_some(),
            by_key: config.metrics_keys,
        }
    }

    pub(super) fn write(self, done: &Done, facts: &Facts) {
        if self.by_key && !facts.key.is_empty() {
            metrics::of_key(&facts.key, done.status, facts.n_prompt, facts.n_generated);
        }
        let is_quiet = done.status < 400 && QUIET.contains(&done.route.as_str());
        if is_quiet {
            if tracing::enabled!(tracing::Level::DEBUG) {
                self.tell(done, facts, true);
            }
            return;
        }
        self.tell(done, facts, false);
        if self.traces {
            trace(done, facts);
        }
    }

    fn tell(self, done: &Done, facts: &Facts, is_quiet: bool) {
        let Done {
            method,
            path,
            status,
            ..
        } = done;
        let mut words = format!("{method} {path} {status}");
        match (done.end, &facts.broken) {
            (End::Left, _) => words.push_str(", the client left early"),
            (End::Broken, Some(error)) => {
                words.push_str(", broke off: ");
                words.push_str(error);
            }
            _ => {}
        }
        let id = done.id.to_str().unwrap_or_default();
        let client = done.client.map(tracing::field::display);
        let key = (!facts.key.is_empty()).then_some(facts.key.as_str());
        let model = (!facts.model.is_empty()).then_some(facts.model.as_str());
        let tokens_in = some(facts.n_prompt);
        let tokens_cached = some(facts.n_cached);
        let tokens_out = some(facts.n_generated);
        // Times under a millisecond are not logged.
        let load_ms = Some(ms(facts.load)).filter(|&ms| ms >= 1.0);
        let queue_ms = Some(ms(facts.queue)).filter(|&ms| ms >= 1.0);
        let first_token_ms = facts.first_token.map(ms);
        let duration_ms = ms(done.time);
        let end = done.end.name();
        let trace = done.parent.as_deref();
        macro_rules! line {
            ($level:ident, $($field:tt)*) => {
                tracing::event!(
                    target: "drover::access", parent: None, tracing::Level::$level,
                    id, client, key, model, tokens_in, tokens_cached, tokens_out, load_ms, queue_ms,
                    first_token_ms, duration_ms, end, trace, $($field)* "{words}"
                )
            };
        }
        match (self.format, is_quiet) {
            (LogFormat::Text, false) => line!(INFO,),
            (LogFormat::Text, true) => line!(DEBUG,),
            // Programs that read JSON want each field by itself.
            (LogFormat::Json, false) => {
                line!(INFO, method = %method, path, route = done.route, status,);
            }
            (LogFormat::Json, true) => {
                line!(DEBUG, method = %method, path, route = done.route, status,);
            }
        }
    }
}

/// Passes a request to `telemetry`, which makes spans of it; adds no line to the log.
fn trace(done: &Done, facts: &Facts) {
    let error = facts.broken.as_deref();
    tracing::event!(
        target: "drover::trace",
        parent: None,
        tracing::Level::INFO,
        id = done.id.to_str().unwrap_or_default(),
        client = done.client.map(tracing::field::display),
        key = facts.key,
        parent = done.parent.as_deref(),
        method = %done.method,
        path = done.path,
        route = done.route,
        status = done.status,
        seconds = done.time.as_secs_f64(),
        model = facts.model,
        operation = facts.operation,
        n_prompt = facts.n_prompt,
        n_cached = facts.n_cached,
        n_generated = facts.n_generated,
        load_seconds = facts.load.as_secs_f64(),
        queue_seconds = facts.queue.as_secs_f64(),
        first_token_seconds = facts.first_token.map(|time| time.as_secs_f64()),
        finish = facts.finish,
        end = done.end.name(),
        error,
    );
}

/// `None` for zero.
fn some(n: u64) -> Option<u64> {
    (n > 0).then_some(n)
}

/// Milliseconds, to the microsecond.
fn ms(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}
