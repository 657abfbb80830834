//! Routes the reader's commands: before a model is loaded to the starting thread, afterwards to the prompt
//! workers and the engine. It never blocks.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::backend::Preparer;
use super::inbox::{End, Inbox};
use super::prepare::PromptWorkers;
use crate::protocol::Command;

/// The reader's side.
#[derive(Default)]
pub(super) struct Intake {
    state: Mutex<State>,
    arrived: Condvar,
}

#[derive(Default)]
struct State {
    /// Commands before a model is loaded; a correct daemon sends one.
    first: VecDeque<Command>,
    sink: Option<Box<dyn CommandSink>>,
    is_closed: bool,
}

/// The capacity of the queue before a model is loaded; further commands are dropped.
const FIRST: usize = 64;

/// The first task of a runner.
pub(super) enum First {
    Command(Command),
    /// The daemon is gone.
    Closed,
}

/// Takes commands for a loaded model.
pub(super) trait CommandSink: Send {
    fn take(&self, command: Command);

    /// The daemon is gone.
    fn close(&self);
}

impl Intake {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Routes a command.
    pub(super) fn enter(&self, command: Command) {
        let mut state = self.lock();
        match &state.sink {
            Some(sink) => sink.take(command),
            None if state.first.len() < FIRST => {
                state.first.push_back(command);
                self.arrived.notify_one();
            }
            None => {}
        }
    }

    /// The daemon is gone.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.is_closed = true;
        if let Some(sink) = &state.sink {
            sink.close();
        }
        self.arrived.notify_one();
    }

    /// Waits for a command, before a model is loaded.
    pub(super) fn first(&self) -> First {
        let state = self.lock();
        let waited = self
            .arrived
            .wait_while(state, |state| state.first.is_empty() && !state.is_closed);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner);
        match state.first.pop_front() {
            Some(command) if !state.is_closed => First::Command(command),
            _ => First::Closed,
        }
    }

    /// Sends later commands to the loaded model.
    pub(super) fn open(&self, sink: Box<dyn CommandSink>) {
        let mut state = self.lock();
        for command in std::mem::take(&mut state.first) {
            sink.take(command);
        }
        if state.is_closed {
            sink.close();
        }
        state.sink = Some(sink);
    }
}

/// The sink of a loaded model.
pub(super) struct LoadedModel<P: Preparer> {
    pub(super) workers: PromptWorkers<P>,
    pub(super) inbox: Arc<Inbox<P::Sampler>>,
}

impl<P: Preparer> CommandSink for LoadedModel<P> {
    fn take(&self, command: Command) {
        match command {
            Command::Cancel { id } => self.workers.cancel(id),
            Command::Ping { id } => self.inbox.ping(id),
            Command::Place { id, of } => self.inbox.ask_place(id, of),
            Command::Shutdown => self.inbox.end(End::Shutdown),
            Command::Load(_) | Command::Quantize(_) | Command::Probe => {}
            request => self.workers.submit(request),
        }
    }

    fn close(&self) {
        self.inbox.end(End::Gone);
    }
}
