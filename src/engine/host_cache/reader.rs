//! Reads states from files on a separate thread, since a large one would delay running answers.

use std::fmt;
use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::SavedState;
use super::files::Known;
use crate::protocol::Token;

/// The capacity of the queue. Read states wait in memory, and each can be large.
const QUEUE: usize = 2;

/// The engine's side of the thread.
#[derive(Debug)]
pub(super) struct Reader {
    wanted: SyncSender<Known>,
    /// The tokens of the states that are not read yet.
    reading: Vec<Vec<Token>>,
    shared: Arc<Shared>,
}

/// What the thread has read.
#[derive(Default)]
struct Shared {
    read: Mutex<Vec<(Vec<Token>, Option<SavedState>)>>,
    arrived: Condvar,
    /// Wakes the engine's thread.
    wake: Mutex<Option<Box<dyn Fn() + Send>>>,
    /// A test keeps the thread from reading by holding this.
    #[cfg(test)]
    gate: Mutex<()>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

impl Reader {
    pub(super) fn start() -> io::Result<Self> {
        let (wanted, files) = sync_channel(QUEUE);
        let shared = Arc::new(Shared::default());
        let background = Arc::clone(&shared);
        std::thread::Builder::new()
            .name("prefixes".to_owned())
            .spawn(move || background.run(&files))?;
        Ok(Self {
            wanted,
            reading: Vec::new(),
            shared,
        })
    }

    /// Calls this after each file.
    pub(super) fn wake_with(&self, wake: impl Fn() + Send + 'static) {
        *lock(&self.shared.wake) = Some(Box::new(wake));
    }

    /// Queues a file for reading, unless it is already queued. If the queue is full, the schedule asks
    /// again later.
    pub(super) fn read(&mut self, known: Known) {
        if self.is_reading(&known.tokens) {
            return;
        }
        let tokens = known.tokens.clone();
        if self.wanted.try_send(known).is_ok() {
            self.reading.push(tokens);
        }
    }

    pub(super) fn is_reading(&self, tokens: &[Token]) -> bool {
        self.reading.iter().any(|reading| reading == tokens)
    }

    /// Takes what has been read; `None` for a file that is gone or damaged.
    pub(super) fn take(&mut self) -> Vec<(Vec<Token>, Option<SavedState>)> {
        if self.reading.is_empty() {
            return Vec::new();
        }
        let read = std::mem::take(&mut *lock(&self.shared.read));
        self.reading
            .retain(|reading| read.iter().all(|(tokens, _)| tokens != reading));
        read
    }

    /// Waits until something has been read.
    #[cfg(test)]
    pub(super) fn wait(&self) {
        let read = lock(&self.shared.read);
        let waited = self.shared.arrived.wait_while(read, |read| read.is_empty());
        drop(waited);
    }

    /// Keeps the thread from reading until the returned sender is dropped.
    #[cfg(test)]
    pub(super) fn hold(&self) -> SyncSender<()> {
        let (release, released) = sync_channel::<()>(0);
        let (hold, held) = sync_channel(0);
        let shared = Arc::clone(&self.shared);
        std::thread::spawn(move || {
            let gate = lock(&shared.gate);
            let _ = hold.send(());
            let _ = released.recv();
            drop(gate);
        });
        let _ = held.recv();
        release
    }
}

impl Shared {
    fn run(&self, files: &Receiver<Known>) {
        for known in files {
            #[cfg(test)]
            let _gate = lock(&self.gate);
            let state = known.read();
            lock(&self.read).push((known.tokens, state));
            self.arrived.notify_all();
            if let Some(wake) = &*lock(&self.wake) {
                wake();
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
