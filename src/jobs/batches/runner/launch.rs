//! Which requests are started, and how many at once.

use std::sync::Arc;
use std::time::Duration;

use jiff::ZonedDateTime;
use tokio::time::Instant;

use super::Runner;
use crate::jobs::JobsError;
use crate::jobs::batches::batch::Status;
use crate::jobs::batches::line;
use crate::jobs::batches::order::Candidate;

/// How many lines are read from the database at a time.
const FETCHED: usize = 256;

/// Bytes of unwritten results at which no more requests are started.
const MOST_UNWRITTEN: usize = 32 << 20;

/// How often the number of a model's slots is asked for.
pub(super) const LOOK: Duration = Duration::from_millis(250);

/// How many embeddings requests are in flight together.
const TOGETHER: usize = 32;

/// A request that has failed this often runs alone, since it may be what makes the others fail.
const ALONE_AFTER: u32 = 2;

impl Runner {
    /// Starts as many requests as the engine has slots for, and some more that wait there.
    pub(super) async fn launch(&mut self) -> Result<(), JobsError> {
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

    /// Jobs continue, unless results still wait for the disk.
    fn clear_pause(&self) {
        if !self.is_failing {
            self.shared.pause(None);
        }
    }

    /// Interactive requests need the memory of a model: its batch requests are answered later.
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

    /// The jobs that have a request to start, oldest first.
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

    /// How many requests of this model may be in flight: its slots and some more, so that a slot that becomes free is
    /// taken at the next step. Before the model is loaded, one request, which loads it.
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
        // Texts to embed share a batch, so more of them are in flight than there are slots.
        let least = candidates.iter().filter(|job| job.model == model);
        let least = least.map(|job| if job.embeds { TOGETHER } else { 0 });
        let least = least.max().unwrap_or(0);
        if places == Some(0) {
            return 0;
        }
        places.map_or(1, |places| (places + (places / 2).max(2)).max(least))
    }
}
