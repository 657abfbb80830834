//! Handles answers: retries failures, writes results to disk, ends jobs that have no requests left.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::{Done, Runner};
use crate::jobs::JobsError;
use crate::jobs::batches::batch::{Batch, Event, Status};
use crate::jobs::batches::line::{self, Ran};
use crate::jobs::batches::results::{self, Outcome};
use crate::jobs::batches::store::Mark;
use crate::metrics;

/// Results are written to disk in groups: of this many lines or bytes, or after this time.
const GROUP_LINES: usize = 128;
const GROUP_BYTES: usize = 4 << 20;
pub(super) const GROUP_TIME: Duration = Duration::from_millis(300);

/// How often a request is tried if the server fails to answer it.
const ATTEMPTS: u32 = 5;

impl Runner {
    /// A request has been answered.
    pub(super) fn ran(&mut self, ran: Ran) {
        self.is_alone = false;
        let Some(job) = self.jobs.get_mut(&ran.seq) else {
            return;
        };
        if job.running.remove(&ran.line.number).is_none() {
            // It was cut off after it had already been answered.
            return;
        }
        let n_tries = ran.n_tries + u32::from(line::is_failure(ran.answered.status));
        if line::passes(ran.answered.status) || (n_tries > ran.n_tries && n_tries < ATTEMPTS) {
            metrics::batch_line("again");
            let pause = line::pause(n_tries);
            job.again.push((Instant::now() + pause, ran.line, n_tries));
            return;
        }
        let (mark, text, usage) = results::answered(&ran.line.custom_id, &ran.answered);
        metrics::batch_line(match mark {
            Mark::Completed => "completed",
            _ => "failed",
        });
        job.n_unwritten += 1;
        self.n_bytes += text.len();
        self.since.get_or_insert_with(Instant::now);
        self.unwritten.push(Outcome {
            seq: ran.seq,
            number: ran.line.number,
            mark,
            text,
            usage,
        });
    }

    pub(super) fn write_if_due(&mut self) {
        let Some(since) = self.since else { return };
        let is_due = since.elapsed() >= GROUP_TIME
            || self.unwritten.len() >= GROUP_LINES
            || self.n_bytes >= GROUP_BYTES
            || self.running.is_empty();
        if is_due && !self.is_writing {
            self.begin_write();
        }
    }

    pub(super) fn begin_write(&mut self) {
        let mut outcomes = std::mem::take(&mut self.unwritten);
        self.n_bytes = 0;
        self.since = None;
        self.is_writing = true;
        outcomes.sort_by_key(|outcome| outcome.seq);
        let mut groups = Vec::new();
        for group in outcomes.chunk_by(|a, b| a.seq == b.seq) {
            if let Some(job) = self.jobs.get(&group[0].seq) {
                groups.push((job.batch.clone(), group.to_vec()));
            }
        }
        let shared = Arc::clone(&self.shared);
        self.work.spawn(async move {
            let (mut batches, mut rest, mut failure) = (Vec::new(), Vec::new(), None);
            for (batch, group) in groups {
                if failure.is_some() {
                    rest.extend(group);
                    continue;
                }
                match results::commit(&shared.store, &batch, &group, &shared.tasks).await {
                    Ok(batch) => batches.push(batch),
                    Err(error) => {
                        failure = Some(error);
                        rest.extend(group);
                    }
                }
            }
            Done::Committed(batches, rest, failure)
        });
    }

    pub(super) fn committed(&mut self, batches: Vec<Batch>, rest: Vec<Outcome>) {
        self.is_writing = false;
        for batch in batches {
            if let Some(job) = self.jobs.get_mut(&batch.seq) {
                job.batch = batch;
                job.n_unwritten = 0;
            }
        }
        // Results that arrived meanwhile count as unwritten again.
        self.unwritten.extend(rest);
        for outcome in &self.unwritten {
            if let Some(job) = self.jobs.get_mut(&outcome.seq) {
                job.n_unwritten = 0;
            }
        }
        for outcome in &self.unwritten {
            if let Some(job) = self.jobs.get_mut(&outcome.seq) {
                job.n_unwritten += 1;
            }
        }
        self.n_bytes = self
            .unwritten
            .iter()
            .map(|outcome| outcome.text.len())
            .sum();
        if !self.unwritten.is_empty() {
            self.since.get_or_insert_with(Instant::now);
        }
    }

    /// Starts to end the jobs that have no requests left.
    pub(super) async fn settle(&mut self) -> Result<(), JobsError> {
        for job in self.jobs.values_mut() {
            let is_done = job.batch.status == Status::InProgress
                && job.is_idle()
                && !job.has_more
                && job.lines.is_empty()
                && job.again.is_empty();
            if is_done {
                let now = Timestamp::now();
                let store = &self.shared.store;
                let batch = store.change(&job.batch.id, Event::Settled, now).await?;
                job.batch.status = batch.status;
                job.batch.times = batch.times;
            }
        }
        Ok(())
    }

    pub(super) fn begin_ends(&mut self) {
        for job in self.jobs.values_mut() {
            let is_ending = matches!(job.batch.status, Status::Cancelling | Status::Finalizing);
            if !is_ending
                || job.batch.is_unread()
                || !job.is_idle()
                || job.is_taken
                || self.is_writing
            {
                continue;
            }
            job.is_taken = true;
            self.is_writing = true;
            let (shared, batch) = (Arc::clone(&self.shared), job.batch.clone());
            self.work.spawn(async move {
                let seq = batch.seq;
                let ended = results::end(&shared.store, batch, &shared.tasks).await;
                Done::Ended(seq, ended.map(Box::new))
            });
        }
    }
}
