//! Responses that a client waits for: whole, or as a stream of events.
//!
//! *Invariant:* a response is announced as complete only after it is on disk, if it is stored at all.

use std::time::Duration;

use axum::http::{HeaderValue, header};
use axum::response::Response;
use bytes::Bytes;
use futures_util::StreamExt as _;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use super::now;
use crate::api::openai::responses::{Event, EventBody};
use crate::dialect::openai::error_body;
use crate::dialect::openai::responses::{Ending, Step, Writer};
use crate::error::RequestError;
use crate::history::{NewResponse, Outcome};
use crate::inference::{ChatRequest, ChunkStream};
use crate::keys::Owner;
use crate::metrics::account;
use crate::server::error::{ApiError, OpenAiError, log_broken_stream};
use crate::server::extract::Held;
use crate::server::openai::answer;
use crate::server::state::App;
use crate::server::stream::{Format, KeptAlive, event, keep_alive, open, streamed, to_bytes, told};

/// How long a stream may be silent: proxies give up after thirty seconds or more.
const PATIENCE: Duration = Duration::from_secs(15);

/// How many events may wait for a client; beyond that, only its own response is held up.
const MOST_WAITING: usize = 32;

/// Server-sent events with names. An error before the first event has the number 0.
pub(super) const EVENTS: Format = Format {
    content_type: "text/event-stream",
    error: |error| {
        let told = error_body(error).error;
        let body = EventBody::Error {
            code: told.code.or(Some("server_error")),
            message: &told.message,
            param: told.param.as_deref(),
        };
        let error = Event {
            kind: "error",
            sequence_number: 0,
            body,
        };
        event(Some(error.kind), &error)
    },
};

/// A response to compute.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) app: App,
    pub(super) native: ChatRequest,
    pub(super) writer: Writer,
    /// What is stored when the response begins; `None` = nothing is stored.
    pub(super) new: Option<NewResponse>,
    pub(super) owner: Owner,
    /// Cancelled when the key of the request is revoked.
    pub(super) revoked: Option<CancellationToken>,
    /// The memory of the request.
    pub(super) held: Held,
}

/// The next part of an answer.
pub(super) enum Next {
    Step(Step),
    End(Ending),
}

/// The chunks of an answer as steps, and how it ends.
pub(super) struct Answer {
    chunks: ChunkStream,
    ending: Option<Ending>,
    /// The prompt was cut to fit the context.
    pub(super) is_cut: bool,
}

impl Answer {
    pub(super) fn new(chunks: ChunkStream) -> Self {
        Self {
            chunks,
            ending: None,
            is_cut: false,
        }
    }

    /// # Errors
    /// The model or its runner failed.
    pub(super) async fn next(&mut self) -> Result<Next, RequestError> {
        loop {
            if let Some(ending) = self.ending.take() {
                return Ok(Next::End(ending));
            }
            let chunk = self.chunks.next().await.transpose()?;
            let Some(mut chunk) = chunk else {
                return Err(RequestError::internal(
                    "the answer ended before it was done",
                ));
            };
            self.is_cut |= chunk.prompt_truncated;
            self.ending = chunk.done.take().map(|done| Ending::of(&done, now()));
            if let Some(step) = Step::of(chunk) {
                return Ok(Next::Step(step));
            }
        }
    }
}

/// What is stored of a response that has ended.
pub(super) fn outcome(writer: &Writer, joins: bool, steps: Option<String>) -> Outcome {
    Outcome {
        body: String::from_utf8_lossy(&to_bytes(writer.response())).into_owned(),
        output: writer.stored_output(),
        steps,
        joins,
    }
}

/// Answers with a whole response. If the client leaves, computing stops and nothing is stored, since the client does
/// not know the id.
pub(super) async fn whole(mut job: Job) -> Result<Response, OpenAiError> {
    let chunks = job.app.inference.chat(job.native).await?;
    let mut answer_of = Answer::new(chunks);
    let ending = loop {
        match answer_of.next().await? {
            Next::Step(step) => job.writer.push(step, &mut |_| {}),
            Next::End(ending) => break ending,
        }
    };
    let joins = ending.joins();
    job.writer.end(ending, &mut |_| {});
    if let Some(new) = job.new {
        let outcome = outcome(&job.writer, joins, None);
        if let Err(error) = job.app.responses.history.save(new, outcome).await {
            tracing::error!(%error, "a response cannot be stored");
            job.writer.set_unstored();
        }
    }
    Ok(told(
        answer(to_bytes(job.writer.response())),
        answer_of.is_cut,
    ))
}

/// Answers with a stream of events.
pub(super) async fn stream(job: Job) -> Result<Response, OpenAiError> {
    let (to, frames) = mpsc::channel(MOST_WAITING);
    let tasks = job.app.tasks.clone();
    tasks.spawn(account::carried(produce(job, to).in_current_span()));
    let frames = ReceiverStream::new(frames);
    let frames = open(async { Ok::<_, RequestError>(frames) }).await?;
    Ok(of_events(frames))
}

/// The answer with a stream whose producer ends it when the daemon stops.
pub(super) fn of_events(
    frames: impl futures_util::Stream<Item = Result<Bytes, RequestError>> + Send + 'static,
) -> Response {
    let alive = KeptAlive {
        every: PATIENCE,
        // A comment: the numbers of events have no gaps.
        before: Bytes::from_static(b": waiting\n\n"),
        after: Bytes::from_static(b": waiting\n\n"),
    };
    let frames = keep_alive(frames.boxed(), alive);
    let mut response = streamed(EVENTS, frames, &CancellationToken::new());
    let no_cache = HeaderValue::from_static("no-cache");
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, no_cache);
    response
}

/// Adds an event to those that wait to be sent.
pub(super) fn frame_into(frames: &mut Vec<Bytes>) -> impl FnMut(&Event<'_>) {
    |told| frames.push(event(Some(told.kind), told))
}

type Sender = mpsc::Sender<Result<Bytes, RequestError>>;

/// Sends the waiting events; false if the client has left.
async fn send(to: &Sender, frames: &mut Vec<Bytes>) -> bool {
    for frame in frames.drain(..) {
        if to.send(Ok(frame)).await.is_err() {
            return false;
        }
    }
    true
}

/// Computes a response for a client that may leave at any time.
async fn produce(mut job: Job, to: Sender) {
    let cut_off = job.app.cut_off.clone();
    let opened = tokio::select! {
        biased;
        () = to.closed() => return,
        () = cut_off.cancelled() => Err(ApiError::stopping()),
        opened = job.app.inference.chat(job.native) => opened,
    };
    let history = job.app.responses.history.clone();
    let begun = async {
        let chunks = opened?;
        if let Some(new) = job.new.clone() {
            history.begin(new).await?;
        }
        Ok::<_, RequestError>(chunks)
    };
    let chunks = match begun.await {
        Ok(chunks) => chunks,
        Err(error) => {
            // A client that has left needs no answer.
            let _ = to.send(Err(error)).await;
            return;
        }
    };
    let mut frames = Vec::new();
    job.writer.begin(&mut frame_into(&mut frames));
    let mut answer = Answer::new(chunks);
    let ending = loop {
        if !send(&to, &mut frames).await {
            break Ending::cancelled(now());
        }
        let next = tokio::select! {
            biased;
            () = to.closed() => break Ending::cancelled(now()),
            () = cut_off.cancelled() => Err(ApiError::stopping()),
            next = answer.next() => next,
        };
        match next {
            Ok(Next::Step(step)) => job.writer.push(step, &mut frame_into(&mut frames)),
            Ok(Next::End(ending)) => break ending,
            Err(error) => {
                log_broken_stream(&error);
                break Ending::failed(&error, now());
            }
        }
    };
    // Computing stops here.
    drop(answer);
    let joins = ending.joins();
    job.writer.end(ending, &mut frame_into(&mut frames));
    if let Some(new) = job.new {
        let outcome = outcome(&job.writer, joins, None);
        if let Err(error) = history.finish(&new.id, now(), outcome).await {
            tracing::error!(%error, "a response cannot be stored");
            job.writer.set_unstored();
        }
    }
    job.writer.last(&mut frame_into(&mut frames));
    send(&to, &mut frames).await;
    drop(job.held);
}
