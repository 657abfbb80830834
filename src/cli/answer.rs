//! Shows one answer while it arrives: spinner, thinking, content, statistics.

use std::io;

use crate::api::ollama::Metrics;
use crate::chat::ToolCall;
use crate::cli::session::Session;
use crate::cli::ui::wrap::Wrapper;
use crate::cli::ui::{Spinner, Ui};
use crate::units;

const GREY: &str = "\x1b[38;5;245m";
const BOLD: &str = "\x1b[1m";
const RESET: &str = "\x1b[0m";

/// The answer on the screen.
#[derive(Debug)]
pub(super) struct AnswerView {
    ui: Ui,
    hide_thinking: bool,
    spinner: Option<Spinner>,
    word_wrap: bool,
    wrapper: Wrapper,
    /// Whether thinking is being shown; true = its text so far ends with a newline.
    thinking: Option<bool>,
    /// Some of the answer is on the screen.
    has_begun: bool,
}

impl AnswerView {
    /// Starts with a spinner.
    pub(super) fn new(ui: Ui, session: &Session) -> Self {
        Self {
            ui,
            word_wrap: session.word_wrap,
            hide_thinking: session.hide_thinking,
            spinner: Some(Spinner::start(ui, "")),
            wrapper: Wrapper::default(),
            thinking: None,
            has_begun: false,
        }
    }

    /// Shows the next piece of reasoning.
    pub(super) fn thinking(&mut self, text: &str) -> io::Result<()> {
        if text.is_empty() || self.hide_thinking {
            return Ok(());
        }
        self.spinner = None;
        if self.thinking.is_none() {
            self.ui.draw(opening(self.ui.colors_stdout()))?;
        }
        self.thinking = Some(text.ends_with('\n'));
        self.wrapped(text)
    }

    /// Shows the next piece of the answer.
    pub(super) fn content(&mut self, text: &str) -> io::Result<()> {
        if text.is_empty() {
            return Ok(());
        }
        self.end_thinking()?;
        self.wrapped(text)
    }

    /// Shows tool calls; the command line offers no tools.
    pub(super) fn tool_calls(&mut self, calls: &[ToolCall]) -> io::Result<()> {
        if calls.is_empty() {
            return Ok(());
        }
        self.end_thinking()?;
        let lines: String = calls.iter().map(tool_call).collect();
        self.ui.out(&lines)
    }

    /// Ends the answer with an empty line; also when it was interrupted.
    pub(super) fn finish(mut self) -> io::Result<()> {
        self.end()?;
        self.ui.out("\n\n")
    }

    /// Ends an answer that broke off, so that what follows starts on a new line.
    pub(super) fn fail(mut self) -> io::Result<()> {
        self.end()?;
        if self.has_begun {
            self.ui.out("\n")?;
        }
        Ok(())
    }

    fn end(&mut self) -> io::Result<()> {
        self.spinner = None;
        if self.thinking.is_some() && self.ui.colors_stdout() {
            self.ui.draw(RESET)?;
        }
        Ok(())
    }

    /// Writes text, wrapped for the width that the terminal has by now.
    fn wrapped(&mut self, text: &str) -> io::Result<()> {
        self.has_begun = true;
        if self.word_wrap {
            self.wrapper.set_width(self.ui.stdout_width());
        }
        let wrapped = self.wrapper.push(&self.ui.shown(text));
        self.ui.draw(&wrapped)
    }

    fn end_thinking(&mut self) -> io::Result<()> {
        self.spinner = None;
        let Some(ends_line) = self.thinking.take() else {
            return Ok(());
        };
        self.wrapper.reset();
        if !ends_line {
            self.ui.out("\n")?;
        }
        self.ui.draw(&closing(self.ui.colors_stdout()))
    }
}

fn opening(color: bool) -> &'static str {
    // Bold ends where the text begins; grey stays on.
    if color {
        "\x1b[38;5;245m\x1b[1mThinking...\x1b[22m\n"
    } else {
        "Thinking...\n"
    }
}

fn closing(color: bool) -> String {
    if color {
        format!("{GREY}{BOLD}...done thinking.{RESET}\n\n")
    } else {
        "...done thinking.\n\n".to_owned()
    }
}

fn tool_call(call: &ToolCall) -> String {
    let arguments = serde_json::to_string(&call.function.arguments).unwrap_or_default();
    let name = &call.function.name;
    format!("  Model called a non-existent function '{name}()' with arguments: {arguments}\n")
}

/// The note about a prompt that was cut.
pub(super) const CUT: &str = "note: the conversation is longer than the context, its oldest part was left out \
    (a larger num_ctx keeps more)";

/// The statistics of `--verbose`; counters that are zero are left out.
pub(super) fn statistics(metrics: &Metrics) -> String {
    let duration = |nanos: u64| {
        (nanos > 0).then(|| units::format_go_duration(i64::try_from(nanos).unwrap_or(i64::MAX)))
    };
    let count = |tokens: u64| (tokens > 0).then(|| format!("{tokens} token(s)"));
    let lines = [
        ("total duration:", duration(metrics.total_duration)),
        ("load duration:", duration(metrics.load_duration)),
        ("prompt eval count:", count(metrics.prompt_eval_count)),
        (
            "prompt eval duration:",
            duration(metrics.prompt_eval_duration),
        ),
        (
            "prompt eval rate:",
            rate(metrics.prompt_eval_count, metrics.prompt_eval_duration),
        ),
        ("eval count:", count(metrics.eval_count)),
        ("eval duration:", duration(metrics.eval_duration)),
        (
            "eval rate:",
            rate(metrics.eval_count, metrics.eval_duration),
        ),
    ];
    let known = lines
        .into_iter()
        .filter_map(|(label, value)| Some((label, value?)));
    known
        .map(|(label, value)| format!("{label:<22}{value}\n"))
        .collect()
}

#[expect(clippy::cast_precision_loss, reason = "two decimals are shown")]
fn rate(tokens: u64, nanos: u64) -> Option<String> {
    (nanos > 0).then(|| format!("{:.2} tokens/s", tokens as f64 / (nanos as f64 / 1e9)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_have_two_decimals() {
        assert_eq!(rate(298, 3_061_800_000), Some("97.33 tokens/s".to_owned()));
        assert_eq!(rate(298, 0), None);
    }

    #[test]
    fn zeros_are_left_out() {
        assert_eq!(statistics(&Metrics::default()), "");
        let metrics = Metrics {
            prompt_eval_count: 26,
            ..Metrics::default()
        };
        assert_eq!(statistics(&metrics), "prompt eval count:    26 token(s)\n");
    }

    #[test]
    fn statistics_are_aligned() {
        let metrics = Metrics {
            total_duration: 4_213_562_542,
            load_duration: 1_034_521_875,
            prompt_eval_count: 26,
            prompt_eval_cached_count: Some(2),
            prompt_eval_duration: 115_200_000,
            eval_count: 298,
            eval_duration: 3_061_800_000,
            prompt_truncated: false,
        };
        assert_eq!(
            statistics(&metrics),
            "\
total duration:       4.213562542s
load duration:        1.034521875s
prompt eval count:    26 token(s)
prompt eval duration: 115.2ms
prompt eval rate:     225.69 tokens/s
eval count:           298 token(s)
eval duration:        3.0618s
eval rate:            97.33 tokens/s
"
        );
    }

    #[test]
    fn unknown_tools_are_told() {
        let call: ToolCall =
            serde_json::from_str(r#"{"function":{"name":"f","arguments":{"a":1}}}"#).unwrap();
        assert_eq!(
            tool_call(&call),
            "  Model called a non-existent function 'f()' with arguments: {\"a\":1}\n"
        );
    }
}
