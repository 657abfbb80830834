//! The thread that reads prompts with images: decoding a photo and encoding it for the model take long,
//! and nobody else's tokens should wait for it.

use std::collections::HashSet;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Sender, SyncSender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use super::backend::MediaReader;
use super::media::Piece;
use super::prompt;
use crate::protocol::{Command, Failure, FailureKind, GenerateParams, PromptPart, RequestId};

/// What the engine's thread hears.
pub(super) enum Message {
    Command(Command),
    /// A prompt that was read.
    Read(Box<Reading>),
    /// The daemon is gone.
    Gone,
}

/// A request with images.
pub(super) struct Reading {
    pub(super) id: RequestId,
    pub(super) params: Box<GenerateParams>,
    pub(super) outcome: Result<Vec<Piece>, Failure>,
}

/// The way to that thread, which ends with it.
#[derive(Default)]
pub(super) struct ReadingRoom {
    /// None where the model has no eyes.
    requests: Option<Sender<(RequestId, Box<GenerateParams>)>>,
    readers: Readers,
}

/// Who is there, and was not cancelled.
#[derive(Clone, Default)]
struct Readers(Arc<Mutex<HashSet<RequestId>>>);

impl Readers {
    fn lock(&self) -> MutexGuard<'_, HashSet<RequestId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ReadingRoom {
    /// Starts the thread; what it has read comes to `out`.
    pub(super) fn open(
        reader: Option<Box<dyn MediaReader>>,
        out: SyncSender<Message>,
    ) -> io::Result<Self> {
        let Some(mut reader) = reader else {
            return Ok(Self::default());
        };
        let (requests, inbox) = channel::<(RequestId, Box<GenerateParams>)>();
        let readers = Readers::default();
        let there = readers.clone();
        let read = move || {
            for (id, mut params) in inbox {
                if !there.lock().contains(&id) {
                    continue;
                }
                let parts = std::mem::take(&mut params.prompt);
                let read = || reader.read(&parts, params.add_special);
                // A file that its decoder stumbles over costs its own request, not those behind it.
                let outcome = catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|_| {
                    let message = "an image of this prompt could not be read";
                    Err(prompt::failure(FailureKind::Invalid, message))
                });
                let reading = Reading {
                    id,
                    params,
                    outcome,
                };
                if out.send(Message::Read(Box::new(reading))).is_err() {
                    return;
                }
            }
        };
        thread::Builder::new()
            .name("reading".to_owned())
            .spawn(read)?;
        Ok(Self {
            requests: Some(requests),
            readers,
        })
    }

    /// Takes in a request if it has images.
    ///
    /// # Errors
    /// The model cannot see.
    pub(super) fn take_in(
        &self,
        command: Command,
    ) -> Result<Option<Command>, (RequestId, Failure)> {
        let Command::Generate { id, params } = command else {
            if let Command::Cancel { id } = command {
                self.readers.lock().remove(&id);
            }
            return Ok(Some(command));
        };
        let is_media = |part: &PromptPart| matches!(part, PromptPart::Media(_));
        if !params.prompt.iter().any(is_media) {
            return Ok(Some(Command::Generate { id, params }));
        }
        if let Some(requests) = &self.requests {
            self.readers.lock().insert(id);
            if requests.send((id, params)).is_ok() {
                return Ok(None);
            }
            self.readers.lock().remove(&id);
        }
        let failure = prompt::failure(FailureKind::Unsupported, "this model cannot see images");
        Err((id, failure))
    }

    /// Whether somebody still waits for what was read.
    pub(super) fn leaves(&self, reading: &Reading) -> bool {
        self.readers.lock().remove(&reading.id)
    }
}
