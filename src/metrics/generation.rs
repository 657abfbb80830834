//! One answer: its times and its outcome.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::account::Account;
use super::model::{Class, Model, Outcome};

/// Observes an answer. If it is dropped before the end, the client has left.
#[derive(Debug)]
pub struct Generation {
    model: Arc<Model>,
    class: Class,
    account: Option<Arc<Account>>,
    received: Instant,
    /// When the last tokens came.
    last: Option<Instant>,
    n_generated: u32,
    is_over: bool,
}

/// What the engine reports about an answer that has ended.
#[derive(Debug, Clone, Copy)]
pub struct Finish {
    pub outcome: Outcome,
    pub n_prompt: u32,
    pub n_cached: u32,
    pub n_generated: u32,
    pub queue: Duration,
    pub prefill: Duration,
    pub decode: Duration,
}

impl Generation {
    /// Begins when the engine has accepted the prompt; `received` is when the request came in.
    pub fn new(model: &str, class: Class, received: Instant, n_prompt: u32) -> Self {
        let model = Model::of(model);
        model.times(class).n_begun.add(1);
        let account = Account::current();
        if let Some(account) = &account {
            account.note(|facts| facts.n_prompt += u64::from(n_prompt));
        }
        Self {
            model,
            class,
            account,
            received,
            last: None,
            n_generated: 0,
            is_over: false,
        }
    }

    /// Records that so many tokens have arrived.
    pub fn tokens(&mut self, n: u32) {
        if n == 0 {
            return;
        }
        let now = Instant::now();
        self.n_generated = self.n_generated.saturating_add(n);
        let times = self.model.times(self.class);
        let mut first = None;
        match self.last.replace(now) {
            Some(last) => {
                let time = now.duration_since(last) / n;
                times.between_tokens.observe(time.as_secs_f64());
                self.model.between_tokens.add(time);
            }
            None => {
                let time = now.duration_since(self.received);
                times.first_token.observe(time.as_secs_f64());
                self.model.first_token.add(time);
                first = Some(time);
            }
        }
        if let Some(account) = &self.account {
            account.note(|facts| {
                facts.n_now += u64::from(n);
                facts.first_token = facts.first_token.or(first);
            });
        }
    }

    /// Counts an answer that has ended by itself.
    pub fn finished(&mut self, finish: &Finish) {
        self.is_over = true;
        self.model.outcome(finish.outcome).add(1);
        let times = self.model.times(self.class);
        let whole = self.received.elapsed();
        let inference = finish.prefill + finish.decode;
        for (histogram, time) in [
            (&times.queue, finish.queue),
            (&times.prefill, finish.prefill),
            (&times.decode, finish.decode),
            (&times.inference, inference),
            (&times.whole, whole),
        ] {
            histogram.observe(time.as_secs_f64());
        }
        if let Some(n) = finish.n_generated.checked_sub(1).filter(|&n| n > 0) {
            let time = finish.decode.as_secs_f64() / f64::from(n);
            times.per_token.observe(time);
        }
        times.n_prompt.observe(f64::from(finish.n_prompt));
        times.n_generated.observe(f64::from(finish.n_generated));
        let Some(account) = &self.account else { return };
        account.note(|facts| {
            // The prompt was recorded at the beginning.
            facts.n_now = facts.n_now.saturating_sub(u64::from(self.n_generated));
            facts.n_cached += u64::from(finish.n_cached);
            facts.n_generated += u64::from(finish.n_generated);
            facts.queue = facts.queue.max(finish.queue);
            facts.finish = Some(finish.outcome.name());
        });
    }

    /// Counts an answer that has failed.
    pub fn failed(&mut self) {
        self.leave(Outcome::Error);
    }

    fn leave(&mut self, outcome: Outcome) {
        if std::mem::replace(&mut self.is_over, true) {
            return;
        }
        self.model.outcome(outcome).add(1);
        let Some(account) = &self.account else { return };
        account.note(|facts| {
            facts.n_now = facts.n_now.saturating_sub(u64::from(self.n_generated));
            facts.n_generated += u64::from(self.n_generated);
        });
    }
}

impl Drop for Generation {
    fn drop(&mut self) {
        self.leave(Outcome::Abort);
    }
}
