//! Deadlines of requests: when one has passed, the work ends wherever it is.

use std::time::Duration;

use futures_util::stream::{self, StreamExt as _};
use tokio::time::{Instant, timeout_at};

use super::error::{ErrorKind as Kind, RequestError};
use super::types::ChunkStream;
use crate::config::values::duration_nanos;

/// Longer timeouts count as none.
const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

/// Parses the timeout that a client sets for a request: `30`, `2.5`, `1m30s`. `None` = it is invalid.
pub fn timeout(text: &str) -> Option<Duration> {
    let nanos = duration_nanos(text).and_then(|nanos| u64::try_from(nanos).ok());
    let seconds = || Duration::try_from_secs_f64(text.trim().parse().ok()?).ok();
    let timeout = nanos.map(Duration::from_nanos).or_else(seconds)?;
    (!timeout.is_zero()).then_some(timeout)
}

/// When a request that may take `timeout` ends; `None` = never.
pub fn after(timeout: Duration) -> Option<Instant> {
    (timeout < YEAR).then(|| Instant::now() + timeout)
}

/// The earlier of up to two deadlines.
pub fn earlier(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

/// The error for a deadline that has passed.
pub fn exceeded() -> RequestError {
    let message = "the time that the request allows is over";
    RequestError::new(Kind::DeadlineExceeded, message).coded("deadline_exceeded")
}

/// Runs some work until the deadline. (The future is large, and each branch keeps a copy, so callers box it.)
pub(super) async fn within<T>(
    deadline: Option<Instant>,
    work: impl Future<Output = Result<T, RequestError>> + Unpin,
) -> Result<T, RequestError> {
    match deadline {
        None => work.await,
        Some(deadline) => match timeout_at(deadline, work).await {
            Ok(done) => done,
            Err(_) => Err(exceeded()),
        },
    }
}

/// Ends an answer at the deadline.
pub(super) fn until(deadline: Option<Instant>, chunks: ChunkStream) -> ChunkStream {
    let Some(deadline) = deadline else {
        return chunks;
    };
    let bounded = stream::unfold(Some(chunks), move |chunks| async move {
        let mut chunks = chunks?;
        match timeout_at(deadline, chunks.next()).await {
            Ok(Some(chunk)) => {
                let goes_on = chunk.is_ok();
                Some((chunk, goes_on.then_some(chunks)))
            }
            Ok(None) => None,
            Err(_) => Some((Err(exceeded()), None)),
        }
    });
    Box::pin(bounded)
}

#[cfg(test)]
mod tests {

    use super::*;
    use crate::inference::Chunk;

    #[test]
    fn times_are_seconds_or_durations() {
        for (text, expected) in [
            ("30", Some(30_000)),
            (" 30s", Some(30_000)),
            ("2.5", Some(2500)),
            ("1m30s", Some(90_000)),
            ("250ms", Some(250)),
            ("", None),
            ("0", None),
            ("-1", None),
            ("soon", None),
            ("NaN", None),
            ("inf", None),
        ] {
            assert_eq!(timeout(text), expected.map(Duration::from_millis), "{text}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_earlier_one_counts() {
        let now = Instant::now();
        let [soon, late] = [10, 20].map(|seconds| after(Duration::from_secs(seconds)));
        assert_eq!(soon, Some(now + Duration::from_secs(10)));
        assert_eq!(earlier(soon, late), soon);
        assert_eq!(earlier(late, soon), soon);
        assert_eq!(earlier(None, late), late);
        assert_eq!(earlier(late, None), late);
        assert_eq!(after(Duration::MAX), None);
    }

    #[tokio::test(start_paused = true)]
    async fn what_takes_longer_ends_with_an_error() {
        let second = Duration::from_secs(1);
        let deadline = Some(Instant::now() + 2 * second);
        let slow = async {
            tokio::time::sleep(3 * second).await;
            Ok(())
        };
        let error = within(deadline, Box::pin(slow)).await.unwrap_err();
        assert_eq!(error.kind, Kind::DeadlineExceeded);
        let deadline = Some(Instant::now() + 2 * second);
        let ticks = stream::unfold((), move |()| async move {
            tokio::time::sleep(second * 3 / 4).await;
            Some((Ok(Chunk::default()), ()))
        });
        let chunks: Vec<_> = until(deadline, Box::pin(ticks)).collect().await;
        assert_eq!(chunks.len(), 3);
        assert!(chunks[..2].iter().all(Result::is_ok) && chunks[2].is_err());
    }
}
