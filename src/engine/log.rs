//! The runner's log: one line per event on standard error, a level letter in front (`E `, `W `, `I `, `D
//! `), which the daemon copies to its own log.

use std::fmt;
use std::panic::PanicHookInfo;

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::FmtContext;
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::registry::LookupSpan;

/// Writes the log and panic messages to standard error.
pub(super) fn install() {
    // An existing subscriber is kept.
    let _ = tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_max_level(Level::DEBUG)
        .event_format(Lines)
        .try_init();
    std::panic::set_hook(Box::new(|panic| tracing::error!("{}", words(panic))));
}

/// A panic on one line, so that the daemon can quote it.
fn words(panic: &PanicHookInfo<'_>) -> String {
    let payload = panic.payload();
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    let text = text.unwrap_or("without words").replace('\n', " ");
    match panic.location() {
        Some(place) => format!("panic at {place}: {text}"),
        None => format!("panic: {text}"),
    }
}

/// `LEVEL message field=value`.
struct Lines;

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let letter = match *event.metadata().level() {
            Level::ERROR => 'E',
            Level::WARN => 'W',
            Level::INFO => 'I',
            _ => 'D',
        };
        write!(writer, "{letter} ")?;
        context.format_fields(writer.by_ref(), event)?;
        writeln!(writer)
    }
}
