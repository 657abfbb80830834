//! Which job's request runs next. Pure.
//!
//! One job at a time is the head: the oldest job of the client whose turn it is. It stays the head until it ends, so
//! that its model is loaded once. Meanwhile, jobs of other clients with the same model share the model's slots with it,
//! request by request; a client's own jobs run one after the other.

use std::collections::BTreeMap;

/// A job with waiting requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) seq: i64,
    pub(super) client: String,
    pub(super) model: String,
    /// Whether its requests are for embeddings.
    pub(super) embeds: bool,
}

/// The client whose turn it is.
#[derive(Debug, Default)]
pub(super) struct Order {
    head: Option<i64>,
    /// How many requests each client with jobs has started.
    had: BTreeMap<String, u64>,
}

impl Order {
    /// Updates the head for these jobs, oldest first; returns its model.
    pub(super) fn head<'a>(&mut self, jobs: &'a [Candidate]) -> Option<&'a str> {
        self.had
            .retain(|client, _| jobs.iter().any(|job| job.client == *client));
        // A new client does not catch up on what others have had before.
        let least = self.had.values().min().copied().unwrap_or(0);
        for job in jobs {
            self.had.entry(job.client.clone()).or_insert(least);
        }
        let current = jobs.iter().find(|job| Some(job.seq) == self.head);
        let head = current.or_else(|| jobs.iter().min_by_key(|job| (self.turn(job), job.seq)));
        self.head = head.map(|job| job.seq);
        head.map(|job| job.model.as_str())
    }

    /// Chooses the job of the next request among those with the head's model.
    pub(super) fn next(&mut self, jobs: &[Candidate]) -> Option<i64> {
        let model = self.head(jobs)?;
        let jobs = jobs.iter().filter(|job| job.model == model);
        let next = jobs.min_by_key(|job| (self.turn(job), job.seq))?;
        if let Some(had) = self.had.get_mut(&next.client) {
            *had += 1;
        }
        Some(next.seq)
    }

    fn turn(&self, job: &Candidate) -> u64 {
        self.had.get(&job.client).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(seq: i64, client: &str, model: &str) -> Candidate {
        Candidate {
            seq,
            client: client.to_owned(),
            model: model.to_owned(),
            embeds: false,
        }
    }

    fn turns(order: &mut Order, jobs: &[Candidate], n: usize) -> Vec<i64> {
        (0..n).map(|_| order.next(jobs).unwrap()).collect()
    }

    #[test]
    fn a_job_runs_to_its_end_before_another_model_is_loaded() {
        let mut order = Order::default();
        let jobs = [job(1, "a", "x"), job(2, "b", "y"), job(3, "a", "x")];
        assert_eq!(turns(&mut order, &jobs, 100), [1; 100]);
        // The other client is next, although the first client has another job for the loaded model.
        assert_eq!(turns(&mut order, &jobs[1..], 3), [2; 3]);
        assert_eq!(turns(&mut order, &jobs[2..], 3), [3; 3]);
        assert_eq!(order.next(&[]), None);
    }

    #[test]
    fn clients_with_the_same_model_take_turns() {
        let mut order = Order::default();
        let jobs = [job(1, "a", "x"), job(2, "a", "x"), job(3, "b", "x")];
        assert_eq!(turns(&mut order, &jobs[..2], 10), [1; 10]);
        // A new client starts level with the others.
        assert_eq!(turns(&mut order, &jobs, 6), [1, 3, 1, 3, 1, 3]);
    }
}
