//! The thread that reads prompts with images: decoding a photo and encoding it for the model take long,
//! and nobody else's tokens should wait for it.

use std::collections::HashSet;
use std::io;
use std::sync::mpsc::{Sender, SyncSender, channel};
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
    /// Who is there, and was not cancelled.
    readers: HashSet<RequestId>,
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
        let read = move || {
            for (id, mut params) in inbox {
                let parts = std::mem::take(&mut params.prompt);
                let outcome = reader.read(&parts, params.add_special);
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
            readers: HashSet::new(),
        })
    }

    /// Takes in a request if it has images.
    ///
    /// # Errors
    /// The model cannot see.
    pub(super) fn take_in(
        &mut self,
        command: Command,
    ) -> Result<Option<Command>, (RequestId, Failure)> {
        let Command::Generate { id, params } = command else {
            if let Command::Cancel { id } = command {
                self.readers.remove(&id);
            }
            return Ok(Some(command));
        };
        let is_media = |part: &PromptPart| matches!(part, PromptPart::Media(_));
        if !params.prompt.iter().any(is_media) {
            return Ok(Some(Command::Generate { id, params }));
        }
        let sent = self
            .requests
            .as_ref()
            .map(|requests| requests.send((id, params)));
        if !matches!(sent, Some(Ok(()))) {
            let failure = prompt::failure(FailureKind::Unsupported, "this model cannot see images");
            return Err((id, failure));
        }
        self.readers.insert(id);
        Ok(None)
    }

    /// Whether somebody still waits for what was read.
    pub(super) fn leaves(&mut self, reading: &Reading) -> bool {
        self.readers.remove(&reading.id)
    }
}
