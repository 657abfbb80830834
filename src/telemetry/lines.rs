//! One event, one line: everything that is logged passes through here.
//!
//! Names of models, errors of registries, lines of runners and paths of requests are untrusted. Nothing in them can
//! start a new line or send control sequences to a terminal.

use std::borrow::Cow;
use std::io::{self, Write};

use serde_json::Value;
use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;

use crate::metrics::recent;
use crate::plain;

/// The most bytes of a line: clients' texts can be long.
const LONGEST: usize = 32 << 10;

/// The most bytes of a value in a JSON line that would otherwise be too long.
const LONGEST_VALUE: usize = 2 << 10;

/// The escape sequences of the log's own colours. Untrusted text may contain them, too: they are harmless.
const STYLES: [&str; 9] = [
    "\x1b[0m", "\x1b[1m", "\x1b[2m", "\x1b[3m", "\x1b[31m", "\x1b[32m", "\x1b[33m", "\x1b[34m",
    "\x1b[35m",
];

/// Where lines go.
#[derive(Debug)]
pub(super) struct Log<F> {
    pub(super) open: F,
    /// The journal sorts lines by the priority in front of them (`sd-daemon(3)`).
    pub(super) to_journal: bool,
    /// Whether lines are JSON, which has to stay valid.
    pub(super) is_json: bool,
}

impl<'a, W: Write, F: Fn() -> W> MakeWriter<'a> for Log<F> {
    type Writer = Lines<W>;

    fn make_writer(&'a self) -> Self::Writer {
        Lines {
            out: (self.open)(),
            priority: "",
            is_json: self.is_json,
        }
    }

    fn make_writer_for(&'a self, event: &Metadata<'_>) -> Self::Writer {
        let priority = match *event.level() {
            _ if !self.to_journal => "",
            Level::ERROR => "<3>",
            Level::WARN => "<4>",
            Level::INFO => "<6>",
            _ => "<7>",
        };
        Lines {
            out: (self.open)(),
            priority,
            is_json: self.is_json,
        }
    }
}

/// Writes each event as one line.
#[derive(Debug)]
pub(super) struct Lines<W> {
    out: W,
    priority: &'static str,
    is_json: bool,
}

impl<W: Write> Write for Lines<W> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        let text = text.strip_suffix('\n').unwrap_or(&text);
        if self.is_json {
            let line = object(text);
            recent::push(&line);
            let line = format!("{}{line}\n", self.priority);
            self.out.write_all(line.as_bytes())?;
            return Ok(event.len());
        }
        let shown = &text[..text.floor_char_boundary(LONGEST)];
        let mut line = self.priority.to_owned();
        line.push_str(&styled(&plain::redacted(shown)));
        if shown.len() < text.len() {
            line.push('…');
        }
        recent::push(&bare(&line[self.priority.len()..]));
        line.push('\n');
        self.out.write_all(line.as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// A line without our own colours.
fn bare(line: &str) -> Cow<'_, str> {
    if !line.contains('\x1b') {
        return Cow::Borrowed(line);
    }
    let bare = STYLES
        .iter()
        .fold(line.to_owned(), |line, style| line.replace(style, ""));
    Cow::Owned(bare)
}

/// A JSON line, shortened to the allowed length.
fn object(text: &str) -> String {
    let text = plain::redacted(text);
    let text = plain::json(&text);
    if text.len() <= LONGEST {
        return text.into_owned();
    }
    let Ok(mut event) = serde_json::from_str::<serde_json::Map<String, Value>>(&text) else {
        return r#"{"level":"ERROR","message":"a line of the log could not be written"}"#
            .to_owned();
    };
    for value in event.values_mut() {
        if let Value::String(text) = value {
            let end = text.floor_char_boundary(LONGEST_VALUE);
            if end < text.len() {
                text.truncate(end);
                text.push('…');
            }
        }
    }
    plain::json(&Value::Object(event).to_string()).into_owned()
}

/// A line in which only our own escape sequences are kept.
fn styled(text: &str) -> String {
    let mut line = String::with_capacity(text.len() + 2);
    let mut rest = text;
    while let Some(at) = rest.find('\x1b') {
        let (before, sequence) = rest.split_at(at);
        line.push_str(&plain::line(before));
        let style = STYLES.iter().find(|style| sequence.starts_with(**style));
        let (begin, after) = sequence.split_at(style.map_or(1, |style| style.len()));
        match style {
            Some(style) => line.push_str(style),
            None => line.push_str(&plain::line(begin)),
        }
        rest = after;
    }
    line.push_str(&plain::line(rest));
    line
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl Write for Page {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What the log contains after this was logged.
    fn logged(is_terminal: bool, log: impl FnOnce()) -> String {
        logged_to(
            Where {
                is_terminal,
                ..Where::default()
            },
            log,
        )
    }

    #[derive(Default)]
    struct Where {
        is_terminal: bool,
        to_journal: bool,
    }

    fn logged_to(place: Where, log: impl FnOnce()) -> String {
        let page = Page::default();
        let writer = page.clone();
        let layer = tracing_subscriber::fmt::layer()
            .with_writer(Log {
                open: move || writer.clone(),
                to_journal: place.to_journal,
                is_json: false,
            })
            .with_ansi(place.is_terminal)
            .without_time();
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), log);
        let bytes = page.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_stranger_writes_no_line_and_no_command() {
        let name = "x\n INFO forged\r\u{1b}[2J\u{1b}]52;c;aGk=\u{7}\u{9b}31m\u{202e}\0";
        for is_terminal in [true, false] {
            let text = logged(is_terminal, || {
                let span = tracing::info_span!("request", name);
                let _entered = span.enter();
                let error = io::Error::other(name);
                tracing::warn!(%name, other = name, ?error, "about {name}");
            });
            let mut inside = text.strip_suffix('\n').unwrap().to_owned();
            for style in STYLES {
                inside = inside.replace(style, "");
            }
            let is_odd = |c: char| c.is_control() || c == '\u{202e}';
            assert!(!inside.contains(is_odd), "{text:?}");
        }
    }

    #[test]
    fn json_stays_json_whatever_a_stranger_says() {
        let page = Page::default();
        let writer = page.clone();
        let layer = tracing_subscriber::fmt::layer()
            .json()
            .flatten_event(true)
            .with_writer(Log {
                open: move || writer.clone(),
                to_journal: false,
                is_json: true,
            });
        let name = "x\n\u{1b}[2J\u{9b}31m\u{202e}\"}";
        let long = "y".repeat(2 * LONGEST);
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            tracing::warn!(name, "about {name}");
            tracing::warn!(name = long, "long");
        });
        let text = String::from_utf8(page.0.lock().unwrap().clone()).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 2, "{text:?}");
        assert!(!lines[0].contains(|c: char| c.is_control() || c == '\u{202e}'));
        let event: Value = serde_json::from_str(lines[0]).unwrap();
        assert_eq!(
            (&event["name"], &event["level"]),
            (&name.into(), &"WARN".into())
        );
        let event: Value = serde_json::from_str(lines[1]).unwrap();
        assert_eq!(event["message"], "long");
        assert!(lines[1].len() < LONGEST);
    }

    #[test]
    fn the_journal_learns_the_priority() {
        let journal = Where {
            to_journal: true,
            ..Where::default()
        };
        let text = logged_to(journal, || {
            tracing::error!("a");
            tracing::warn!("b\n<0>c");
            tracing::info!("d");
            tracing::debug!("e");
        });
        let priorities: Vec<&str> = text.lines().map(|line| &line[..3]).collect();
        assert_eq!(priorities, ["<3>", "<4>", "<6>", "<7>"], "{text}");
        assert!(logged(false, || tracing::warn!("b")).starts_with(" WARN"));
    }

    #[test]
    fn colours_are_ours() {
        for (level, colour) in [("ERROR", 31), ("WARN", 33), ("INFO", 32)] {
            let text = logged(true, || match level {
                "ERROR" => tracing::error!(a = 1, "hello"),
                "WARN" => tracing::warn!(a = 1, "hello"),
                _ => tracing::info!(a = 1, "hello"),
            });
            assert!(text.contains(&format!("\x1b[{colour}m")), "{text:?}");
            assert!(!text.contains("u{1b}"), "{text:?}");
        }
    }

    #[test]
    fn passwords_stay_out_and_lines_end() {
        let long = "x".repeat(2 * LONGEST);
        let text = logged(false, || tracing::info!("{long}"));
        assert!(text.ends_with("…\n") && text.len() < LONGEST + 10);
        let text = logged(false, || {
            tracing::info!(mirror = "https://me:pw@host/v2", "asked");
        });
        assert!(text.contains("https://***@host/v2"), "{text}");
    }
}
