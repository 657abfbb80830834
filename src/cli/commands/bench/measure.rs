//! One measurement: a number of conversations with one server, some of them at once.

use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::stream;

use super::plan::Arrival;
use super::prompts::Prompts;
use super::request::{Answer, RequestError, Sample, Target};
use crate::chat::Message;
use crate::cli::ui::Counter;

/// Length of the answer that warms a server up, in tokens.
const WARM_UP_TOKENS: u32 = 8;

/// The requests, the same for every server.
#[derive(Debug)]
pub(super) struct Workload {
    pub(super) prompts: Prompts,
    pub(super) arrival: Arrival,
    pub(super) n_conversations: u32,
    pub(super) n_turns: u32,
    pub(super) n_output: u32,
}

/// One measurement: which conversations, and how many at once.
#[derive(Debug, Clone, Copy)]
pub(super) struct Level {
    pub(super) concurrency: u16,
    /// The number of its first conversation; no other measurement of the same server uses the same conversations.
    pub(super) first_id: u64,
}

/// The result of a level.
#[derive(Debug, Default)]
pub(super) struct Measured {
    pub(super) samples: Vec<Sample>,
    /// The error text of each conversation that broke off.
    pub(super) errors: Vec<String>,
    pub(super) wall: Duration,
}

impl Measured {
    /// Adds another measurement of the same kind; their times add up.
    pub(super) fn merge(&mut self, mut other: Self) {
        self.samples.append(&mut other.samples);
        self.errors.append(&mut other.errors);
        self.wall += other.wall;
    }
}

impl Workload {
    /// Sends a short request, so that the model is loaded; not measured.
    ///
    /// # Errors
    /// Fails when the server does not answer as it should.
    pub(super) async fn warm_up(&self, target: &Target) -> Result<(), RequestError> {
        let messages = [Message::text("user", "Hello")];
        let answer = target.ask(&messages, WARM_UP_TOKENS, Instant::now()).await;
        answer.map(drop)
    }

    /// Measures; errors of requests are counted and do not end it.
    pub(super) async fn measure(&self, target: &Target, level: Level, bar: &Counter) -> Measured {
        let times = self.arrival.times(self.prompts.seed ^ level.first_id);
        let count = usize::try_from(self.n_conversations).unwrap_or(usize::MAX);
        let start = Instant::now();
        let conversations = (level.first_id..).zip(times).take(count);
        let conversations = conversations.map(|(id, time)| async move {
            let due = self.wait_until_due(start, time).await;
            let result = self.converse(target, id, due).await;
            bar.add_one();
            result
        });
        let mut running =
            stream::iter(conversations).buffer_unordered(usize::from(level.concurrency));
        let mut measured = Measured::default();
        while let Some(mut conversation) = running.next().await {
            measured.samples.append(&mut conversation.samples);
            measured
                .errors
                .extend(conversation.error.map(|error| error.to_string()));
        }
        measured.wall = start.elapsed();
        measured
    }

    /// Waits until a request is due, and returns when that was.
    async fn wait_until_due(&self, start: Instant, time: Duration) -> Instant {
        let now = Instant::now();
        let due = match self.arrival {
            Arrival::Closed => now,
            Arrival::Poisson(_) => start.checked_add(time).unwrap_or(now),
        };
        if due <= now {
            // A request that had to wait for a free place has been due since then.
            return due;
        }
        tokio::time::sleep_until(due.into()).await;
        // Timers are a millisecond late, and that is not the server's fault.
        Instant::now()
    }

    /// Has one conversation, up to its end or the first error.
    async fn converse(&self, target: &Target, id: u64, due: Instant) -> Conversation {
        let mut conversation = Conversation::default();
        let mut messages = self.prompts.first(id);
        let mut due = due;
        for turn in 0..self.n_turns {
            if turn > 0 {
                messages.push(self.prompts.question(id, turn));
                due = Instant::now();
            }
            match target.ask(&messages, self.n_output, due).await {
                Ok(Answer { sample, text }) => {
                    conversation.samples.push(sample);
                    messages.push(Message::text("assistant", text));
                }
                Err(error) => {
                    conversation.error = Some(error);
                    break;
                }
            }
        }
        conversation
    }
}

/// How a conversation went.
#[derive(Debug, Default)]
struct Conversation {
    samples: Vec<Sample>,
    error: Option<RequestError>,
}
