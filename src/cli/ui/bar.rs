//! The texts of a transfer's bar: bytes, rate, time left. All of them have fixed widths.

use std::fmt::Write as _;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use super::status_line;
use crate::units;

const TEMPLATE: &str = "{msg} {percent:>3}% ▕{wide_bar}▏ {tail}";

/// Returns a bar that is not drawn yet.
pub(super) fn new_bar(message: &str, total: u64) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::hidden());
    bar.set_style(style());
    bar.set_message(status_line(message));
    bar
}

fn style() -> ProgressStyle {
    let style = ProgressStyle::with_template(TEMPLATE);
    style
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("█ ")
        .with_key(
            "tail",
            |state: &ProgressState, out: &mut dyn std::fmt::Write| {
                let total = state.len().unwrap_or(0);
                let text = if state.is_finished() || state.pos() >= total {
                    finished_tail(total)
                } else {
                    running_tail(state.pos(), total, state.per_sec(), state.eta())
                };
                // A transfer does not fail because its bar cannot be drawn.
                let _ = out.write_str(&text);
            },
        )
}

/// `1.2 GB/4.7 GB   58 MB/s     58s`, 31 columns.
fn running_tail(current: u64, total: u64, per_second: f64, left: Duration) -> String {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a float to integer cast saturates, and half a byte is nothing"
    )]
    let rate = per_second as u64;
    let mut text = format!("{}/{}", bytes(current), bytes(total));
    let eta = if rate == 0 {
        String::new()
    } else {
        format_eta(left)
    };
    let rate = if rate == 0 {
        String::new()
    } else {
        format!("{}/s", bytes(rate))
    };
    // Writing to a string does not fail.
    let _ = write!(text, "  {rate:>8}  {eta:>6}");
    text
}

fn finished_tail(total: u64) -> String {
    format!("{:<31}", bytes(total))
}

fn bytes(count: u64) -> String {
    format!("{:>6}", units::format_bytes(count))
}

/// `58s`, `2m5s`, `1h30m`, `99h+`.
fn format_eta(left: Duration) -> String {
    let seconds = left.as_secs();
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    match (hours, minutes) {
        (100.., _) => "99h+".to_owned(),
        (1.., _) => format!("{hours}h{minutes}m"),
        (0, 1..) => format!("{minutes}m{}s", seconds % 60),
        (0, 0) => format!("{seconds}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_left_is_short() {
        for (seconds, expected) in [
            (0, "0s"),
            (58, "58s"),
            (125, "2m5s"),
            (5400, "1h30m"),
            (400_000, "99h+"),
        ] {
            assert_eq!(format_eta(Duration::from_secs(seconds)), expected);
        }
    }

    #[test]
    fn tails_have_the_same_width() {
        let second = Duration::from_secs(58);
        let running = running_tail(1_200_000_000, 4_700_000_000, 58e6, second);
        assert_eq!(running, "1.2 GB/4.7 GB   58 MB/s     58s");
        assert_eq!(running_tail(1, 4_700_000_000, 0.0, second).len(), 31);
        assert_eq!(
            finished_tail(4_700_000_000),
            format!("4.7 GB{}", " ".repeat(25))
        );
    }
}
