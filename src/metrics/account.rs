//! What is known of a request besides its route and status: the key, the model, the tokens, and how it ended.
//!
//! The server opens an account for each request and enters it while the handler runs and while the body is read
//! ([`Account::carry`], [`Account::enter`]). Code on the way records facts in [`Account::current`]; requests of batch
//! jobs have none.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

tokio::task_local! {
    static CURRENT: Arc<Account>;
}

/// The accounts of requests that are being answered, for `/ui` and `drover top`.
static LIVE: Mutex<Vec<Weak<Account>>> = Mutex::new(Vec::new());

/// The account of one request.
#[derive(Debug)]
pub struct Account {
    pub id: String,
    pub route: String,
    /// The client's address; empty = in process.
    pub client: String,
    pub started: Instant,
    facts: Mutex<Facts>,
}

impl Default for Account {
    fn default() -> Self {
        Self::new(String::new(), String::new(), String::new())
    }
}

/// The recorded facts.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Facts {
    /// The name of the client's API key; empty = none.
    pub key: String,
    /// The model's name, once it was found in the store; empty = none.
    pub model: String,
    /// `chat`, `text_completion` or `embeddings`; empty = another operation.
    pub operation: &'static str,
    pub n_prompt: u64,
    pub n_cached: u64,
    pub n_generated: u64,
    /// Tokens of answers that have not ended.
    pub n_now: u64,
    /// Whether the model is loaded.
    pub is_loaded: bool,
    /// The time until the model was loaded, and after that the time until there was a slot.
    pub load: Duration,
    pub queue: Duration,
    /// The time from the request to the first token.
    pub first_token: Option<Duration>,
    /// Why the model stopped: `stop`, `length`.
    pub finish: Option<&'static str>,
    /// Why the answer broke off, after its status was sent.
    pub broken: Option<String>,
}

impl Account {
    /// The account of a new request.
    pub fn new(id: String, route: String, client: String) -> Self {
        Self {
            id,
            route,
            client,
            started: Instant::now(),
            facts: Mutex::default(),
        }
    }

    /// Adds it to the accounts that [`Self::live`] lists, until it is dropped.
    pub fn listed(self) -> Arc<Self> {
        let account = Arc::new(self);
        let mut live = LIVE.lock().unwrap_or_else(PoisonError::into_inner);
        // Remove dropped accounts before the list would grow.
        if live.len() == live.capacity() {
            live.retain(|account| account.strong_count() > 0);
        }
        live.push(Arc::downgrade(&account));
        account
    }

    /// The accounts of all requests that are being answered, oldest first.
    pub fn live() -> Vec<Arc<Self>> {
        let mut live = LIVE.lock().unwrap_or_else(PoisonError::into_inner);
        live.retain(|account| account.strong_count() > 0);
        live.iter().filter_map(Weak::upgrade).collect()
    }

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

    /// Records facts.
    pub fn note(&self, note: impl FnOnce(&mut Facts)) {
        note(&mut self.facts.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// The facts so far.
    pub fn facts(&self) -> Facts {
        let facts = self.facts.lock();
        facts.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Records facts about the request that is being handled, if it has an account.
pub fn note(note: impl FnOnce(&mut Facts)) {
    // Outside of a request there is no account.
    let _ = CURRENT.try_with(|account| account.note(note));
}

/// Makes a future for another task that runs under this task's account.
pub fn carried<F: Future>(future: F) -> impl Future<Output = F::Output> {
    let account = Account::current().unwrap_or_default();
    account.carry(future)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_are_listed_as_long_as_they_live() {
        let listed = || {
            Account::live()
                .iter()
                .filter(|account| account.id == "listed")
                .count()
        };
        let of = || Account::new("listed".to_owned(), "/x".to_owned(), String::new());
        let all: Vec<_> = (0..100).map(|_| of().listed()).collect();
        assert_eq!(listed(), 100);
        drop(all);
        assert_eq!(listed(), 0);
        let _one = of().listed();
        assert_eq!(listed(), 1);
    }

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
