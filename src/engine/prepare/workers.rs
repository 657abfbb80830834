//! The threads that prepare requests.
//!
//! *Invariants:* a request is in one place at a time: in a queue, with a thread, or passed to the engine.
//! It moves under one lock, so that a cancellation always finds it. The lock is never held while computing
//! or waiting.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::generation::Need;
use super::job::{self, Failed, Job};
use super::state::{Queue, State};
use super::{Outcome, Terms};
use crate::engine::backend::{MediaEncoder, Preparer};
use crate::engine::inbox::Inbox;
use crate::engine::outbox::Outbox;
use crate::engine::prompt;
use crate::protocol::{Command, Constraint, Event, Failure, FailureKind, RequestId};

/// Threads that tokenize texts and build samplers. One would suffice for fairness; the second one works
/// while the first is blocked by something that cannot be divided.
const READERS: usize = 2;

/// Stack of such a thread: llama.cpp splits texts by regular expressions, which recurse deeply on a long word.
/// Only the used part takes memory.
const READER_STACK: usize = 64 << 20;

/// How long a request is worked on before the next one gets its turn.
const TURN: Duration = Duration::from_millis(5);

/// Stack of a compilation, which recurses as deeply as its constraint is nested. Only the used part takes
/// memory.
const COMPILER_STACK: usize = 256 << 20;

/// The longest time until a constraint is compiled, including waiting. A running compilation cannot be stopped:
/// its request ends, but the thread counts as compiling until it is done.
const LONGEST_COMPILATION: Duration = Duration::from_secs(30);

/// How often that time is checked while something is compiled.
const PERIOD: Duration = Duration::from_secs(1);

/// The entrance for requests; the threads end when it is dropped.
pub(in crate::engine) struct PromptWorkers<P: Preparer>(Arc<Shared<P>>);

struct Shared<P: Preparer> {
    terms: Terms<P>,
    state: Mutex<State<P>>,
    /// A request waits for a text thread.
    texts: Condvar,
    /// A request waits for the image thread.
    images: Condvar,
    inbox: Arc<Inbox<P::Sampler>>,
    outbox: Outbox,
}

/// What a thread has done with a request.
enum Done {
    Need(Need),
    Failed(Failure),
}

impl<P: Preparer> PromptWorkers<P> {
    /// Starts the threads. Prepared requests go to `inbox`, immediate answers to `outbox`.
    pub(in crate::engine) fn open(
        terms: Terms<P>,
        encoder: Option<Box<dyn MediaEncoder>>,
        inbox: Arc<Inbox<P::Sampler>>,
        outbox: Outbox,
    ) -> io::Result<Self> {
        let workers = Self(Arc::new(Shared {
            terms,
            state: Mutex::new(State::new(encoder.is_some())),
            texts: Condvar::new(),
            images: Condvar::new(),
            inbox,
            outbox,
        }));
        for _ in 0..READERS {
            let shared = Arc::clone(&workers.0);
            let texts = thread::Builder::new().name("texts".to_owned());
            let texts = texts.stack_size(READER_STACK);
            texts.spawn(move || {
                step_back();
                while shared.read_text() {}
            })?;
        }
        if let Some(mut encoder) = encoder {
            let shared = Arc::clone(&workers.0);
            let images = thread::Builder::new().name("images".to_owned());
            let images = images.stack_size(READER_STACK);
            images.spawn(move || {
                step_back();
                while shared.encode(&mut *encoder) {}
            })?;
        }
        Ok(workers)
    }

    /// Adds a request.
    pub(in crate::engine) fn submit(&self, command: Command) {
        let job = match Job::new(command, &self.0.terms) {
            Some(Ok(job)) => job,
            Some(Err(failed)) => return self.0.fail(failed),
            None => return,
        };
        let id = job.id;
        let mut state = self.0.lock();
        if state.has_room(&job) && state.push(Queue::Texts, job) {
            self.0.texts.notify_one();
        } else {
            drop(state);
            self.0.fail((id, busy()));
        }
    }

    /// Cancels a request wherever it is.
    pub(in crate::engine) fn cancel(&self, id: RequestId) {
        let mut state = self.0.lock();
        if !state.cancel(id) {
            self.0.inbox.cancel(id);
        }
    }
}

impl<P: Preparer> Drop for PromptWorkers<P> {
    fn drop(&mut self) {
        self.0.lock().is_closed = true;
        self.0.texts.notify_all();
        self.0.images.notify_all();
    }
}

impl<P: Preparer> Shared<P> {
    fn lock(&self) -> MutexGuard<'_, State<P>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the next request of a queue; `None` when the workers end.
    fn next(&self, queue: Queue, arrived: &Condvar) -> Option<Job<P>> {
        let mut state = self.lock();
        loop {
            if state.is_closed {
                return None;
            }
            if let Some(job) = state.pop(queue) {
                return Some(job);
            }
            state = if state.is_compiling() {
                let waited = arrived.wait_timeout(state, PERIOD);
                drop(waited.unwrap_or_else(PoisonError::into_inner));
                self.end_overdue();
                self.lock()
            } else {
                let waited = arrived.wait(state);
                waited.unwrap_or_else(PoisonError::into_inner)
            };
        }
    }

    /// Works on a request's text for one turn; false when the workers end.
    fn read_text(self: &Arc<Self>) -> bool {
        let Some(mut job) = self.next(Queue::Texts, &self.texts) else {
            return false;
        };
        let begun = Instant::now();
        let work = || loop {
            match job.advance(&self.terms) {
                Ok(Need::Time) if begun.elapsed() < TURN => {}
                Ok(need) => return Done::Need(need),
                Err(failure) => return Done::Failed(failure),
            }
        };
        let done = unless_it_panics(work, "the prompt could not be prepared");
        self.put_back(job, done);
        true
    }

    /// Encodes an image of a request; false when the workers end.
    fn encode(self: &Arc<Self>, encoder: &mut dyn MediaEncoder) -> bool {
        let Some(mut job) = self.next(Queue::Images, &self.images) else {
            return false;
        };
        let work = || match job.encode(encoder) {
            Ok(()) => Done::Need(Need::Time),
            Err(failure) => Done::Failed(failure),
        };
        // If its decoder panics, only this request fails.
        let done = unless_it_panics(work, "an image of this prompt could not be read");
        self.put_back(job, done);
        true
    }

    /// Passes a request on after a thread has done its part.
    fn put_back(self: &Arc<Self>, job: Job<P>, done: Done) {
        let id = job.id;
        let need = match done {
            Done::Need(need) => need,
            Done::Failed(failure) => {
                if self.lock().take_back(id) {
                    self.fail((id, failure));
                }
                return;
            }
        };
        if need == Need::Nothing {
            return self.finish(job);
        }
        let (queue, arrived) = match need {
            Need::Media => (Queue::Images, Some(&self.images)),
            Need::Compiler => (Queue::Constraints, None),
            Need::Time | Need::Nothing => (Queue::Texts, Some(&self.texts)),
        };
        let mut state = self.lock();
        if !state.take_back(id) {
            return;
        }
        if !state.push(queue, job) {
            drop(state);
            return self.fail((id, job::blind()));
        }
        drop(state);
        match arrived {
            Some(arrived) => arrived.notify_one(),
            None => self.compile(),
        }
    }

    /// Finishes a request that needs nothing more, and passes it to the engine.
    fn finish(&self, job: Job<P>) {
        let id = job.id;
        let work = AssertUnwindSafe(|| job.finish(&self.terms));
        let outcome = catch_unwind(work).unwrap_or_else(|_| {
            let message = "the request could not be prepared";
            Err(prompt::failure(FailureKind::Internal, message))
        });
        let mut state = self.lock();
        if !state.take_back(id) {
            return;
        }
        match outcome {
            // Under the lock: later cancellations go to the engine.
            Ok(Outcome::Prepared(prepared)) => self.inbox.put(id, prepared),
            Ok(Outcome::Answer(event)) => {
                drop(state);
                self.tell(event);
            }
            Err(failure) => {
                drop(state);
                self.fail((id, failure));
            }
        }
    }

    /// Starts as many compilations as may run.
    fn compile(self: &Arc<Self>) {
        loop {
            let mut state = self.lock();
            let next = state.start_compilation();
            let Some((id, constraint)) =
                next.and_then(|job| Some((job.id, job.constraint()?.clone())))
            else {
                return;
            };
            drop(state);
            let shared = Arc::clone(self);
            let thread = thread::Builder::new().name("constraint".to_owned());
            let thread = thread.stack_size(COMPILER_STACK);
            if let Err(error) = thread.spawn(move || shared.compile_one(id, &constraint)) {
                let message = format!("no thread to compile the constraint: {error}");
                self.end_compilation(id, Err(prompt::failure(FailureKind::Internal, &message)));
            }
        }
    }

    fn compile_one(self: &Arc<Self>, id: RequestId, constraint: &Constraint) {
        step_back();
        let work = AssertUnwindSafe(|| self.terms.preparer.compile(constraint));
        let compiled = match catch_unwind(work) {
            Ok(compiled) => compiled.map_err(|error| prompt::refused(&error)),
            Err(_) => {
                let message = "the constraint could not be compiled";
                Err(prompt::failure(FailureKind::Invalid, message))
            }
        };
        self.end_compilation(id, compiled);
        self.compile();
    }

    fn end_compilation(&self, id: RequestId, compiled: Result<P::Grammar, Failure>) {
        let mut state = self.lock();
        let Some(mut job) = state.end_compilation(id) else {
            return;
        };
        match compiled {
            Ok(grammar) => {
                job.set_grammar(grammar);
                if state.push(Queue::Texts, job) {
                    self.texts.notify_one();
                }
            }
            Err(failure) => {
                drop(state);
                self.fail((id, failure));
            }
        }
    }

    /// Gives up on constraints that take too long.
    fn end_overdue(&self) {
        loop {
            let overdue = self.lock().overdue(LONGEST_COMPILATION);
            let failure = match overdue {
                Some((_, true)) => prompt::failure(
                    FailureKind::Invalid,
                    "the constraint takes too long to compile: make it simpler",
                ),
                Some((_, false)) => busy(),
                None => return,
            };
            if let Some((id, _)) = overdue {
                self.fail((id, failure));
            }
        }
    }

    fn fail(&self, (id, failure): Failed) {
        self.tell(Event::Failed { id, failure });
    }

    fn tell(&self, event: Event) {
        // The reader notices when the daemon is gone.
        let _ = self.outbox.tell(event);
    }
}

/// A panic fails only the request that caused it.
fn unless_it_panics(work: impl FnOnce() -> Done, message: &str) -> Done {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_| Done::Failed(prompt::failure(FailureKind::Invalid, message)))
}

/// Ollama's error for an overloaded server.
fn busy() -> Failure {
    prompt::failure(
        FailureKind::Overloaded,
        "server busy, please try again.  maximum pending requests exceeded",
    )
}

/// Lowers the thread's priority, so that the engine's threads go first.
#[cfg(target_os = "linux")]
fn step_back() {
    let thread = rustix::thread::gettid();
    // If that fails, the thread works at its normal priority.
    let _ = rustix::process::setpriority_process(Some(thread), NICE);
}

#[cfg(not(target_os = "linux"))]
fn step_back() {}

/// The increment of `nice` without an argument.
#[cfg(target_os = "linux")]
const NICE: i32 = 10;
