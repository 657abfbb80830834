//! What a connection is doing, and its deadline.
//!
//! *Invariant:* there is a deadline while a client has to send the head of a request or read an answer, and while the
//! connection is unused. Request bodies have their own deadline ([`super::body`]).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::server::limits::Limits;

/// How long a closing connection without a request may take.
const LAST: Duration = Duration::from_secs(1);

/// Shared between a connection's task, its socket, its requests, and the table of all connections.
#[derive(Debug)]
pub(super) struct Activity {
    state: Mutex<State>,
    /// Notified when another connection needs the place.
    pub(super) unwanted: Notify,
}

#[derive(Debug)]
struct State {
    /// When it was accepted, its last request ended, or something was last written.
    quiet_since: Instant,
    /// When the head of its next request began to arrive.
    head_since: Option<Instant>,
    /// Since when the socket accepts no bytes although some are waiting.
    blocked_since: Option<Instant>,
    /// Requests in progress; for each, since when the next piece of its answer has not been polled (if so).
    requests: BTreeMap<u64, Option<Instant>>,
    next_request: u64,
    /// HTTP/2 has frames between requests, so incoming bytes are not always a head.
    is_http2: bool,
    /// When closing was requested.
    closing_since: Option<Instant>,
}

/// Why a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// There is no request.
    Unused,
    /// The client does not read its answer.
    Unread,
}

impl Activity {
    pub(super) fn new(now: Instant) -> Self {
        let state = State {
            quiet_since: now,
            head_since: None,
            blocked_since: None,
            requests: BTreeMap::new(),
            next_request: 0,
            is_http2: false,
            closing_since: None,
        };
        Self {
            state: Mutex::new(state),
            unwanted: Notify::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes have arrived.
    pub(super) fn read(&self, now: Instant) {
        let mut state = self.lock();
        if state.requests.is_empty() && !state.is_http2 {
            state.head_since.get_or_insert(now);
        }
    }

    /// The socket has accepted bytes, or (false) accepts none.
    pub(super) fn write(&self, taken: bool, now: Instant) {
        let mut state = self.lock();
        if taken {
            state.blocked_since = None;
            state.quiet_since = now;
        } else {
            state.blocked_since.get_or_insert(now);
        }
    }

    /// A request has arrived.
    pub(super) fn begin(self: &Arc<Self>, is_http2: bool) -> Running {
        let mut state = self.lock();
        let number = state.next_request;
        state.next_request += 1;
        state.requests.insert(number, None);
        state.head_since = None;
        state.is_http2 = is_http2;
        Running {
            activity: Arc::clone(self),
            number,
        }
    }

    /// Ends the connection as soon as it has no request; false if that was already requested.
    pub(super) fn close(&self, now: Instant) -> bool {
        let mut state = self.lock();
        let is_new = state.closing_since.is_none();
        state.closing_since.get_or_insert(now);
        is_new
    }

    /// Since when there is no request; `None` = there is one, or an answer is being sent.
    pub(super) fn quiet_since(&self) -> Option<Instant> {
        let state = self.lock();
        state.is_quiet().then_some(state.quiet_since)
    }

    /// Whether the head of a request has begun to arrive, and has not ended.
    pub(super) fn reads_head(&self) -> bool {
        self.lock().head_since.is_some()
    }

    /// When the connection ends if nothing happens.
    pub(super) fn deadline(&self, limits: &Limits) -> Option<(Instant, End)> {
        self.lock().deadline(limits)
    }
}

impl State {
    fn is_quiet(&self) -> bool {
        self.requests.is_empty() && self.blocked_since.is_none()
    }

    fn deadline(&self, limits: &Limits) -> Option<(Instant, End)> {
        if self.is_quiet() {
            let has_asked = self.next_request > 0;
            let unused = match (self.closing_since, self.head_since) {
                (Some(since), _) => self.quiet_since.max(since) + LAST,
                (None, Some(since)) => since + limits.head,
                (None, None) if has_asked => self.quiet_since + limits.idle,
                (None, None) => self.quiet_since + limits.head,
            };
            return Some((unused, End::Unused));
        }
        let unread = self.requests.values().flatten();
        let since = unread.chain(&self.blocked_since).min()?;
        Some((*since + limits.stall, End::Unread))
    }
}

/// A request in progress, until it is dropped.
#[derive(Debug)]
pub(super) struct Running {
    activity: Arc<Activity>,
    number: u64,
}

impl Running {
    /// A piece of the answer was passed on, or (false) the next one is polled.
    pub(super) fn handed(&self, is_piece: bool, now: Instant) {
        let mut state = self.activity.lock();
        state.requests.insert(self.number, is_piece.then_some(now));
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut state = self.activity.lock();
        state.requests.remove(&self.number);
        state.quiet_since = Instant::now();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn limits() -> Limits {
        Limits {
            n_connections: 1,
            n_of_origin: 1,
            n_reserved: 0,
            n_refused: 1,
            head: 30 * SECOND,
            idle: 300 * SECOND,
            stall: 60 * SECOND,
        }
    }

    /// Seconds from `begin` to the deadline.
    fn due(activity: &Activity, begin: Instant) -> Option<(u64, End)> {
        let (at, end) = activity.deadline(&limits())?;
        Some(((at - begin).as_secs(), end))
    }

    #[tokio::test(start_paused = true)]
    async fn heads_are_awaited_for_less_than_next_requests() {
        let begin = Instant::now();
        let activity = Arc::new(Activity::new(begin));
        assert_eq!(due(&activity, begin), Some((30, End::Unused)));
        // Single bytes do not extend the deadline.
        for second in [10, 20] {
            activity.read(begin + second * SECOND);
            assert_eq!(due(&activity, begin), Some((40, End::Unused)));
        }
        let running = activity.begin(false);
        assert_eq!(
            (due(&activity, begin), activity.quiet_since()),
            (None, None)
        );
        tokio::time::advance(100 * SECOND).await;
        drop(running);
        assert_eq!(due(&activity, begin), Some((400, End::Unused)));
        activity.read(begin + 110 * SECOND);
        assert_eq!(due(&activity, begin), Some((140, End::Unused)));
        assert!(activity.close(begin + 111 * SECOND) && !activity.close(begin + 112 * SECOND));
        assert_eq!(due(&activity, begin), Some((112, End::Unused)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_is_waited_for_from_its_last_byte_on() {
        let begin = Instant::now();
        let activity = Arc::new(Activity::new(begin));
        let running = activity.begin(false);
        // Waiting for the answer does not count against the client.
        running.handed(false, begin);
        assert_eq!(due(&activity, begin), None);
        activity.write(false, begin + 5 * SECOND);
        activity.write(false, begin + 9 * SECOND);
        assert_eq!(due(&activity, begin), Some((65, End::Unread)));
        activity.write(true, begin + 10 * SECOND);
        assert_eq!(due(&activity, begin), None);
        // The client still has to read the last bytes of a finished answer.
        activity.write(false, begin + 20 * SECOND);
        drop(running);
        assert_eq!(due(&activity, begin), Some((80, End::Unread)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_is_not_read_ends_its_connection() {
        let begin = Instant::now();
        let activity = Arc::new(Activity::new(begin));
        let [read, unread] = [(); 2].map(|()| activity.begin(true));
        unread.handed(true, begin + 3 * SECOND);
        read.handed(true, begin + 50 * SECOND);
        read.handed(false, begin + 50 * SECOND);
        assert_eq!(due(&activity, begin), Some((63, End::Unread)));
        // Frames between requests are not heads.
        drop((read, unread));
        activity.read(begin + 60 * SECOND);
        assert_eq!(due(&activity, begin), Some((300, End::Unused)));
    }
}
