//! When to retry.

use std::time::Duration;

use super::RegistryError;

/// The number of consecutive failures before giving up.
const ATTEMPTS: u32 = 6;

/// The factor between delays: 0.2, 0.6, 1.8, 5.4, 16 seconds.
const GROWTH: u32 = 3;

/// Counts consecutive failures.
#[derive(Debug)]
pub(super) struct Retry {
    first_delay: Duration,
    n_attempts: u32,
    n_failed: u32,
    furthest: u64,
}

impl Retry {
    pub(super) fn new(first_delay: Duration) -> Self {
        Self {
            first_delay,
            n_attempts: ATTEMPTS,
            n_failed: 0,
            furthest: 0,
        }
    }

    /// For interactive requests: gives up within a second or two.
    pub(super) fn short(first_delay: Duration) -> Self {
        Self {
            n_attempts: 3,
            ..Self::new(first_delay)
        }
    }

    /// Resets the count: there was progress since the last failure.
    pub(super) fn progressed(&mut self) {
        self.n_failed = 0;
    }

    /// Reports how much is done; counts as progress if it is more than before.
    pub(super) fn reached(&mut self, furthest: u64) {
        if furthest > self.furthest {
            self.furthest = furthest;
            self.progressed();
        }
    }

    /// Waits before the next attempt.
    ///
    /// # Errors
    /// The error itself if a retry cannot help, or an error that there were too many.
    pub(super) async fn after(&mut self, error: RegistryError) -> Result<(), RegistryError> {
        if !error.is_passing() {
            return Err(error);
        }
        let delay = self.first_delay * GROWTH.pow(self.n_failed);
        self.n_failed += 1;
        if self.n_failed >= self.n_attempts {
            return Err(RegistryError::Exhausted(Box::new(error)));
        }
        // Jitter: clients that failed together should not retry together.
        let delay = delay.mul_f64(0.5 + fastrand::f64());
        tracing::debug!(%error, ?delay, "trying again");
        tokio::time::sleep(delay).await;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken() -> RegistryError {
        RegistryError::Transport("broken".to_owned())
    }

    #[tokio::test(start_paused = true)]
    async fn it_gives_up_after_six_failures_in_a_row() {
        let mut retry = Retry::new(Duration::from_millis(200));
        for _ in 0..5 {
            retry.after(broken()).await.unwrap();
        }
        let error = retry.after(broken()).await.unwrap_err();
        assert_eq!(error.to_string(), "max retries exceeded: broken");
    }

    #[tokio::test(start_paused = true)]
    async fn progress_counts_anew_and_what_cannot_pass_ends_at_once() {
        let mut retry = Retry::new(Duration::from_millis(200));
        for _ in 0..20 {
            retry.after(broken()).await.unwrap();
            retry.progressed();
        }
        let error = retry.after(RegistryError::NotFound).await.unwrap_err();
        assert_eq!(error.to_string(), "file does not exist");
    }
}
