//! A running job.

use std::collections::{HashMap, VecDeque};

use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::jobs::batches::batch::{Batch, Status};
use crate::jobs::batches::store::Line;

/// A job in memory.
pub(super) struct Job {
    pub(super) batch: Batch,
    /// The next lines.
    pub(super) lines: VecDeque<Line>,
    /// The last line that was read from the database; more may follow it.
    pub(super) last: Option<(Vec<u8>, i64)>,
    pub(super) has_more: bool,
    /// Lines to retry, with the time of the retry.
    pub(super) again: Vec<(Instant, Line, u32)>,
    pub(super) running: HashMap<i64, (AbortHandle, Line, u32)>,
    /// The number of results that are not on disk yet.
    pub(super) n_unwritten: usize,
    /// Whether a task is validating its input or ending it.
    pub(super) is_taken: bool,
}

impl Job {
    pub(super) fn new(batch: Batch) -> Self {
        Self {
            has_more: batch.status == Status::InProgress,
            batch,
            lines: VecDeque::new(),
            last: None,
            again: Vec::new(),
            running: HashMap::new(),
            n_unwritten: 0,
            is_taken: false,
        }
    }

    /// Whether none of its requests runs and no result waits for the disk.
    pub(super) fn is_idle(&self) -> bool {
        self.running.is_empty() && self.n_unwritten == 0
    }
}
