//! The daemon's side of a runner: spawn, communicate, watch, reap.
//!
//! *Invariant:* only the process task starts and stops the runner. When the last handle is dropped or the
//! task ends, the process ends too.

mod advice;
mod cancels;
mod frames;
mod limits;
mod log;
mod mailbox;
mod measure;
mod outgoing;
mod pace;
mod process;
mod quantize;
mod spawn;
mod start;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use crate::protocol::{
    Command, EmbedParams, EmbedResult, Failure, FailureKind, GenerateParams, LoadedInfo, RequestId,
    Token,
};

pub use mailbox::{Generation, GenerationEvent, Part};
pub use measure::measure;
pub use quantize::quantize;
pub use start::{StartError, StartParams, Started, probe, start};

use cancels::Cancels;
use frames::Frames;
use mailbox::Mailbox;
use pace::Pace;
use process::{Request, Waiter};

/// A handle to a loaded runner; cheap to clone.
#[derive(Debug, Clone)]
pub struct RunnerHandle {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    info: LoadedInfo,
    pid: u32,
    requests: mpsc::Sender<Request>,
    cancels: Cancels,
    next_id: AtomicU64,
    frames: Frames,
    pace: Arc<Pace>,
}

/// A request to tokenize texts.
#[derive(Debug, Default)]
pub struct Tokenize {
    pub texts: Vec<String>,
    /// Add BOS/EOS as the vocabulary says.
    pub add_special: bool,
    /// Treat the texts of special tokens as plain text.
    pub special_as_text: bool,
    /// Stop in a text once it has more tokens than this.
    pub limit: Option<u32>,
    /// The client, for fair scheduling.
    pub client: String,
}

/// Why a request to a runner failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RunnerError {
    /// The engine refused or failed this request.
    #[error("{}", .0.message)]
    Failed(Failure),
    /// The process ended; the text is the last error in its log, if any.
    #[error(
        "model runner has unexpectedly stopped, this may be due to resource limitations or an internal error, check ollama server logs for details{0}"
    )]
    Gone(String),
}

impl RunnerError {
    /// The kind of failure.
    pub fn kind(&self) -> FailureKind {
        match self {
            Self::Failed(failure) => failure.kind,
            Self::Gone(_) => FailureKind::Internal,
        }
    }
}

impl RunnerHandle {
    /// What the runner reported about the loaded model.
    pub fn info(&self) -> &LoadedInfo {
        &self.inner.info
    }

    /// The runner's process id.
    pub fn pid(&self) -> u32 {
        self.inner.pid
    }

    /// Whether the process has ended: every request fails from then on.
    pub fn is_gone(&self) -> bool {
        self.inner.requests.is_closed()
    }

    /// Submits a generation; returns at once with the stream of its events.
    ///
    /// # Errors
    /// `Gone` when the process has ended.
    pub async fn generate(&self, params: GenerateParams) -> Result<Generation, RunnerError> {
        let id = self.next_id();
        let mailbox = Arc::new(Mailbox::default());
        let command = Command::Generate {
            id,
            params: Box::new(params),
        };
        self.submit(id, &command, Waiter::Generation(Arc::clone(&mailbox)))
            .await?;
        Ok(Generation::new(id, mailbox, self.inner.cancels.clone()))
    }

    /// Computes embeddings.
    ///
    /// # Errors
    /// What the engine reports, or `Gone`.
    pub async fn embed(&self, params: EmbedParams) -> Result<EmbedResult, RunnerError> {
        self.ask(|id| Command::Embed { id, params }, Waiter::Embed)
            .await
    }

    /// Tokenizes several texts in one round trip.
    ///
    /// # Errors
    /// What the engine reports, or `Gone`.
    pub async fn tokenize(&self, question: Tokenize) -> Result<Vec<Vec<Token>>, RunnerError> {
        let command = |id| Command::Tokenize {
            id,
            texts: question.texts,
            add_special: question.add_special,
            parse_special: !question.special_as_text,
            limit: question.limit,
            client: question.client,
        };
        self.ask(command, Waiter::Tokenize).await
    }

    /// Counts the tokens of a prompt, which may be longer than the context.
    ///
    /// # Errors
    /// What the engine reports, or `Gone`.
    pub async fn count(&self, params: GenerateParams) -> Result<u32, RunnerError> {
        let params = Box::new(params);
        self.ask(|id| Command::Count { id, params }, Waiter::Count)
            .await
    }

    /// Turns tokens into text, special tokens printed.
    ///
    /// # Errors
    /// What the engine reports, or `Gone`.
    pub async fn detokenize(
        &self,
        tokens: Vec<Token>,
        client: String,
    ) -> Result<String, RunnerError> {
        let command = |id| Command::Detokenize { id, tokens, client };
        self.ask(command, Waiter::Detokenize).await
    }

    /// How many requests are ahead of one that waits for a slot; `None` = it does not wait for one.
    ///
    /// # Errors
    /// `Gone`.
    pub async fn place(&self, of: RequestId) -> Result<Option<u32>, RunnerError> {
        self.ask(|id| Command::Place { id, of }, Waiter::Place)
            .await
    }

    /// About how long a request waits with this many ahead of it; `None` = no request has finished yet.
    pub fn expected_wait(&self, n_before: u32) -> Option<Duration> {
        self.inner.pace.wait(n_before, self.inner.info.n_slots)
    }

    /// Ends the process: it asks first, then kills it. Requests in flight fail.
    pub async fn stop(&self) {
        // A closed channel means that it has already ended.
        let _ = self.inner.requests.send(Request::Stop).await;
    }

    /// Sends a command with one answer and waits for it; dropping the future cancels the request.
    async fn ask<T>(
        &self,
        command: impl FnOnce(RequestId) -> Command,
        waiter: impl FnOnce(oneshot::Sender<Result<T, RunnerError>>) -> Waiter,
    ) -> Result<T, RunnerError> {
        let id = self.next_id();
        let (sender, receiver) = oneshot::channel();
        self.submit(id, &command(id), waiter(sender)).await?;
        let mut guard = CancelOnDrop {
            id,
            cancels: Some(&self.inner.cancels),
        };
        let answer = receiver.await.unwrap_or_else(|_| Err(gone()));
        guard.cancels = None;
        answer
    }

    async fn submit(
        &self,
        id: RequestId,
        command: &Command,
        waiter: Waiter,
    ) -> Result<(), RunnerError> {
        let room = self.inner.frames.room(command).await;
        let frame = crate::protocol::framing::encode(command).map_err(|error| {
            let message = format!("the request cannot be sent to the runner: {error}");
            RunnerError::Failed(Failure {
                kind: FailureKind::Internal,
                message,
            })
        })?;
        let frame = room.hold(frame);
        let request = Request::Submit { id, frame, waiter };
        self.inner.requests.send(request).await.map_err(|_| gone())
    }

    fn next_id(&self) -> RequestId {
        self.inner.next_id.fetch_add(1, Ordering::Relaxed)
    }
}

fn gone() -> RunnerError {
    RunnerError::Gone(String::new())
}

/// Cancels a request when its caller goes away.
struct CancelOnDrop<'a> {
    id: RequestId,
    cancels: Option<&'a Cancels>,
}

impl Drop for CancelOnDrop<'_> {
    fn drop(&mut self) {
        if let Some(cancels) = self.cancels {
            cancels.write(self.id);
        }
    }
}
