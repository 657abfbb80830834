//! The events of one generation, from the process task to the reader of the stream.
//!
//! The sender never waits: unread text is joined, so a slow reader gets larger pieces. When more than
//! [`MAX_UNREAD`] is unread, the generation ends with an error. The server detects readers that read
//! nothing at all.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::RunnerError;
use super::cancels::Cancels;
use crate::protocol::{
    Failure, FailureKind, Finished, PromptToken, RequestId, TokenLogprob, TopLogprob, Update,
};

/// The most unread bytes: more text than a model writes in an hour, and the log-probabilities of a long
/// answer.
const MAX_UNREAD: usize = 8 << 20;

/// One piece of a generation.
#[derive(Debug, Clone, PartialEq)]
pub enum GenerationEvent {
    /// The prompt was accepted.
    Started {
        n_prompt: u32,
        /// The prompt was cut to fit the context.
        is_cut: bool,
    },
    Text {
        text: String,
        /// The number of tokens that were sampled for it.
        n_tokens: u32,
        /// The parts that were joined, if there is more than one.
        parts: Vec<Part>,
        /// The next tokens of the prompt, if their log-probabilities were requested.
        prompt: Vec<PromptToken>,
        logprobs: Vec<TokenLogprob>,
    },
    /// Always the last event of a generation that did not fail.
    Finished(Finished),
}

/// The part of a text that one step produced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    pub n_tokens: u32,
    pub n_bytes: usize,
}

/// The events of one generation; dropping it cancels the request within one step.
#[derive(Debug)]
pub struct Generation {
    id: RequestId,
    mailbox: Arc<Mailbox>,
    cancels: Cancels,
    ended: bool,
}

impl Generation {
    pub(super) fn new(id: RequestId, mailbox: Arc<Mailbox>, cancels: Cancels) -> Self {
        Self {
            id,
            mailbox,
            cancels,
            ended: false,
        }
    }

    /// The id for [`super::RunnerHandle::place`].
    pub fn id(&self) -> RequestId {
        self.id
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
            self.cancels.write(self.id);
        }
    }
}

/// What was received and not yet read.
#[derive(Debug, Default)]
pub(super) struct Mailbox {
    mail: Mutex<Mail>,
    ready: Notify,
}

#[derive(Debug, Default)]
struct Mail {
    /// Tokens of the prompt, and whether it was cut.
    started: Option<(u32, bool)>,
    text: String,
    n_tokens: u32,
    /// Empty while there is a single part.
    parts: Vec<Part>,
    prompt: Vec<PromptToken>,
    logprobs: Vec<TokenLogprob>,
    /// Approximate size of the log-probabilities.
    n_logprob_bytes: usize,
    end: Option<Result<Finished, RunnerError>>,
    /// The reader is gone.
    abandoned: bool,
}

impl Mail {
    /// Remembers where the next part begins.
    fn note_part(&mut self, n_tokens: u32, n_bytes: usize) {
        if self.n_tokens == 0 && self.text.is_empty() {
            return;
        }
        if self.parts.is_empty() {
            self.parts.push(Part {
                n_tokens: self.n_tokens,
                n_bytes: self.text.len(),
            });
        }
        self.parts.push(Part { n_tokens, n_bytes });
    }
}

impl Mailbox {
    fn lock(&self) -> MutexGuard<'_, Mail> {
        self.mail.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> Option<Result<GenerationEvent, RunnerError>> {
        let mut mail = self.lock();
        if let Some((n_prompt, is_cut)) = mail.started.take() {
            return Some(Ok(GenerationEvent::Started { n_prompt, is_cut }));
        }
        if !mail.text.is_empty() || !mail.logprobs.is_empty() || !mail.prompt.is_empty() {
            let text = std::mem::take(&mut mail.text);
            let n_tokens = std::mem::take(&mut mail.n_tokens);
            let parts = std::mem::take(&mut mail.parts);
            let prompt = std::mem::take(&mut mail.prompt);
            let logprobs = std::mem::take(&mut mail.logprobs);
            mail.n_logprob_bytes = 0;
            return Some(Ok(GenerationEvent::Text {
                text,
                n_tokens,
                parts,
                prompt,
                logprobs,
            }));
        }
        mail.end
            .take()
            .map(|end| end.map(GenerationEvent::Finished))
    }

    /// Whether the reader is gone.
    pub(super) fn is_abandoned(&self) -> bool {
        self.lock().abandoned
    }

    /// The prompt was accepted.
    pub(super) fn start(&self, n_prompt: u32, is_cut: bool) {
        self.lock().started = Some((n_prompt, is_cut));
        self.ready.notify_one();
    }

    /// Adds one step's output; false when the reader is gone or too slow.
    pub(super) fn update(&self, update: Update) -> bool {
        let mut mail = self.lock();
        mail.note_part(update.n_tokens, update.text.len());
        if mail.text.is_empty() {
            mail.text = update.text;
        } else {
            mail.text.push_str(&update.text);
        }
        mail.n_tokens = mail.n_tokens.saturating_add(update.n_tokens);
        let of_prompt = |entry: &PromptToken| n_bytes(entry, &entry.bytes, &entry.top);
        mail.n_logprob_bytes += update.prompt.iter().map(of_prompt).sum::<usize>();
        mail.prompt.extend(update.prompt);
        let of_answer = |entry: &TokenLogprob| n_bytes(entry, &entry.bytes, &entry.top);
        mail.n_logprob_bytes += update.logprobs.iter().map(of_answer).sum::<usize>();
        mail.logprobs.extend(update.logprobs);
        mail.end = update.finished.map(Ok);
        let is_too_much = mail.text.len() + mail.n_logprob_bytes > MAX_UNREAD;
        if is_too_much {
            *mail = Mail {
                end: Some(Err(unread())),
                ..Mail::default()
            };
        }
        let wanted = !mail.abandoned && !is_too_much;
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

/// Approximate size of an entry in memory.
fn n_bytes<T>(entry: &T, bytes: &[u8], top: &[TopLogprob]) -> usize {
    let of_top = |top: &TopLogprob| size_of_val(top) + top.bytes.len();
    let top: usize = top.iter().map(of_top).sum();
    size_of_val(entry) + bytes.len() + top
}

fn unread() -> RunnerError {
    RunnerError::Failed(Failure {
        kind: FailureKind::Internal,
        message: "the answer was read too slowly".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn update(n_bytes: usize, logprobs: Vec<TokenLogprob>) -> Update {
        Update {
            id: 1,
            text: "x".repeat(n_bytes),
            n_tokens: 1,
            prompt: Vec::new(),
            logprobs,
            finished: None,
        }
    }

    #[test]
    fn a_reader_far_behind_loses_its_answer_and_holds_no_memory() {
        let mailbox = Mailbox::default();
        for _ in 0..3 {
            assert!(mailbox.update(update(MAX_UNREAD, Vec::new())));
            assert!(matches!(
                mailbox.take(),
                Some(Ok(GenerationEvent::Text { .. }))
            ));
        }
        assert!(mailbox.update(update(MAX_UNREAD, Vec::new())));
        assert!(!mailbox.update(update(1, Vec::new())));
        assert_eq!(mailbox.lock().text.capacity(), 0);
        assert!(matches!(mailbox.take(), Some(Err(RunnerError::Failed(_)))));
    }

    #[test]
    fn likeliest_tokens_count() {
        let (token, bytes, logprob) = (1, b"token".to_vec(), 0.0);
        let top = TopLogprob {
            token,
            bytes: bytes.clone(),
            logprob,
        };
        let entry = TokenLogprob {
            token,
            bytes,
            logprob,
            top: vec![top; 20],
        };
        let mailbox = Mailbox::default();
        let many = || update(0, vec![entry.clone(); 1000]);
        let n = (0..100).take_while(|_| mailbox.update(many())).count();
        assert!((5..20).contains(&n), "{n}");
    }

    #[test]
    fn joined_texts_tell_their_parts() {
        let mailbox = Mailbox::default();
        let parts = || match mailbox.take() {
            Some(Ok(GenerationEvent::Text {
                parts, n_tokens, ..
            })) => (n_tokens, parts),
            other => panic!("{other:?}"),
        };
        mailbox.update(update(3, Vec::new()));
        assert_eq!(parts(), (1, Vec::new()));
        for n_bytes in [2, 0, 4] {
            mailbox.update(update(n_bytes, Vec::new()));
        }
        let expected = [2, 0, 4].map(|n_bytes| Part {
            n_tokens: 1,
            n_bytes,
        });
        assert_eq!(parts(), (3, expected.to_vec()));
        // A token without text is not lost either.
        mailbox.update(update(0, Vec::new()));
        mailbox.update(update(1, Vec::new()));
        let expected = [0, 1].map(|n_bytes| Part {
            n_tokens: 1,
            n_bytes,
        });
        assert_eq!(parts(), (2, expected.to_vec()));
    }
}
