//! The state of all requests in preparation. Pure: decides which request is next.

use std::collections::HashMap;
use std::time::Duration;

use super::job::Job;
use crate::engine::backend::Preparer;
use crate::fair_queue::FairQueue;
use crate::protocol::RequestId;

/// Constraints that are compiled at once, each for a client of another origin.
const COMPILERS: usize = 4;

/// The most requests in preparation; more are refused as overloaded. The daemon admits fewer.
const REQUESTS: usize = 8192;

/// The most bytes of all requests together: some hundred photos.
const BYTES: usize = 1 << 30;

pub(super) struct State<P: Preparer> {
    texts: FairQueue<Job<P>>,
    /// `None` where the model has no encoder.
    images: Option<FairQueue<Job<P>>>,
    constraints: FairQueue<Job<P>>,
    /// Requests that a thread works on.
    at_work: HashMap<RequestId, Work>,
    compilations: Vec<Compilation<P>>,
    n_bytes: usize,
    pub(super) is_closed: bool,
}

/// A request that a thread works on.
struct Work {
    is_wanted: bool,
    n_bytes: usize,
}

/// A thread that compiles a constraint.
struct Compilation<P: Preparer> {
    id: RequestId,
    client: String,
    /// `None` when the request is over.
    job: Option<Job<P>>,
}

/// A queue that threads take requests from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Queue {
    Texts,
    Images,
    Constraints,
}

impl<P: Preparer> State<P> {
    pub(super) fn new(has_eyes: bool) -> Self {
        Self {
            texts: FairQueue::default(),
            images: has_eyes.then(FairQueue::default),
            constraints: FairQueue::default(),
            at_work: HashMap::new(),
            compilations: Vec::new(),
            n_bytes: 0,
            is_closed: false,
        }
    }

    /// Whether there is room for a request; there always is for the only one.
    pub(super) fn has_room(&self, job: &Job<P>) -> bool {
        let n_requests = self.texts.len()
            + self.images.as_ref().map_or(0, FairQueue::len)
            + self.constraints.len()
            + self.at_work.len();
        n_requests == 0 || n_requests < REQUESTS && self.n_bytes + job.n_bytes <= BYTES
    }

    fn queue(&mut self, queue: Queue) -> Option<&mut FairQueue<Job<P>>> {
        match queue {
            Queue::Texts => Some(&mut self.texts),
            Queue::Images => self.images.as_mut(),
            Queue::Constraints => Some(&mut self.constraints),
        }
    }

    /// Puts a request into a queue; false if there is no such queue.
    pub(super) fn push(&mut self, queue: Queue, job: Job<P>) -> bool {
        let n_bytes = job.n_bytes;
        let Some(queue) = self.queue(queue) else {
            return false;
        };
        let (priority, client) = (job.priority, job.client.clone());
        queue.push(priority, &client, job);
        self.n_bytes += n_bytes;
        true
    }

    /// Gives a thread the request whose turn it is.
    pub(super) fn pop(&mut self, queue: Queue) -> Option<Job<P>> {
        let job = self.queue(queue)?.pop()?;
        let work = Work {
            is_wanted: true,
            n_bytes: job.n_bytes,
        };
        self.at_work.insert(job.id, work);
        Some(job)
    }

    /// Takes a request back from a thread; false if it is not wanted any more.
    pub(super) fn take_back(&mut self, id: RequestId) -> bool {
        let work = self.at_work.remove(&id);
        self.n_bytes -= work.as_ref().map_or(0, |work| work.n_bytes);
        work.is_some_and(|work| work.is_wanted)
    }

    /// The next request whose constraint may be compiled now; it leaves the queue and counts as being worked
    /// on.
    pub(super) fn start_compilation(&mut self) -> Option<&Job<P>> {
        if self.compilations.len() >= COMPILERS {
            return None;
        }
        let compilations = &self.compilations;
        let is_free = |job: &Job<P>| {
            let mut busy = compilations.iter();
            !busy.any(|compilation| origin(&compilation.client) == origin(&job.client))
        };
        let job = self.constraints.pop_where(is_free)?;
        self.compilations.push(Compilation {
            id: job.id,
            client: job.client.clone(),
            job: Some(job),
        });
        self.compilations.last()?.job.as_ref()
    }

    /// Ends a compilation; `None` if its request is over.
    pub(super) fn end_compilation(&mut self, id: RequestId) -> Option<Job<P>> {
        let is_it = |compilation: &Compilation<P>| compilation.id == id;
        let index = self.compilations.iter().position(is_it)?;
        let job = self.compilations.swap_remove(index).job;
        self.n_bytes -= job.as_ref().map_or(0, |job| job.n_bytes);
        job
    }

    pub(super) fn is_compiling(&self) -> bool {
        !self.compilations.is_empty()
    }

    /// Removes a request whose constraint takes too long; returns whether its compilation had started.
    pub(super) fn overdue(&mut self, longest: Duration) -> Option<(RequestId, bool)> {
        let is_overdue = |job: &Job<P>| job.age() > longest;
        let mut compiling = self.compilations.iter_mut();
        let compiling = compiling.find_map(|it| it.job.take_if(|job| is_overdue(job)));
        let (job, had_turn) = match compiling {
            Some(job) => (job, true),
            None => (self.constraints.remove(is_overdue)?, false),
        };
        self.n_bytes -= job.n_bytes;
        Some((job.id, had_turn))
    }

    /// Removes a request wherever it is; false if it is not here.
    pub(super) fn cancel(&mut self, id: RequestId) -> bool {
        if let Some(work) = self.at_work.get_mut(&id) {
            work.is_wanted = false;
            return true;
        }
        let is_it = |job: &Job<P>| job.id == id;
        let waiting = [Queue::Texts, Queue::Images, Queue::Constraints];
        let mut waiting = waiting.into_iter();
        let job = waiting.find_map(|queue| self.queue(queue)?.remove(is_it));
        let compiling = || {
            let mut compilations = self.compilations.iter_mut();
            compilations.find_map(|compilation| compilation.job.take_if(|job| job.id == id))
        };
        let job = job.or_else(compiling);
        self.n_bytes -= job.as_ref().map_or(0, |job| job.n_bytes);
        job.is_some()
    }
}

/// The client's origin, without the name, which a client can choose freely.
fn origin(client: &str) -> &str {
    client.split_once('/').map_or(client, |(origin, _)| origin)
}
