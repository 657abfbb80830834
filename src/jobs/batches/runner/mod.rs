//! The task that runs the jobs. It validates them, keeps the engine supplied ([`launch`]), writes results to disk and
//! ends jobs ([`write`]). Nothing else writes results.

mod job;
mod launch;
mod write;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::batch::{Batch, Event, Status};
use super::line::Ran;
use super::order::Order;
use super::results::Outcome;
use super::{Shared, validate};
use crate::jobs::JobsError;
use crate::metrics;
use job::Job;
use launch::LOOK;
use write::GROUP_TIME;

/// When a failed disk operation is retried, and how often changes are looked for that nothing announces.
const RETRY: Duration = Duration::from_secs(2);
const IDLE: Duration = Duration::from_secs(30);

/// How often expired objects are removed.
const EXPIRE: Duration = Duration::from_secs(600);

/// How long the last results may take when the daemon stops.
const LAST: Duration = Duration::from_secs(3);

/// The outcome of a task.
enum Done {
    Validated(String, Result<Event, JobsError>),
    Committed(Vec<Batch>, Vec<Outcome>, Option<JobsError>),
    Ended(i64, Result<Box<Batch>, JobsError>),
}

pub(super) struct Runner {
    shared: Arc<Shared>,
    jobs: BTreeMap<i64, Job>,
    order: Order,
    running: JoinSet<Ran>,
    work: JoinSet<Done>,
    unwritten: Vec<Outcome>,
    n_bytes: usize,
    /// Since when there have been results that are not on disk.
    since: Option<Instant>,
    is_validating: bool,
    is_writing: bool,
    /// When work resumes after a failure of the disk.
    blocked: Option<Instant>,
    /// Whether the last write of results failed.
    is_failing: bool,
    /// Whether a line that failed before is running alone.
    is_alone: bool,
    /// The slots of the head's model, and when they were asked for.
    places: Option<(String, Option<usize>, Instant)>,
    expired: Option<Instant>,
    /// When the keys of the jobs were last checked.
    looked: Option<Instant>,
}

impl Runner {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            jobs: BTreeMap::new(),
            order: Order::default(),
            running: JoinSet::new(),
            work: JoinSet::new(),
            unwritten: Vec::new(),
            n_bytes: 0,
            since: None,
            is_validating: false,
            is_writing: false,
            blocked: None,
            is_failing: false,
            is_alone: false,
            places: None,
            expired: None,
            looked: None,
        }
    }

    /// Runs until the daemon stops.
    pub(super) async fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        let mut is_stale = true;
        loop {
            if shared.store.exists() {
                match self.step(&mut is_stale).await {
                    Ok(()) => {}
                    Err(error) => self.block(&error),
                }
            }
            let wait = self.wait();
            tokio::select! {
                biased;
                () = shared.stop.cancelled() => break,
                () = shared.wake.notified() => is_stale = true,
                Some(done) = self.work.join_next(), if !self.work.is_empty() => {
                    if let Ok(done) = done {
                        self.done(done).await;
                    }
                }
                Some(ran) = self.running.join_next(), if !self.running.is_empty() => {
                    let mut next = Some(ran);
                    while let Some(ran) = next {
                        // Requests that were cut off have no result.
                        if let Ok(ran) = ran {
                            self.ran(ran);
                        }
                        next = self.running.try_join_next();
                    }
                }
                () = tokio::time::sleep(wait) => {}
            }
        }
        self.stop().await;
    }

    /// Stops starting requests; the results so far are kept.
    async fn stop(mut self) {
        self.running.abort_all();
        let last = async {
            while let Some(done) = self.work.join_next().await {
                if let Ok(Done::Committed(batches, rest, _)) = done {
                    self.committed(batches, rest);
                }
            }
            if !self.unwritten.is_empty() {
                self.begin_write();
                self.work.join_next().await;
            }
        };
        if tokio::time::timeout(LAST, last).await.is_err() {
            tracing::warn!("the last results of batch jobs are computed again");
        }
    }

    /// How long to wait if nothing happens.
    fn wait(&self) -> Duration {
        if self.jobs.is_empty() {
            return IDLE;
        }
        let now = Instant::now();
        let mut wait = IDLE;
        let mut until = |time: Instant| wait = wait.min(time.saturating_duration_since(now));
        if let Some(since) = self.since.filter(|_| !self.is_writing) {
            until(self.blocked.unwrap_or(since + GROUP_TIME));
        }
        if let Some(blocked) = self.blocked {
            until(blocked);
        }
        if !self.running.is_empty() {
            until(now + LOOK);
        }
        for (time, ..) in self.jobs.values().flat_map(|job| &job.again) {
            until(*time);
        }
        let second = Timestamp::now().as_second();
        for job in self.jobs.values() {
            let left = (job.batch.times.expires - second).max(0).unsigned_abs();
            until(now + Duration::from_secs(left));
        }
        wait.max(Duration::from_millis(5))
    }

    /// Advances everything that can go on.
    async fn step(&mut self, is_stale: &mut bool) -> Result<(), JobsError> {
        let is_due = self.expired.is_none_or(|at| at.elapsed() >= EXPIRE);
        if is_due {
            self.expired = Some(Instant::now());
            let now = Timestamp::now();
            self.shared.store.files.expire(now).await?;
            self.shared.store.prune(now).await?;
        }
        if *is_stale {
            self.reload().await?;
            *is_stale = false;
        }
        if self.blocked.is_some_and(|until| Instant::now() < until) {
            return Ok(());
        }
        self.blocked = None;
        self.cut_off().await?;
        self.begin_validation();
        self.write_if_due();
        self.launch().await?;
        self.settle().await?;
        self.begin_ends();
        self.count();
        Ok(())
    }

    /// Reads new and changed jobs from the database.
    async fn reload(&mut self) -> Result<(), JobsError> {
        for batch in self.shared.store.active().await? {
            let job = self
                .jobs
                .entry(batch.seq)
                .or_insert_with(|| Job::new(batch.clone()));
            // If its results are being written, the lengths and counts follow when that has ended.
            job.batch.status = batch.status;
            job.batch.times = batch.times;
        }
        Ok(())
    }

    /// Stops jobs that were cancelled, whose time is over, or whose key is no longer valid.
    async fn cut_off(&mut self) -> Result<(), JobsError> {
        let now = Timestamp::now();
        let is_due = self.looked.is_none_or(|at| at.elapsed() >= LOOK);
        if is_due {
            self.looked = Some(Instant::now());
        }
        for job in self.jobs.values_mut() {
            let event = if job.is_taken || !job.batch.is_open() {
                None
            } else if job.batch.is_late(now.as_second()) {
                Some(Event::Settled)
            } else if is_due && !self.shared.answer.is_allowed(&job.batch.client) {
                tracing::warn!(batch = %job.batch.id, "the API key of a batch is no longer valid");
                Some(Event::Revoked)
            } else {
                None
            };
            if let Some(event) = event {
                let store = &self.shared.store;
                let batch = store.change(&job.batch.id, event, now).await?;
                job.batch.status = batch.status;
                job.batch.times = batch.times;
            }
            if matches!(job.batch.status, Status::Cancelling | Status::Finalizing) {
                for (_, (running, ..)) in job.running.drain() {
                    running.abort();
                }
                job.lines.clear();
                job.again.clear();
                job.has_more = false;
            }
        }
        Ok(())
    }

    fn begin_validation(&mut self) {
        if self.is_validating {
            return;
        }
        let mut jobs = self.jobs.values_mut();
        let waits = |job: &&mut Job| job.batch.is_unread() && !job.is_taken;
        let Some(job) = jobs.find(waits) else {
            return;
        };
        job.is_taken = true;
        self.is_validating = true;
        let (shared, batch) = (Arc::clone(&self.shared), job.batch.clone());
        self.work.spawn(async move {
            let answer = &*shared.answer;
            let event = validate::validate(&shared.store, &batch, answer, &shared.tasks).await;
            Done::Validated(batch.id, event)
        });
    }

    async fn done(&mut self, done: Done) {
        match done {
            Done::Validated(id, event) => {
                self.is_validating = false;
                let changed = match event {
                    Ok(event) => self.shared.store.change(&id, event, Timestamp::now()).await,
                    Err(error) => Err(error),
                };
                let job = self.jobs.values_mut().find(|job| job.batch.id == id);
                let Some(job) = job else { return };
                job.is_taken = false;
                match changed {
                    Ok(batch) => {
                        tracing::info!(batch = %batch.id, status = batch.status.word(), n = batch.counts.total, "batch validated");
                        let seq = batch.seq;
                        let is_final = batch.status.is_final();
                        if is_final && let Err(error) = self.shared.store.forget_bytes(&batch).await
                        {
                            tracing::warn!(%error, "could not remove the input of a job");
                        }
                        if is_final {
                            self.jobs.remove(&seq);
                        } else {
                            job.batch = batch;
                            job.has_more = true;
                        }
                    }
                    Err(error) => self.block(&error),
                }
            }
            Done::Committed(batches, rest, failure) => {
                self.committed(batches, rest);
                self.is_failing = failure.is_some();
                if let Some(error) = failure {
                    self.block(&error);
                }
            }
            Done::Ended(seq, ended) => {
                self.is_writing = false;
                match ended {
                    Ok(batch) => {
                        tracing::info!(batch = %batch.id, status = batch.status.word(), "batch ended");
                        self.jobs.remove(&seq);
                    }
                    Err(error) => {
                        // What it has written so far is only in the row.
                        if let Ok(Some(batch)) = self.shared.store.by_seq(seq).await
                            && let Some(job) = self.jobs.get_mut(&seq)
                        {
                            job.batch = batch;
                        }
                        if let Some(job) = self.jobs.get_mut(&seq) {
                            job.is_taken = false;
                        }
                        self.block(&error);
                    }
                }
            }
        }
    }

    /// Pauses everything for a while after a failure of the disk.
    fn block(&mut self, error: &JobsError) {
        self.blocked = Some(Instant::now() + RETRY);
        let reason = error.to_string();
        if self.shared.pause(Some(&reason)) {
            tracing::warn!(%error, "batch jobs wait");
        }
    }

    fn count(&self) {
        let waiting = self.jobs.values().map(|job| job.batch.n_waiting()).sum();
        metrics::batches(self.jobs.len() as u64, waiting);
    }
}
