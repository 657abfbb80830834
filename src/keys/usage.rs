//! What a key has used, and what its limits leave.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::gate::{Full, Gate, Place};
use super::record::Limits;
use super::window::Window;

/// The longest `Retry-After` while all of a key's requests are running: OpenAI's clients ignore
/// longer ones.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// The requests and tokens of one key.
#[derive(Debug)]
pub struct Usage {
    limits: Mutex<Limits>,
    window: Mutex<Window>,
    gate: Arc<Gate>,
    /// The times of the window are relative to this.
    began: Instant,
}

/// Why a request was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error(
        "Rate limit reached on requests at once: Limit {limit}. Please try again when one of them has ended."
    )]
    Requests { limit: u32, wait: Duration },
    #[error(
        "Rate limit reached on tokens per minute: Limit {limit}, Used {used}, Requested {wanted}. Please try again in {}s.",
        seconds(*.wait)
    )]
    Tokens {
        limit: u32,
        used: u64,
        wanted: u64,
        wait: Duration,
    },
}

impl Refused {
    /// When to retry, in seconds.
    pub fn retry_after(&self) -> u64 {
        match self {
            Self::Requests { wait, .. } => seconds((*wait).min(LONGEST_WAIT)).max(1),
            Self::Tokens { wait, .. } => seconds(*wait).max(1),
        }
    }
}

/// What the limits leave, for the headers of answers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct State {
    /// The most concurrent requests, and how many more may start.
    pub requests: Option<(u32, u32)>,
    /// The most tokens per minute, how many are left, and after how many seconds all of them are available again.
    pub tokens: Option<(u32, u64, Duration)>,
}

impl Usage {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits: Mutex::new(limits),
            window: Mutex::default(),
            gate: Arc::default(),
            began: Instant::now(),
        }
    }

    /// Waits until the key may run one more request.
    ///
    /// # Errors
    /// The queue is full, or no tokens are left.
    pub async fn enter(&self) -> Result<Option<Place>, Refused> {
        // Not even a prompt of one token would fit.
        self.check(1)?;
        let limits = self.limits();
        let Some(limit) = limits.requests else {
            return Ok(None);
        };
        let most = || self.limits().requests.unwrap_or(u32::MAX);
        let entered = self.gate.enter(most, limits.queue.unwrap_or(0)).await;
        let place = entered.map_err(|Full(wait)| Refused::Requests { limit, wait })?;
        // Other requests may have used them meanwhile.
        self.check(1)?;
        Ok(Some(place))
    }

    /// Takes `tokens` if that many are left.
    ///
    /// # Errors
    /// Fewer are left; none were taken.
    pub fn take(&self, tokens: u64) -> Result<(), Refused> {
        let Some(limit) = self.limits().tokens else {
            return Ok(());
        };
        let now = self.began.elapsed();
        let mut window = self.window();
        if window.take(tokens, limit.into(), now) {
            return Ok(());
        }
        Err(Refused::Tokens {
            limit,
            used: window.used(now),
            wanted: tokens,
            wait: window.wait(tokens, limit.into(), now),
        })
    }

    /// Counts tokens that were used already.
    pub fn charge(&self, tokens: u64) {
        if self.limits().tokens.is_some() {
            self.window().charge(tokens, self.began.elapsed());
        }
    }

    /// What the limits leave now.
    pub fn state(&self) -> State {
        let limits = self.limits();
        let now = self.began.elapsed();
        State {
            requests: limits
                .requests
                .map(|limit| (limit, limit.saturating_sub(self.gate.working()))),
            tokens: limits.tokens.map(|limit| {
                let mut window = self.window();
                let left = u64::from(limit).saturating_sub(window.used(now));
                let whole = window.wait(limit.into(), limit.into(), now);
                (limit, left, whole)
            }),
        }
    }

    pub(super) fn set_limits(&self, limits: Limits) {
        *self.lock_limits() = limits;
        self.gate.look_again();
    }

    /// Whether that many tokens are left.
    fn check(&self, tokens: u64) -> Result<(), Refused> {
        let Some(limit) = self.limits().tokens else {
            return Ok(());
        };
        let now = self.began.elapsed();
        let mut window = self.window();
        let used = window.used(now);
        if used.saturating_add(tokens) <= u64::from(limit) {
            return Ok(());
        }
        Err(Refused::Tokens {
            limit,
            used,
            wanted: tokens,
            wait: window.wait(tokens, limit.into(), now),
        })
    }

    fn limits(&self) -> Limits {
        *self.lock_limits()
    }

    fn lock_limits(&self) -> MutexGuard<'_, Limits> {
        self.limits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn window(&self) -> MutexGuard<'_, Window> {
        self.window.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Seconds, rounded up.
fn seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn tokens_are_taken_up_to_the_last_one() {
        let usage = Usage::new("tokens=10".parse().unwrap());
        usage.take(7).unwrap();
        let Err(refused) = usage.take(4) else {
            panic!("taken");
        };
        assert!(
            matches!(
                refused,
                Refused::Tokens {
                    limit: 10,
                    used: 7,
                    wanted: 4,
                    ..
                }
            ),
            "{refused}"
        );
        assert!((1..=61).contains(&refused.retry_after()));
        usage.enter().await.unwrap();
        usage.take(3).unwrap();
        assert_eq!(
            usage
                .enter()
                .await
                .err()
                .map(|refused| refused.retry_after() > 1),
            Some(true)
        );
        let Some((limit, left, whole)) = usage.state().tokens else {
            panic!("no limit");
        };
        assert_eq!((limit, left), (10, 0));
        assert!(whole > Duration::from_secs(59) && whole <= Duration::from_secs(61));
    }

    #[tokio::test]
    async fn a_limit_that_is_raised_lets_in_who_waits() {
        let usage = Usage::new("requests=1,queue=2".parse().unwrap());
        let first = usage.enter().await.unwrap();
        let mut waiting = [(); 2].map(|()| Box::pin(usage.enter()));
        for one in &mut waiting {
            assert!(one.now_or_never().is_none());
        }
        assert_eq!(usage.state().requests, Some((1, 0)));
        assert_eq!(
            usage.enter().await.unwrap_err(),
            Refused::Requests {
                limit: 1,
                wait: Duration::ZERO
            }
        );
        usage.set_limits("requests=3,queue=2".parse().unwrap());
        let mut places = vec![first];
        for one in waiting {
            places.push(one.await.unwrap());
        }
        assert_eq!(usage.state().requests, Some((3, 0)));
    }

    #[test]
    fn without_limits_nothing_is_counted() {
        let usage = Usage::new(Limits::default());
        usage.take(u64::MAX).unwrap();
        usage.charge(5);
        assert_eq!(usage.state(), State::default());
    }
}
