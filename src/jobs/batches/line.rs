//! One request of a job: read from the input file, answered, and retried where that may help.

use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::batch::Batch;
use super::store::Line;
use super::{Answered, Request, Shared, check};
use crate::jobs::{JobsError, id};

/// How long a request waits when the server had no room for it.
const BUSY: Duration = Duration::from_secs(1);

/// A request that has been answered.
#[derive(Debug)]
pub(super) struct Ran {
    pub(super) seq: i64,
    pub(super) line: Line,
    pub(super) answered: Answered,
    /// How often the server has failed to answer it so far.
    pub(super) n_tries: u32,
}

/// Whether the request can be retried without counting as failed, because the server had no room for it. (401: its key
/// has just been revoked. The job is about to end, and the request was not run.)
pub(super) fn passes(status: u16) -> bool {
    matches!(status, 401 | 408 | 429 | 503)
}

/// Whether the server failed and a retry may succeed.
pub(super) fn is_failure(status: u16) -> bool {
    matches!(status, 499 | 500 | 502 | 504)
}

/// How long the request waits after `n_tries` failures.
pub(super) fn pause(n_tries: u32) -> Duration {
    match n_tries {
        0 => BUSY,
        n => Duration::from_millis(250) * 2_u32.saturating_pow(n),
    }
}

/// Answers one request.
pub(super) fn run(
    shared: Arc<Shared>,
    batch: &Batch,
    line: Line,
    n_tries: u32,
) -> impl Future<Output = Ran> + Send + 'static {
    let path = shared.store.files.path(&batch.input_file);
    let (seq, url, owner) = (batch.seq, batch.endpoint.clone(), batch.owner.clone());
    let client = format!("{}/batch-{seq}", batch.client);
    async move {
        let (offset, length) = (line.offset, usize::try_from(line.length).unwrap_or(0));
        let reading = shared.tasks.spawn_blocking(move || {
            let mut bytes = vec![0; length];
            std::fs::OpenOptions::new()
                .read(true)
                .open(path)?
                .read_exact_at(&mut bytes, offset)?;
            let body = check::body_of(&bytes).unwrap_or(0..0);
            Ok::<_, JobsError>(Bytes::from(bytes).slice(body))
        });
        let read = match reading.await {
            Ok(read) => read,
            Err(error) => Err(error.into()),
        };
        let answered = match read {
            Ok(body) => {
                let request = Request {
                    url,
                    body,
                    client,
                    owner,
                };
                shared.answer.answer(request).await
            }
            Err(error) => {
                tracing::warn!(%error, "could not read a request of a batch");
                unreadable()
            }
        };
        Ran {
            seq,
            line,
            answered,
            n_tries,
        }
    }
}

fn unreadable() -> Answered {
    let body = r#"{"error":{"message":"The request could not be read.","type":"api_error","param":null,"code":null}}"#;
    Answered {
        status: 500,
        request_id: id::new("req_"),
        body: Bytes::from_static(body.as_bytes()),
    }
}
