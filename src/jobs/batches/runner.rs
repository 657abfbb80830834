//! The task that runs the jobs: it validates them, keeps the engine supplied, puts results on disk and ends
//! jobs. It alone writes results.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use jiff::{Timestamp, ZonedDateTime};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;

use super::batch::{Batch, Event, Status};
use super::line::{self, Ran};
use super::order::{Candidate, Order};
use super::results::{self, Outcome};
use super::store::Line;
use super::{Shared, validate};
use crate::jobs::JobsError;
use crate::metrics;

/// Lines that are taken from the database at a time.
const FETCHED: usize = 256;

/// Results are put on disk in groups: of so many lines or bytes, or after this time.
const GROUP_LINES: usize = 128;
const GROUP_BYTES: usize = 4 << 20;
const GROUP_TIME: Duration = Duration::from_millis(300);

/// Bytes of results that wait for the disk before no more requests are begun.
const MOST_UNWRITTEN: usize = 32 << 20;

/// When it is asked again how many places a model has.
const LOOK: Duration = Duration::from_millis(250);

/// When a failure of the disk is tried again, and what does not happen by itself is looked at.
const RETRY: Duration = Duration::from_secs(2);
const IDLE: Duration = Duration::from_secs(30);

/// When what expired is removed.
const EXPIRE: Duration = Duration::from_secs(600);

/// Requests for embeddings that are on their way together.
const TOGETHER: usize = 32;

/// How long the last results may take at the end of the daemon.
const LAST: Duration = Duration::from_secs(3);

/// How often a request is tried that the server fails to answer, and after how many times it runs alone.
const ATTEMPTS: u32 = 5;
const ALONE_AFTER: u32 = 2;

/// A job in memory.
struct Job {
    batch: Batch,
    /// Lines that come next.
    lines: VecDeque<Line>,
    /// The last line that was taken from the database; after it there may be more.
    last: Option<(Vec<u8>, i64)>,
    has_more: bool,
    /// Lines that are tried again, with the time of it.
    again: Vec<(Instant, Line, u32)>,
    running: HashMap<i64, (AbortHandle, Line, u32)>,
    /// Results that are not on disk yet.
    n_unwritten: usize,
    /// Somebody works on its end or its input.
    is_taken: bool,
}

/// What a piece of work came to.
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
    /// Since when there are results that are not on disk.
    since: Option<Instant>,
    is_validating: bool,
    is_writing: bool,
    /// Nothing is begun before that, after a failure of the disk.
    blocked: Option<Instant>,
    /// The last write of results failed.
    is_failing: bool,
    /// A line that failed before runs alone.
    is_alone: bool,
    /// The places of the head's model, when they were asked for.
    places: Option<(String, Option<usize>, Instant)>,
    expired: Option<Instant>,
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
                        // Those that were cut off have gone.
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

    /// Nothing new begins; the results so far are kept.
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

    /// How long nothing happens by itself.
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

    /// Looks at everything that could go on.
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

    /// Takes the jobs from the database that are new or were changed.
    async fn reload(&mut self) -> Result<(), JobsError> {
        for batch in self.shared.store.active().await? {
            let job = self
                .jobs
                .entry(batch.seq)
                .or_insert_with(|| Job::new(batch.clone()));
            // The lengths and counts of one that is being written come with the end of that.
            job.batch.status = batch.status;
            job.batch.times = batch.times;
        }
        Ok(())
    }

    /// Stops jobs that are not wanted any more, or whose time is over.
    async fn cut_off(&mut self) -> Result<(), JobsError> {
        let now = Timestamp::now();
        for job in self.jobs.values_mut() {
            if job.batch.is_late(now.as_second()) && !job.is_taken {
                let store = &self.shared.store;
                let batch = store.change(&job.batch.id, Event::Settled, now).await?;
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

    fn write_if_due(&mut self) {
        let Some(since) = self.since else { return };
        let is_due = since.elapsed() >= GROUP_TIME
            || self.unwritten.len() >= GROUP_LINES
            || self.n_bytes >= GROUP_BYTES
            || self.running.is_empty();
        if is_due && !self.is_writing {
            self.begin_write();
        }
    }

    fn begin_write(&mut self) {
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

    /// Jobs without requests left are about to end.
    async fn settle(&mut self) -> Result<(), JobsError> {
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

    fn begin_ends(&mut self) {
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
                        // What it has written so far is in the row only.
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

    fn committed(&mut self, batches: Vec<Batch>, rest: Vec<Outcome>) {
        self.is_writing = false;
        for batch in batches {
            if let Some(job) = self.jobs.get_mut(&batch.seq) {
                job.batch = batch;
                job.n_unwritten = 0;
            }
        }
        // Results that came meanwhile count again.
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

    /// After a failure of the disk, everything waits for a while.
    fn block(&mut self, error: &JobsError) {
        self.blocked = Some(Instant::now() + RETRY);
        let reason = error.to_string();
        if self.shared.pause(Some(&reason)) {
            tracing::warn!(%error, "batch jobs wait");
        }
    }

    /// A request has been answered.
    fn ran(&mut self, ran: Ran) {
        self.is_alone = false;
        let Some(job) = self.jobs.get_mut(&ran.seq) else {
            return;
        };
        if job.running.remove(&ran.line.number).is_none() {
            // It was cut off, only too late.
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
            super::store::Mark::Completed => "completed",
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

    /// Begins as many requests as the engine has places for, and some that wait there.
    async fn launch(&mut self) -> Result<(), JobsError> {
        if self.candidates(Instant::now()).await?.is_empty() {
            self.clear_pause();
            return Ok(());
        }
        if let Some(hours) = &self.shared.settings.hours
            && !hours.contains(&ZonedDateTime::now())
        {
            self.shared
                .pause(Some(&format!("outside of the hours {hours}")));
            return Ok(());
        }
        self.clear_pause();
        self.is_alone &= !self.running.is_empty();
        while !self.is_failing && self.n_bytes < MOST_UNWRITTEN && !self.is_alone {
            let now = Instant::now();
            let candidates = self.candidates(now).await?;
            let Some(model) = self.order.head(&candidates).map(str::to_owned) else {
                return Ok(());
            };
            let window = self.window(&model, &candidates).await;
            if window == 0 {
                self.withdraw(&model);
            }
            if self.running.len() >= window {
                return Ok(());
            }
            let Some(job) = self.order.next(&candidates) else {
                return Ok(());
            };
            let Some(job) = self.jobs.get_mut(&job) else {
                return Ok(());
            };
            let due = job.again.iter().position(|(time, ..)| *time <= now);
            let (line, n_tries) = match due {
                Some(at) if job.again[at].2 >= ALONE_AFTER => {
                    if !self.running.is_empty() {
                        return Ok(());
                    }
                    self.is_alone = true;
                    let (_, line, n_tries) = job.again.swap_remove(at);
                    (line, n_tries)
                }
                Some(at) => {
                    let (_, line, n_tries) = job.again.swap_remove(at);
                    (line, n_tries)
                }
                None => match job.lines.pop_front() {
                    Some(line) => (line, 0),
                    None => return Ok(()),
                },
            };
            let kept = line.clone();
            let running = line::run(Arc::clone(&self.shared), &job.batch, line, n_tries);
            let handle = self.running.spawn(self.shared.tasks.track_future(running));
            job.running.insert(kept.number, (handle, kept, n_tries));
        }
        Ok(())
    }

    /// Jobs go on, unless results still wait for the disk.
    fn clear_pause(&self) {
        if !self.is_failing {
            self.shared.pause(None);
        }
    }

    /// People need the room of a model: its requests are answered another time.
    fn withdraw(&mut self, model: &str) {
        let now = Instant::now();
        for job in self.jobs.values_mut() {
            if job.batch.model.as_deref() == Some(model) {
                for (_, (running, line, n_tries)) in job.running.drain() {
                    running.abort();
                    job.again.push((now + line::pause(0), line, n_tries));
                }
            }
        }
    }

    /// The jobs that have a request to begin, oldest first.
    async fn candidates(&mut self, now: Instant) -> Result<Vec<Candidate>, JobsError> {
        let mut candidates = Vec::new();
        for job in self.jobs.values_mut() {
            if job.batch.status != Status::InProgress {
                continue;
            }
            if job.lines.is_empty() && job.has_more {
                let store = &self.shared.store;
                let after = job.last.clone();
                let lines = store.waiting(job.batch.seq, after, FETCHED).await?;
                job.has_more = lines.len() == FETCHED;
                job.last = lines.last().map(|line| (line.rank.clone(), line.number));
                job.lines = lines.into();
            }
            let is_due = job.again.iter().any(|(time, ..)| *time <= now);
            if !job.lines.is_empty() || is_due {
                candidates.push(Candidate {
                    seq: job.batch.seq,
                    client: job.batch.client.clone(),
                    model: job.batch.model.clone().unwrap_or_default(),
                    embeds: job.batch.endpoint == "/v1/embeddings",
                });
            }
        }
        Ok(candidates)
    }

    /// How many requests of this model may be on their way: its places and some more, so that a place that
    /// becomes free is taken at the next step. Before it is loaded, one that loads it.
    async fn window(&mut self, model: &str, candidates: &[Candidate]) -> usize {
        let is_known = |(known, _, at): &(String, Option<usize>, Instant)| {
            known == model && at.elapsed() < LOOK
        };
        let known = self.places.as_ref().filter(|places| is_known(places));
        let places = match known {
            Some((_, places, _)) => *places,
            None => {
                let places = self.shared.answer.places(model).await;
                self.places = Some((model.to_owned(), places, Instant::now()));
                places
            }
        };
        // Texts to embed share a step whatever their number.
        let least = candidates.iter().filter(|job| job.model == model);
        let least = least.map(|job| if job.embeds { TOGETHER } else { 0 });
        let least = least.max().unwrap_or(0);
        if places == Some(0) {
            return 0;
        }
        places.map_or(1, |places| (places + (places / 2).max(2)).max(least))
    }

    fn count(&self) {
        let waiting = self.jobs.values().map(|job| job.batch.n_waiting()).sum();
        metrics::batches(self.jobs.len() as u64, waiting);
    }
}

impl Job {
    fn new(batch: Batch) -> Self {
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

    /// Nothing of it runs or waits for the disk.
    fn is_idle(&self) -> bool {
        self.running.is_empty() && self.n_unwritten == 0
    }
}
