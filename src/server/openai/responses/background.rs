//! Responses that run whether or not a client is connected.

use std::sync::Arc;

use axum::response::Response;
use bytes::Bytes;
use futures_util::stream::{self, Stream};
use tracing::Instrument as _;

use super::run::{Answer, Job, Next, frame_into, of_events, outcome};
use super::{Shared, now};
use crate::api::openai::responses::Event;
use crate::dialect::openai::responses::{Ending, Writer, kept};
use crate::error::RequestError;
use crate::metrics::account;
use crate::server::error::{ApiError, OpenAiError, log_broken_stream};
use crate::server::openai::answer;
use crate::server::stream::to_bytes;

/// How many steps are turned into events at once.
const AT_ONCE: usize = 64;

/// Starts a response, and answers with its present state or with its events.
pub(super) async fn start(job: Job, is_stream: bool) -> Result<Response, OpenAiError> {
    let app = Arc::clone(&job.app);
    let responses = &app.responses;
    let (response, style) = job.writer.parts();
    let owner = job.owner.clone();
    let live = responses.runs.add(owner, response.clone(), style.clone())?;
    let id = live.response.id.clone();
    if let Some(new) = job.new.clone()
        && let Err(error) = responses.history.begin(new).await
    {
        responses.runs.remove(&id);
        return Err(RequestError::from(error).into());
    }
    let running = account::carried(compute(job, Arc::clone(&live)).in_current_span());
    responses.runs.tasks.spawn(running);
    if is_stream {
        return Ok(of_events(follow(live, None)));
    }
    Ok(answer(to_bytes(&live.response)))
}

/// Computes a response to its end.
async fn compute(job: Job, live: Shared) {
    let app = Arc::clone(&job.app);
    let revoked = job.revoked.unwrap_or_default();
    let ending = tokio::select! {
        biased;
        () = live.stop.cancelled() => Ending::cancelled(now()),
        () = revoked.cancelled() => Ending::cancelled(now()),
        () = app.cut_off.cancelled() => Ending::failed(&ApiError::stopping(), now()),
        ending = answered(job.app, job.native, &live) => ending,
    };
    let mut writer = Writer::new(live.response.clone(), live.style.clone());
    writer.begin(&mut |_| {});
    let steps = live.news.borrow().steps.clone();
    for step in &steps {
        writer.push(step.as_ref().clone(), &mut |_| {});
    }
    writer.end(ending.clone(), &mut |_| {});
    let kept = kept(&live.style, steps, &ending);
    let outcome = outcome(&writer, ending.joins(), Some(kept));
    let id = &live.response.id;
    if let Err(error) = app.responses.history.finish(id, now(), outcome).await {
        tracing::error!(%error, %id, "a response cannot be stored");
    }
    live.news.send_modify(|news| news.ending = Some(ending));
    app.responses.runs.remove(id);
    drop(job.held);
}

async fn answered(
    app: crate::server::state::App,
    native: crate::inference::ChatRequest,
    live: &Shared,
) -> Ending {
    let failed = |error: RequestError| {
        log_broken_stream(&error);
        Ending::failed(&error, now())
    };
    let chunks = match app.inference.chat(native).await {
        Ok(chunks) => chunks,
        Err(error) => return failed(error),
    };
    live.news.send_modify(|news| news.has_begun = true);
    let mut answer = Answer::new(chunks);
    loop {
        match answer.next().await {
            Ok(Next::Step(step)) => {
                let step = Arc::new(step);
                live.news.send_modify(|news| news.steps.push(step));
            }
            Ok(Next::End(ending)) => return ending,
            Err(error) => return failed(error),
        }
    }
}

/// The events of a running response after a given number.
pub(super) fn follow(
    live: Shared,
    after: Option<u64>,
) -> impl Stream<Item = Result<Bytes, RequestError>> + Send + 'static {
    let reader = Reader {
        writer: Writer::new(live.response.clone(), live.style.clone()),
        news: live.news.subscribe(),
        live,
        after,
        n_read: None,
        is_done: false,
    };
    let batches = stream::unfold(reader, |mut reader| async move {
        let frames = reader.next().await?;
        Some((stream::iter(frames.into_iter().map(Ok)), reader))
    });
    futures_util::StreamExt::flatten(batches)
}

struct Reader {
    live: Shared,
    news: tokio::sync::watch::Receiver<super::live::News>,
    writer: Writer,
    after: Option<u64>,
    /// The number of steps that were read; `None` = not even the beginning.
    n_read: Option<usize>,
    is_done: bool,
}

impl Reader {
    /// The next events; `None` after the last.
    async fn next(&mut self) -> Option<Vec<Bytes>> {
        if self.is_done {
            return None;
        }
        let mut frames = Vec::new();
        if self.n_read.is_none() {
            self.n_read = Some(0);
            self.writer.begin(&mut later(self.after, &mut frames));
            return Some(frames);
        }
        let n_read = self.n_read.unwrap_or_default();
        let (steps, ending) = loop {
            {
                let news = self.news.borrow_and_update();
                if news.steps.len() > n_read || news.ending.is_some() {
                    let rest = news.steps.get(n_read..).unwrap_or_default();
                    let steps: Vec<_> = rest.iter().take(AT_ONCE).cloned().collect();
                    let is_last = steps.len() == rest.len();
                    break (steps, news.ending.clone().filter(|_| is_last));
                }
            }
            // Its sender lives as long as `live`.
            self.news.changed().await.ok()?;
        };
        self.n_read = Some(n_read + steps.len());
        for step in steps {
            let step = step.as_ref().clone();
            self.writer.push(step, &mut later(self.after, &mut frames));
        }
        if let Some(ending) = ending {
            self.is_done = true;
            self.writer.end(ending, &mut later(self.after, &mut frames));
            self.writer.last(&mut later(self.after, &mut frames));
        }
        let _ = &self.live;
        Some(frames)
    }
}

/// Keeps the events after a given number.
fn later(after: Option<u64>, frames: &mut Vec<Bytes>) -> impl FnMut(&Event<'_>) {
    let mut keep = frame_into(frames);
    move |event| {
        if after.is_none_or(|after| event.sequence_number > after) {
            keep(event);
        }
    }
}
