//! A batch job and its life cycle: states and events. Pure.

use serde::{Deserialize, Serialize};

use crate::jobs::{Expiry, JobsError};
use crate::keys::Owner;

/// A batch job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Its number, by arrival.
    pub seq: i64,
    pub id: String,
    pub origin: Origin,
    /// The owner of the job and of its result files.
    pub owner: Owner,
    /// The client that created it, for fair scheduling and for the limits of its key.
    pub client: String,
    /// The route of its requests.
    pub endpoint: String,
    pub input_file: String,
    pub status: Status,
    /// The model of its requests, once it is known.
    pub model: Option<String>,
    pub metadata: Option<Metadata>,
    /// What is wrong with its input.
    pub faults: Vec<Fault>,
    pub times: Times,
    pub counts: Counts,
    pub usage: Usage,
    /// The ids that its result files have or will have.
    pub output_file: String,
    pub error_file: String,
    /// The valid bytes of the result files.
    pub output_bytes: u64,
    pub error_bytes: u64,
    /// How long the results are kept.
    pub keep: Expiry,
}

/// Pairs that the client stores with the job.
pub type Metadata = Vec<(String, String)>;

/// The API through which the job was created.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    OpenAi,
    Anthropic,
}

/// Which part of the list of jobs is requested.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BatchPage {
    /// The last job of the previous page.
    pub after: Option<String>,
    /// The first job of the next page.
    pub before: Option<String>,
    pub limit: usize,
}

/// A client's request for a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewBatch {
    pub origin: Origin,
    pub owner: Owner,
    pub client: String,
    pub endpoint: String,
    pub input_file: String,
    pub metadata: Option<Metadata>,
    pub keep: Expiry,
}

/// The state of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    Validating,
    Failed,
    InProgress,
    Finalizing,
    Completed,
    Expired,
    Cancelling,
    Cancelled,
}

/// When the job entered its states, in Unix seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Times {
    pub created: i64,
    pub expires: i64,
    pub in_progress: Option<i64>,
    pub finalizing: Option<i64>,
    pub completed: Option<i64>,
    pub failed: Option<i64>,
    pub expired: Option<i64>,
    pub cancelling: Option<i64>,
    pub cancelled: Option<i64>,
}

/// Numbers of requests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    pub total: u64,
    pub completed: u64,
    pub failed: u64,
    /// Requests that were not run when the job ended.
    pub not_run: u64,
}

/// Tokens of all answers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    pub input: u64,
    pub cached: u64,
    pub output: u64,
    pub reasoning: u64,
}

/// A fault in the input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    pub code: String,
    pub message: String,
    pub param: Option<String>,
    /// From 1; `None` = the whole file.
    pub line: Option<u64>,
}

/// An event in the life of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Its input is valid, and has this many requests.
    Valid {
        total: u64,
        model: Option<String>,
    },
    Invalid(Vec<Fault>),
    /// A client cancels the job.
    Cancel,
    /// Its API key was revoked, or has expired.
    Revoked,
    /// No requests are left to run, or none will be run.
    Settled,
    /// The results have become files.
    Written,
}

impl Fault {
    /// A fault of a line or of the file.
    pub fn new(
        code: &str,
        message: impl Into<String>,
        param: Option<&str>,
        line: Option<u64>,
    ) -> Self {
        Self {
            code: code.to_owned(),
            message: message.into(),
            param: param.map(str::to_owned),
            line,
        }
    }

    /// Why a job ended that its client did not cancel.
    fn revoked() -> Self {
        let message = "The API key of this batch was revoked or has expired.";
        Self::new("invalid_api_key", message, None, None)
    }
}

impl Status {
    const ALL: [Self; 8] = [
        Self::Validating,
        Self::Failed,
        Self::InProgress,
        Self::Finalizing,
        Self::Completed,
        Self::Expired,
        Self::Cancelling,
        Self::Cancelled,
    ];

    /// The API's word for the state.
    pub fn word(self) -> &'static str {
        match self {
            Self::Validating => "validating",
            Self::Failed => "failed",
            Self::InProgress => "in_progress",
            Self::Finalizing => "finalizing",
            Self::Completed => "completed",
            Self::Expired => "expired",
            Self::Cancelling => "cancelling",
            Self::Cancelled => "cancelled",
        }
    }

    pub(super) fn of(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.word() == word)
    }

    /// Whether the job will not change any more.
    pub fn is_final(self) -> bool {
        matches!(
            self,
            Self::Failed | Self::Completed | Self::Expired | Self::Cancelled
        )
    }
}

impl Batch {
    /// Applies an event.
    ///
    /// # Errors
    /// A cancel came too late. All other events that do not fit the state are late, too, and change nothing.
    pub fn handle(&mut self, event: Event, now: i64) -> Result<(), JobsError> {
        match (self.status, event) {
            (Status::Validating, Event::Valid { total, model }) => {
                self.counts.total = total;
                self.model = model;
                self.status = Status::InProgress;
                self.times.in_progress = Some(now);
            }
            // The results must contain all of its requests.
            (Status::Cancelling, Event::Valid { total, model }) => {
                self.counts.total = total;
                self.model = model;
            }
            (Status::Cancelling, Event::Invalid(faults)) => {
                self.faults.extend(faults);
                self.status = Status::Cancelled;
                self.times.cancelled = Some(now);
            }
            (Status::Validating, Event::Invalid(faults)) => {
                self.faults = faults;
                self.status = Status::Failed;
                self.times.failed = Some(now);
            }
            (Status::Validating | Status::InProgress, Event::Cancel) => {
                self.status = Status::Cancelling;
                self.times.cancelling = Some(now);
            }
            (Status::Validating | Status::InProgress, Event::Revoked) => {
                self.faults.push(Fault::revoked());
                self.status = Status::Cancelling;
                self.times.cancelling = Some(now);
            }
            (Status::Cancelling | Status::Cancelled, Event::Cancel) => {}
            (status, Event::Cancel) => {
                return Err(JobsError::TooLate {
                    status: status.word(),
                });
            }
            (Status::Validating | Status::InProgress, Event::Settled) => {
                self.status = Status::Finalizing;
                self.times.finalizing = Some(now);
            }
            (Status::Cancelling, Event::Written) => {
                self.status = Status::Cancelled;
                self.times.cancelled = Some(now);
            }
            (Status::Finalizing, Event::Written) => {
                let has_rest = self.counts.not_run > 0 || self.times.in_progress.is_none();
                if has_rest {
                    self.status = Status::Expired;
                    self.times.expired = Some(now);
                } else {
                    self.status = Status::Completed;
                    self.times.completed = Some(now);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Why the remaining requests were not run, as the code and message of their errors.
    pub(super) fn rest(&self) -> (&'static str, &'static str) {
        if self.status == Status::Cancelling {
            (
                "batch_cancelled",
                "This request could not be executed before the batch was cancelled.",
            )
        } else {
            (
                "batch_expired",
                "This request could not be executed before the completion window expired.",
            )
        }
    }

    /// Whether the input still has to be read. Anthropic's results name every request, even for a job that was
    /// cancelled at once.
    pub(super) fn is_unread(&self) -> bool {
        match self.status {
            Status::Validating => true,
            Status::Cancelling => self.origin == Origin::Anthropic && self.counts.total == 0,
            _ => false,
        }
    }

    /// Whether the job waits or runs, and has not been cancelled.
    pub(super) fn is_open(&self) -> bool {
        matches!(self.status, Status::Validating | Status::InProgress)
    }

    /// Whether the time of a waiting or running job is over.
    pub(super) fn is_late(&self, now: i64) -> bool {
        self.is_open() && self.times.expires <= now
    }

    /// The number of requests without a result.
    pub fn n_waiting(&self) -> u64 {
        let Counts {
            total,
            completed,
            failed,
            not_run,
        } = self.counts;
        total.saturating_sub(completed + failed + not_run)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A newly created job.
    pub(in crate::jobs::batches) fn batch() -> Batch {
        Batch {
            seq: 1,
            id: "batch_1".to_owned(),
            origin: Origin::OpenAi,
            owner: Owner::default(),
            client: String::new(),
            endpoint: "/v1/completions".to_owned(),
            input_file: "file-in".to_owned(),
            status: Status::Validating,
            model: None,
            metadata: None,
            faults: Vec::new(),
            times: Times {
                created: 1,
                expires: 100,
                ..Times::default()
            },
            counts: Counts::default(),
            usage: Usage::default(),
            output_file: "file-out".to_owned(),
            error_file: "file-err".to_owned(),
            output_bytes: 0,
            error_bytes: 0,
            keep: None,
        }
    }

    fn valid() -> Event {
        Event::Valid {
            total: 2,
            model: Some("m".to_owned()),
        }
    }

    fn after(events: Vec<Event>, not_run: u64) -> Batch {
        let mut batch = batch();
        for (now, event) in (10..).zip(events) {
            if event == Event::Written {
                batch.counts.not_run = not_run;
            }
            batch.handle(event, now).unwrap();
        }
        batch
    }

    #[test]
    fn a_job_goes_its_way() {
        let done = after(vec![valid(), Event::Settled, Event::Written], 0);
        assert_eq!(done.status, Status::Completed);
        let times = (
            done.times.in_progress,
            done.times.finalizing,
            done.times.completed,
        );
        assert_eq!(times, (Some(10), Some(11), Some(12)));
        let late = after(vec![valid(), Event::Settled, Event::Written], 1);
        assert_eq!(
            (late.status, late.times.expired),
            (Status::Expired, Some(12))
        );
        let never = after(vec![Event::Settled, Event::Written], 0);
        assert_eq!(never.status, Status::Expired);
        let cancelled = after(
            vec![valid(), Event::Cancel, Event::Settled, Event::Written],
            1,
        );
        assert_eq!(
            (cancelled.status, cancelled.times.cancelled),
            (Status::Cancelled, Some(13))
        );
        let early = after(vec![Event::Cancel, valid(), Event::Written], 0);
        assert_eq!(early.status, Status::Cancelled);
        let failed = after(vec![Event::Invalid(Vec::new()), valid(), Event::Settled], 0);
        assert_eq!(failed.status, Status::Failed);
    }

    #[test]
    fn a_cancel_comes_too_late_for_what_has_ended_and_twice_is_once() {
        for events in [
            vec![valid(), Event::Settled],
            vec![valid(), Event::Settled, Event::Written],
            vec![Event::Invalid(Vec::new())],
        ] {
            let mut batch = after(events, 0);
            let error = batch.handle(Event::Cancel, 50).unwrap_err();
            let word = batch.status.word();
            assert_eq!(
                error.to_string(),
                format!("Cannot cancel a batch with status '{word}'.")
            );
        }
        // A revoked key is never too late, and its reason is recorded once.
        let events = vec![valid(), Event::Revoked, Event::Revoked, Event::Written];
        let revoked = after(events, 1);
        assert_eq!(
            (revoked.status, revoked.faults),
            (Status::Cancelled, vec![Fault::revoked()])
        );
        let twice = after(vec![Event::Cancel, Event::Cancel], 0);
        assert_eq!(
            (twice.status, twice.times.cancelling),
            (Status::Cancelling, Some(10))
        );
    }

    proptest! {
        #[test]
        fn an_end_is_an_end(choices in prop::collection::vec(0..6_u8, 0..12)) {
            let mut batch = batch();
            for (now, choice) in (10..).zip(choices) {
                let before = batch.clone();
                let event = match choice {
                    0 => valid(),
                    1 => Event::Invalid(Vec::new()),
                    2 => Event::Cancel,
                    3 => Event::Settled,
                    4 => Event::Revoked,
                    _ => Event::Written,
                };
                let _ = batch.handle(event, now);
                if before.status.is_final() {
                    prop_assert_eq!(&before, &batch);
                }
                prop_assert_eq!(Status::of(batch.status.word()), Some(batch.status));
                let ends = [batch.times.completed, batch.times.failed, batch.times.expired, batch.times.cancelled];
                let n_ends = ends.iter().flatten().count();
                prop_assert_eq!(n_ends, usize::from(batch.status.is_final()));
            }
        }
    }
}
