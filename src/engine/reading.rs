//! The thread that reads prompts with images: decoding a photo and encoding it for the model take long,
//! and nobody else's tokens should wait for it. Requests take turns at it, image by image: who shows one
//! does not wait for all of an album.

use std::collections::{HashSet, VecDeque};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::{thread, vec};

use super::backend::MediaReader;
use super::media::Piece;
use super::prompt;
use crate::protocol::{
    Command, Failure, FailureKind, GenerateParams, LoadedInfo, PromptPart, RequestId,
};

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

/// A prompt of which a part was read.
pub(super) struct Job {
    parts: vec::IntoIter<PromptPart>,
    pieces: Vec<Piece>,
    /// Tokens and rows so far.
    n_tokens: usize,
    /// As many of them are too many.
    n_ctx: usize,
    add_special: bool,
}

impl Job {
    /// Takes the prompt out of a request.
    ///
    /// # Errors
    /// Its images cannot be read, as far as their sizes say.
    pub(super) fn begin(
        params: &mut GenerateParams,
        reader: &dyn MediaReader,
        n_ctx_pool: u32,
    ) -> Result<Self, Failure> {
        let parts = std::mem::take(&mut params.prompt);
        reader.check(&parts)?;
        let n_ctx = match params.n_ctx {
            0 => n_ctx_pool,
            n_ctx => n_ctx.min(n_ctx_pool),
        };
        let mut job = Self {
            parts: parts.into_iter(),
            pieces: Vec::new(),
            n_tokens: 0,
            n_ctx: n_ctx as usize,
            add_special: params.add_special,
        };
        job.end(reader, 0);
        Ok(job)
    }

    /// Reads on to behind the next image; returns the prompt at its end.
    ///
    /// # Errors
    /// What the reader says, and as soon as the prompt is longer than its context.
    pub(super) fn read(
        &mut self,
        reader: &mut dyn MediaReader,
    ) -> Result<Option<Vec<Piece>>, Failure> {
        while let Some(part) = self.parts.next() {
            for piece in reader.read(&part)? {
                self.push(piece);
            }
            prompt::check_length(self.n_tokens, self.n_ctx)?;
            if matches!(part, PromptPart::Media(_)) {
                return Ok(None);
            }
        }
        self.end(reader, 1);
        Ok(Some(std::mem::take(&mut self.pieces)))
    }

    fn end(&mut self, reader: &dyn MediaReader, which: usize) {
        if self.add_special {
            self.push(Piece::Tokens(reader.ends()[which].clone()));
        }
    }

    /// Tokens go to those before them.
    fn push(&mut self, piece: Piece) {
        match piece {
            Piece::Media(media) => {
                self.n_tokens += media.tokens.len();
                self.pieces.push(Piece::Media(media));
            }
            Piece::Tokens(mut tokens) => {
                self.n_tokens += tokens.len();
                match self.pieces.last_mut() {
                    Some(Piece::Tokens(before)) => before.append(&mut tokens),
                    _ => self.pieces.push(Piece::Tokens(tokens)),
                }
            }
        }
    }
}

/// Requests at the reader.
struct Turns {
    reader: Box<dyn MediaReader>,
    n_ctx_pool: u32,
    waiting: VecDeque<(RequestId, Box<GenerateParams>, Option<Job>)>,
}

impl Turns {
    /// Takes requests in until nobody sends any; what was read goes to `out`.
    fn serve(
        mut self,
        inbox: &Receiver<(RequestId, Box<GenerateParams>)>,
        there: &Readers,
        out: &SyncSender<Message>,
    ) {
        loop {
            if self.waiting.is_empty() {
                let Ok((id, params)) = inbox.recv() else {
                    return;
                };
                self.waiting.push_back((id, params, None));
            }
            let arrived = inbox.try_iter().map(|(id, params)| (id, params, None));
            self.waiting.extend(arrived);
            let Some((id, mut params, mut job)) = self.waiting.pop_front() else {
                continue;
            };
            if !there.lock().contains(&id) {
                continue;
            }
            let read = || self.read(&mut params, &mut job);
            // A file that its decoder stumbles over costs its own request, not those behind it.
            let outcome = catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|_| {
                let message = "an image of this prompt could not be read";
                Err(prompt::failure(FailureKind::Invalid, message))
            });
            let Some(outcome) = outcome.transpose() else {
                self.waiting.push_back((id, params, job));
                continue;
            };
            let reading = Reading {
                id,
                params,
                outcome,
            };
            if out.send(Message::Read(Box::new(reading))).is_err() {
                return;
            }
        }
    }

    fn read(
        &mut self,
        params: &mut GenerateParams,
        job: &mut Option<Job>,
    ) -> Result<Option<Vec<Piece>>, Failure> {
        let reader = self.reader.as_mut();
        match job {
            Some(job) => job.read(reader),
            None => job
                .insert(Job::begin(params, reader, self.n_ctx_pool)?)
                .read(reader),
        }
    }
}

impl ReadingRoom {
    /// Starts the thread; what it has read comes to `out`.
    pub(super) fn open(
        reader: Option<Box<dyn MediaReader>>,
        info: &LoadedInfo,
        out: SyncSender<Message>,
    ) -> io::Result<Self> {
        let Some(reader) = reader else {
            return Ok(Self::default());
        };
        let (requests, inbox) = channel();
        let readers = Readers::default();
        let there = readers.clone();
        let turns = Turns {
            reader,
            n_ctx_pool: info.n_ctx_pool,
            waiting: VecDeque::new(),
        };
        thread::Builder::new()
            .name("reading".to_owned())
            .spawn(move || turns.serve(&inbox, &there, &out))?;
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
