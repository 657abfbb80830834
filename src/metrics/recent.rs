//! The last lines of the log, for `/ui` and `drover top`.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

/// How many lines are kept, and how much of each.
const KEPT: usize = 200;
const LONGEST: usize = 600;

static LINES: Mutex<Lines> = Mutex::new(Lines {
    n_written: 0,
    last: VecDeque::new(),
});

struct Lines {
    n_written: u64,
    last: VecDeque<String>,
}

/// Adds a line.
pub fn push(line: &str) {
    let line = &line[..line.floor_char_boundary(LONGEST)];
    let mut lines = LINES.lock().unwrap_or_else(PoisonError::into_inner);
    if lines.last.len() == KEPT {
        lines.last.pop_front();
    }
    lines.last.push_back(line.to_owned());
    lines.n_written += 1;
}

/// The kept lines after the first `seen` ones, and how many there have been in total.
pub fn since(seen: u64) -> (Vec<String>, u64) {
    let lines = LINES.lock().unwrap_or_else(PoisonError::into_inner);
    let n_new = usize::try_from(lines.n_written.saturating_sub(seen)).unwrap_or(usize::MAX);
    let n_old = lines.last.len().saturating_sub(n_new);
    (
        lines.last.iter().skip(n_old).cloned().collect(),
        lines.n_written,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_new_lines_are_told_and_old_ones_go() {
        let (_, before) = since(0);
        push("one");
        push(&"é".repeat(LONGEST));
        let (lines, now) = since(before);
        assert_eq!((now - before, lines.len()), (2, 2));
        assert_eq!(lines[0], "one");
        assert!(lines[1].len() <= LONGEST);
        assert_eq!(since(now).0, [""; 0]);
        for n in 0..2 * KEPT {
            push(&n.to_string());
        }
        let (lines, _) = since(0);
        assert_eq!(lines.len(), KEPT);
        assert_eq!(lines.last().unwrap(), &(2 * KEPT - 1).to_string());
    }
}
