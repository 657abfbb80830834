//! Constraints that were compiled lately: agents send the same schema with every request.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use llguidance::Matcher;

use crate::protocol::Constraint;

/// Constraints that are kept.
const MOST: usize = 64;

/// Bytes of their texts together: compiled, they take about a hundred times as much.
const MOST_BYTES: usize = 1 << 20;

/// A constraint at its beginning. Its copies share what they find out about their texts, which makes
/// each of them quicker.
pub(super) struct Compiled {
    pub(super) matcher: Matcher,
    /// Set by a copy that has run into a limit, and with it into an error that all share.
    pub(super) spoilt: Arc<AtomicBool>,
}

impl Compiled {
    pub(super) fn new(matcher: Matcher) -> Self {
        Self {
            matcher,
            spoilt: Arc::new(AtomicBool::new(false)),
        }
    }
}

impl Clone for Compiled {
    fn clone(&self) -> Self {
        Self {
            matcher: self.matcher.clone(),
            spoilt: Arc::clone(&self.spoilt),
        }
    }
}

/// The least recently used one first.
#[derive(Default)]
pub(super) struct Recent {
    constraints: VecDeque<(Constraint, Compiled)>,
    n_bytes: usize,
}

impl Recent {
    pub(super) fn find(&mut self, constraint: &Constraint) -> Option<Compiled> {
        let index = self
            .constraints
            .iter()
            .position(|(known, _)| known == constraint)?;
        let found = self.constraints.remove(index)?;
        if found.1.spoilt.load(Ordering::Relaxed) {
            self.n_bytes -= n_bytes(constraint);
            return None;
        }
        let compiled = found.1.clone();
        self.constraints.push_back(found);
        Some(compiled)
    }

    pub(super) fn keep(&mut self, constraint: &Constraint, compiled: Compiled) {
        // Two may have been compiling the same.
        if self.find(constraint).is_some() {
            return;
        }
        self.n_bytes += n_bytes(constraint);
        self.constraints.push_back((constraint.clone(), compiled));
        while self.constraints.len() > MOST || self.n_bytes > MOST_BYTES {
            let Some((gone, _)) = self.constraints.pop_front() else {
                break;
            };
            self.n_bytes -= n_bytes(&gone);
        }
    }
}

fn n_bytes(constraint: &Constraint) -> usize {
    match constraint {
        Constraint::JsonObject => 0,
        Constraint::JsonSchema(text) | Constraint::Regex(text) | Constraint::Lark(text) => {
            text.len()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema(n_bytes: usize, letter: &str) -> Constraint {
        Constraint::JsonSchema(letter.repeat(n_bytes))
    }

    fn compiled() -> Compiled {
        Compiled::new(Matcher::new(Err(anyhow())))
    }

    fn anyhow() -> anyhow::Error {
        anyhow::anyhow!("none")
    }

    #[test]
    fn what_was_used_longest_ago_goes_first_and_what_is_spoilt_at_once() {
        let mut recent = Recent::default();
        let constraints = ["a", "b", "c"].map(|letter| schema(MOST_BYTES / 3, letter));
        for constraint in &constraints {
            recent.keep(constraint, compiled());
        }
        assert!(recent.find(&constraints[0]).is_some());
        recent.keep(&schema(MOST_BYTES / 3, "d"), compiled());
        let kept = constraints.each_ref().map(|c| recent.find(c).is_some());
        assert_eq!(kept, [true, false, true]);

        let copy = recent.find(&constraints[0]).unwrap();
        copy.spoilt.store(true, Ordering::Relaxed);
        assert!(recent.find(&constraints[0]).is_none());
        recent.keep(&constraints[0], compiled());
        assert!(recent.find(&constraints[0]).is_some());

        recent.keep(&schema(MOST_BYTES + 1, "e"), compiled());
        assert!(recent.constraints.is_empty() && recent.n_bytes == 0);
    }
}
