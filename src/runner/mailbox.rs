//! The events of one generation, from the process task to whoever reads the stream.
//!
//! The sender never waits: text that is not read yet is joined, so a slow reader gets larger
//! pieces. What can pile up is bounded by the answer itself (`n_predict`).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, mpsc};

use super::RunnerError;
use super::process::Request;
use crate::protocol::{Finished, RequestId, TokenLogprob, Update};

/// One piece of a generation.
#[derive(Debug, Clone, PartialEq)]
pub enum GenerationEvent {
    /// The prompt was accepted.
    Started { n_prompt: u32 },
    Text {
        text: String,
        logprobs: Vec<TokenLogprob>,
    },
    /// Always the last event of a generation that did not fail.
    Finished(Finished),
}

/// The events of one generation; dropping it cancels the request within one step.
#[derive(Debug)]
pub struct Generation {
    id: RequestId,
    mailbox: Arc<Mailbox>,
    requests: mpsc::Sender<Request>,
    ended: bool,
}

impl Generation {
    pub(super) fn new(
        id: RequestId,
        mailbox: Arc<Mailbox>,
        requests: mpsc::Sender<Request>,
    ) -> Self {
        Self {
            id,
            mailbox,
            requests,
            ended: false,
        }
    }

    /// Waits for the next event; `None` after `Finished` or an error.
    pub async fn next(&mut self) -> Option<Result<GenerationEvent, RunnerError>> {
        if self.ended {
            return None;
        }
        loop {
            if let Some(event) = self.mailbox.take() {
                self.ended = !matches!(
                    event,
                    Ok(GenerationEvent::Started { .. } | GenerationEvent::Text { .. })
                );
                return Some(event);
            }
            self.mailbox.ready.notified().await;
        }
    }
}

impl Drop for Generation {
    fn drop(&mut self) {
        if !self.ended {
            self.mailbox.lock().abandoned = true;
            // Where the channel is full, the process task notices at the next update.
            let _ = self.requests.try_send(Request::Cancel(self.id));
        }
    }
}

/// What was received and not read yet.
#[derive(Debug, Default)]
pub(super) struct Mailbox {
    mail: Mutex<Mail>,
    ready: Notify,
}

#[derive(Debug, Default)]
struct Mail {
    started: Option<u32>,
    text: String,
    logprobs: Vec<TokenLogprob>,
    end: Option<Result<Finished, RunnerError>>,
    /// Nobody will read any more.
    abandoned: bool,
}

impl Mailbox {
    fn lock(&self) -> MutexGuard<'_, Mail> {
        self.mail.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> Option<Result<GenerationEvent, RunnerError>> {
        let mut mail = self.lock();
        if let Some(n_prompt) = mail.started.take() {
            return Some(Ok(GenerationEvent::Started { n_prompt }));
        }
        if !mail.text.is_empty() || !mail.logprobs.is_empty() {
            let text = std::mem::take(&mut mail.text);
            let logprobs = std::mem::take(&mut mail.logprobs);
            return Some(Ok(GenerationEvent::Text { text, logprobs }));
        }
        mail.end
            .take()
            .map(|end| end.map(GenerationEvent::Finished))
    }

    /// The prompt was accepted.
    pub(super) fn start(&self, n_prompt: u32) {
        self.lock().started = Some(n_prompt);
        self.ready.notify_one();
    }

    /// Adds one step's output; false when nobody reads any more.
    pub(super) fn update(&self, update: Update) -> bool {
        let mut mail = self.lock();
        if mail.text.is_empty() {
            mail.text = update.text;
        } else {
            mail.text.push_str(&update.text);
        }
        mail.logprobs.extend(update.logprobs);
        mail.end = update.finished.map(Ok);
        let wanted = !mail.abandoned;
        drop(mail);
        self.ready.notify_one();
        wanted
    }

    /// Ends the generation with an error.
    pub(super) fn fail(&self, error: RunnerError) {
        self.lock().end = Some(Err(error));
        self.ready.notify_one();
    }
}
