//! Tracks how long a runner's requests take, to estimate how long others will wait.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::protocol::Finished;

/// How much the last request counts.
const WEIGHT: f64 = 0.2;

/// A moving average in milliseconds; 0 = nothing is known.
#[derive(Debug, Default)]
pub(super) struct Pace(AtomicU32);

impl Pace {
    /// A request has ended. Only the runner's task calls this.
    pub(super) fn note(&self, finished: &Finished) {
        let took = finished.prompt_ms + finished.generate_ms;
        let mean = match self.0.load(Ordering::Relaxed) {
            0 => took,
            before => f64::from(before) * (1.0 - WEIGHT) + took * WEIGHT,
        };
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "clamped"
        )]
        let mean = mean.clamp(1.0, f64::from(u32::MAX)) as u32;
        self.0.store(mean, Ordering::Relaxed);
    }

    /// How long a request waits with `n_before` ahead of it, from how often a slot becomes free on average.
    pub(super) fn wait(&self, n_before: u32, n_slots: u32) -> Option<Duration> {
        let mean = u64::from(self.0.load(Ordering::Relaxed));
        let ms = mean * (u64::from(n_before) + 1) / u64::from(n_slots.max(1));
        (mean > 0).then(|| Duration::from_millis(ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::FinishReason;

    fn finished(ms: f64) -> Finished {
        Finished {
            reason: FinishReason::Stop,
            n_prompt: 1,
            n_cached: 0,
            n_generated: 1,
            n_drafted: 0,
            n_accepted: 0,
            queue_ms: 1e6,
            prompt_ms: ms / 4.0,
            generate_ms: ms * 3.0 / 4.0,
        }
    }

    #[test]
    fn a_wait_is_a_share_of_what_requests_take() {
        let pace = Pace::default();
        assert_eq!(pace.wait(5, 1), None);
        pace.note(&finished(1000.0));
        assert_eq!(pace.wait(0, 1), Some(Duration::from_secs(1)));
        assert_eq!(pace.wait(7, 4), Some(Duration::from_secs(2)));
        pace.note(&finished(2000.0));
        assert_eq!(pace.wait(0, 1), Some(Duration::from_millis(1200)));
        assert_eq!(pace.wait(0, 0), Some(Duration::from_millis(1200)));
    }
}
