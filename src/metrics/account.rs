//! What is known of a request besides its route and status: whose model, how many tokens, how it ended.
//!
//! The server opens an account for each request and enters it for as long as the handler runs and the body
//! is read ([`Account::carry`], [`Account::enter`]). Whoever learns something on the way notes it in
//! [`Account::current`]; requests of batch jobs have none.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

tokio::task_local! {
    static CURRENT: Arc<Account>;
}

/// The account of one request.
#[derive(Debug, Default)]
pub struct Account(Mutex<Facts>);

/// What has been noted.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Facts {
    /// The model's name, once it was found in the store; empty = none.
    pub model: String,
    /// `chat`, `text_completion` or `embeddings`; empty = none of them.
    pub operation: &'static str,
    pub n_prompt: u64,
    pub n_cached: u64,
    pub n_generated: u64,
    /// Time until the model was loaded, and then for a slot.
    pub load: Duration,
    pub queue: Duration,
    /// From the request to the first token.
    pub first_token: Option<Duration>,
    /// Why the model stopped: `stop`, `length`.
    pub finish: Option<&'static str>,
    /// Why the answer broke off, after its status was sent.
    pub broken: Option<String>,
}

impl Account {
    /// The account of the request that is being handled.
    pub fn current() -> Option<Arc<Self>> {
        CURRENT.try_with(Arc::clone).ok()
    }

    /// Runs a future in which this is the current account.
    pub fn carry<F: Future>(self: Arc<Self>, future: F) -> impl Future<Output = F::Output> {
        CURRENT.scope(self, future)
    }

    /// Runs a function in which this is the current account.
    pub fn enter<T>(self: Arc<Self>, function: impl FnOnce() -> T) -> T {
        CURRENT.sync_scope(self, function)
    }

    /// Notes something.
    pub fn note(&self, note: impl FnOnce(&mut Facts)) {
        note(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// What has been noted so far.
    pub fn facts(&self) -> Facts {
        let facts = self.0.lock();
        facts.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Notes something of the request that is being handled, if it has an account.
pub fn note(note: impl FnOnce(&mut Facts)) {
    // Outside of a request there is nothing to note.
    let _ = CURRENT.try_with(|account| account.note(note));
}

/// Runs a future that goes on in another task under the account of this one.
pub fn carried<F: Future>(future: F) -> impl Future<Output = F::Output> {
    let account = Account::current().unwrap_or_default();
    account.carry(future)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn notes_reach_the_account_of_their_request_also_from_other_tasks() {
        let account = Arc::new(Account::default());
        let work = async {
            note(|facts| facts.n_prompt += 1);
            let elsewhere = carried(async { note(|facts| facts.n_prompt += 10) });
            let mut tasks = tokio::task::JoinSet::new();
            tasks.spawn(elsewhere);
            tasks.join_next().await.unwrap().unwrap();
        };
        Arc::clone(&account).carry(work).await;
        Arc::clone(&account).enter(|| note(|facts| facts.n_prompt += 100));
        note(|facts| facts.n_prompt += 1000);
        assert_eq!(account.facts().n_prompt, 111);
    }
}
