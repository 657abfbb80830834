//! Caches recently compiled constraints: agents send the same schema with every request.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use llguidance::Matcher;
use quick_cache::Weighter;
use quick_cache::unsync::Cache;

use crate::protocol::Constraint;

/// Most bytes of the texts of all cached constraints: compiled, they take about a hundred times as much.
const MOST_BYTES: usize = 1 << 20;

/// The fewest bytes that a constraint counts as.
const LEAST_BYTES: usize = 16 << 10;

/// A compiled constraint in its initial state. Its copies share what they compute lazily, which makes all of
/// them faster.
pub(super) struct Compiled {
    pub(super) matcher: Matcher,
    /// Set by a copy that has run into a limit, which leaves all copies in an error state.
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

/// The cached constraints.
pub(super) struct Recent(Mutex<Cache<Constraint, Compiled, Weight>>);

#[derive(Clone)]
struct Weight;

impl Weighter<Constraint, Compiled> for Weight {
    fn weight(&self, constraint: &Constraint, _: &Compiled) -> u64 {
        let n_bytes = match constraint {
            Constraint::JsonObject => 0,
            Constraint::JsonSchema(text) | Constraint::Regex(text) | Constraint::Lark(text) => {
                text.len()
            }
        };
        n_bytes.max(LEAST_BYTES) as u64
    }
}

impl Default for Recent {
    fn default() -> Self {
        let n_most = MOST_BYTES / LEAST_BYTES;
        Self(Mutex::new(Cache::with_weighter(
            n_most,
            MOST_BYTES as u64,
            Weight,
        )))
    }
}

impl Recent {
    pub(super) fn find(&self, constraint: &Constraint) -> Option<Compiled> {
        let mut cache = self.lock();
        let found = cache.get(constraint)?.clone();
        if found.spoilt.load(Ordering::Relaxed) {
            cache.remove(constraint);
            return None;
        }
        Some(found)
    }

    pub(super) fn keep(&self, constraint: &Constraint, compiled: Compiled) {
        self.lock().insert(constraint.clone(), compiled);
    }

    fn lock(&self) -> MutexGuard<'_, Cache<Constraint, Compiled, Weight>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema(n_bytes: usize, letter: &str) -> Constraint {
        Constraint::JsonSchema(letter.repeat(n_bytes))
    }

    fn compiled() -> Compiled {
        Compiled::new(Matcher::new(Err(anyhow::anyhow!("none"))))
    }

    #[test]
    fn what_is_kept_has_a_bound() {
        let recent = Recent::default();
        for n_bytes in 0..1000 {
            let constraint = schema(n_bytes, "a");
            recent.keep(&constraint, compiled());
            assert!(recent.find(&constraint).is_some());
        }
        let cache = recent.lock();
        assert!(cache.len() <= MOST_BYTES / LEAST_BYTES);
        assert!(cache.weight() <= MOST_BYTES as u64);
        drop(cache);
        let large = schema(MOST_BYTES + 1, "e");
        recent.keep(&large, compiled());
        assert!(recent.find(&large).is_none());
    }

    #[test]
    fn what_is_spoilt_is_compiled_anew() {
        let recent = Recent::default();
        recent.keep(&schema(1, "a"), compiled());
        let copy = recent.find(&schema(1, "a")).unwrap();
        copy.spoilt.store(true, Ordering::Relaxed);
        assert!(recent.find(&schema(1, "a")).is_none());
        recent.keep(&schema(1, "a"), compiled());
        assert!(recent.find(&schema(1, "a")).is_some());
    }
}
