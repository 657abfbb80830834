//! Tokens within a minute: a window that slides by the second.
//!
//! *Promise:* no sixty consecutive seconds hold more tokens than the limit. (Tokens that are charged afterwards may
//! exceed it; then later requests wait.)

use std::collections::VecDeque;
use std::time::Duration;

/// Seconds of the window. What was used in a second counts until that whole second is a minute old.
const SECONDS: u64 = 60;

/// What was used in the last minute. Times count from any fixed moment.
#[derive(Debug, Clone, Default)]
pub(super) struct Window {
    /// Seconds with the tokens used in them, oldest first.
    used: VecDeque<(u64, u64)>,
    total: u64,
}

impl Window {
    /// Tokens used in the last minute.
    pub(super) fn used(&mut self, now: Duration) -> u64 {
        let now = now.as_secs();
        while let Some(&(second, tokens)) = self.used.front() {
            if second + SECONDS >= now {
                break;
            }
            self.total -= tokens;
            self.used.pop_front();
        }
        self.total
    }

    /// Takes that many tokens if the limit allows.
    pub(super) fn take(&mut self, tokens: u64, limit: u64, now: Duration) -> bool {
        let fits = self.used(now).saturating_add(tokens) <= limit;
        if fits {
            self.charge(tokens, now);
        }
        fits
    }

    /// Counts tokens that were used already.
    pub(super) fn charge(&mut self, tokens: u64, now: Duration) {
        if tokens == 0 {
            return;
        }
        let second = now.as_secs();
        self.total = self.total.saturating_add(tokens);
        match self.used.back_mut() {
            Some((last, used)) if *last >= second => *used = used.saturating_add(tokens),
            _ => self.used.push_back((second, tokens)),
        }
    }

    /// How long until the limit allows that many tokens, or as many as it ever does.
    pub(super) fn wait(&mut self, tokens: u64, limit: u64, now: Duration) -> Duration {
        let mut total = self.used(now);
        let most = limit.saturating_sub(tokens.min(limit));
        for &(second, used) in &self.used {
            if total <= most {
                break;
            }
            total = total.saturating_sub(used);
            if total <= most {
                let free = Duration::from_secs(second + SECONDS + 1);
                return free.saturating_sub(now);
            }
        }
        Duration::ZERO
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_minute_later_there_is_room_again() {
        let mut window = Window::default();
        assert!(window.take(60, 100, at(500)));
        assert!(window.take(40, 100, at(10_000)));
        assert!(!window.take(1, 100, at(60_900)));
        assert_eq!(window.wait(1, 100, at(60_900)), at(100));
        assert_eq!(window.wait(61, 100, at(60_900)), at(10_100));
        assert!(window.take(60, 100, at(61_000)));
        assert!(!window.take(1, 100, at(61_000)));
        assert_eq!(window.used(at(200_000)), 0);
        assert_eq!(window.wait(100, 100, at(200_000)), Duration::ZERO);
    }

    #[test]
    fn what_was_owed_is_waited_for() {
        let mut window = Window::default();
        window.charge(250, at(0));
        assert!(!window.take(1, 100, at(59_000)));
        assert_eq!(window.wait(1_000, 100, at(1_000)), at(60_000));
        assert!(window.take(100, 100, at(61_000)));
    }

    proptest! {
        #[test]
        fn no_minute_has_more_than_the_limit(
            limit in 1_u64..500,
            steps in prop::collection::vec((0_u64..20_000, 1_u64..300), 1..200),
        ) {
            let mut window = Window::default();
            let mut now = 0;
            let mut taken = Vec::new();
            for (pause, tokens) in steps {
                now += pause;
                if window.take(tokens, limit, at(now)) {
                    taken.push((now, tokens));
                } else if tokens <= limit {
                    // The returned time is enough, and a shorter one is not.
                    let wait = window.wait(tokens, limit, at(now));
                    prop_assert!(wait > Duration::ZERO);
                    let just_before = at(now) + wait - Duration::from_millis(1);
                    prop_assert!(window.clone().used(just_before) + tokens > limit);
                }
                let minute = taken.iter().filter(|(then, _)| now - then < 60_000);
                prop_assert!(minute.map(|(_, tokens)| tokens).sum::<u64>() <= limit);
            }
        }
    }
}
