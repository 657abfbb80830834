//! The log: to standard error, in a form that a terminal or the journal shows well.

mod lines;

use std::io::{self, IsTerminal as _};

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::config::Warning;
use lines::Log;

/// Installs the log once; a second call changes nothing. `debug_level` is `OLLAMA_DEBUG`'s,
/// `journal` the value of `JOURNAL_STREAM`.
pub fn init(debug_level: u8, journal: Option<&str>) {
    let to_journal = journal.is_some_and(is_stderr);
    let layer = tracing_subscriber::fmt::layer()
        .with_writer(Log {
            open: io::stderr,
            to_journal,
        })
        .with_ansi(io::stderr().is_terminal())
        .with_target(debug_level > 0);
    let registry = tracing_subscriber::registry().with(filter(debug_level));
    // The only way to fail is that a log is installed already.
    let _ = if to_journal {
        // The journal has its own clock.
        registry.with(layer.without_time()).try_init()
    } else {
        registry.with(layer).try_init()
    };
}

/// Tells what was odd about the environment.
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

/// Our own lines at the wished level; of the libraries only what matters.
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
