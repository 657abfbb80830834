//! The log, to standard error, in a format for a terminal, the journal or a program; and traces, to a collector.

mod lines;
mod traces;

use std::io::{self, IsTerminal as _};

use tracing::Metadata;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::{Targets, filter_fn};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::config::{Config, LogFormat, Warning};
use lines::Log;
use traces::Exported;

/// The log and the traces, until it is dropped; then the last traces are sent.
#[derive(Debug)]
pub struct Telemetry {
    _traces: Option<Exported>,
}

/// Installs the log, and traces if they are configured; a second call changes nothing. `journal` is the value of
/// `JOURNAL_STREAM`.
pub fn init(config: &Config, journal: Option<&str>) -> Telemetry {
    let to_journal = journal.is_some_and(is_stderr);
    let is_json = config.log_format == LogFormat::Json;
    let layer = tracing_subscriber::fmt::layer().with_writer(Log {
        open: io::stderr,
        to_journal,
        is_json,
    });
    let with_target = config.debug_level > 0;
    let layer = if is_json {
        // Programs need the time, wherever the log is stored.
        layer
            .json()
            .flatten_event(true)
            .with_target(with_target)
            .boxed()
    } else {
        let layer = layer
            .with_ansi(io::stderr().is_terminal())
            .with_target(with_target);
        if to_journal {
            // The journal has its own clock.
            layer.without_time().boxed()
        } else {
            layer.boxed()
        }
    };
    let exported = config.traces.map(Exported::new);
    let (spans, failure) = match &exported {
        Some(Ok(exported)) => (Some(exported.layer()), None),
        Some(Err(error)) => (None, Some(error.to_string())),
        None => (None, None),
    };
    // This only fails if a log is already installed.
    let _ = tracing_subscriber::registry()
        .with(filter(config.debug_level))
        .with(layer.with_filter(filter_fn(|event| !is_trace(event))))
        .with(spans.with_filter(filter_fn(is_trace)))
        .try_init();
    if let Some(error) = failure {
        tracing::warn!(%error, "there are no traces");
    }
    Telemetry {
        _traces: exported.and_then(Result::ok),
    }
}

/// Whether an event is for traces only.
fn is_trace(event: &Metadata<'_>) -> bool {
    event.target() == traces::TARGET
}

/// Logs the settings that the daemon was started with.
pub fn settings(given: &[(&'static str, String)]) {
    let list: Vec<String> = given
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    match list.is_empty() {
        true => tracing::info!("settings: all are the defaults"),
        false => tracing::info!("settings: {}", list.join(" ")),
    }
}

/// Logs warnings about the environment.
pub fn report(warnings: &[Warning]) {
    for warning in warnings {
        let Warning {
            variable,
            value,
            default,
        } = warning;
        match default.strip_prefix("no effect: ") {
            Some(reason) => tracing::warn!(%variable, value, reason, "{variable} has no effect"),
            None => tracing::warn!(
                %variable,
                value,
                default,
                "invalid environment variable, using default"
            ),
        }
    }
}

/// Our own lines at the configured level; from the libraries only important ones.
fn filter(debug_level: u8) -> Targets {
    let (ours, theirs) = match debug_level {
        0 => (LevelFilter::INFO, LevelFilter::WARN),
        1 => (LevelFilter::DEBUG, LevelFilter::WARN),
        _ => (LevelFilter::TRACE, LevelFilter::DEBUG),
    };
    Targets::new()
        .with_default(theirs)
        .with_target(env!("CARGO_CRATE_NAME"), ours)
}

/// Whether standard error is the stream that systemd connected to the journal: `device:inode`.
fn is_stderr(journal: &str) -> bool {
    let Some((device, inode)) = journal.split_once(':') else {
        return false;
    };
    rustix::fs::fstat(io::stderr())
        .is_ok_and(|found| device.parse() == Ok(found.st_dev) && inode.parse() == Ok(found.st_ino))
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    #[test]
    fn levels_follow_ollama_debug() {
        for (level, ours, theirs) in [
            (0, Level::INFO, Level::WARN),
            (1, Level::DEBUG, Level::WARN),
            (2, Level::TRACE, Level::DEBUG),
        ] {
            let filter = filter(level);
            assert!(filter.would_enable("drover::server", &ours));
            assert!(filter.would_enable("hyper", &theirs));
            assert!(!filter.would_enable("hyper", &Level::TRACE));
        }
        assert!(!filter(0).would_enable("drover::server", &Level::DEBUG));
    }

    #[test]
    fn the_journal_is_recognised_by_its_stream() {
        let found = rustix::fs::fstat(io::stderr()).unwrap();
        assert!(is_stderr(&format!("{}:{}", found.st_dev, found.st_ino)));
        assert!(!is_stderr(&format!(
            "{}:{}",
            found.st_dev,
            found.st_ino + 1
        )));
        assert!(!is_stderr("") && !is_stderr("x:y"));
    }
}
