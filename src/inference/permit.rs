//! What the API key of a request allows: which models, how many tokens.

use std::sync::Arc;

use jiff::Timestamp;

use super::context::Context;
use super::error::{ErrorKind as Kind, RequestError};
use crate::keys::{Invalid, Key, Refused};
use crate::model::ModelName;
use crate::runner_client::Part;

/// Checks that a client may use a model.
pub(super) fn check(context: &Context, client: &str, name: &ModelName) -> Result<(), RequestError> {
    let Some(key) = key_of(context, client)? else {
        return Ok(());
    };
    let short = name.short();
    if key.allows_model(&short) {
        return Ok(());
    }
    Err(no_access(&short))
}

/// The error for a model that a key may not use.
pub fn no_access(short_name: &str) -> RequestError {
    let message = format!("The API key does not have access to the model `{short_name}`.");
    RequestError::new(Kind::Forbidden, message).about("model", "model_not_allowed")
}

fn key_of(context: &Context, client: &str) -> Result<Option<Arc<Key>>, RequestError> {
    let key = context.keys.of_client(client, Timestamp::now());
    key.map_err(|reason: Invalid| {
        let message = format!("Incorrect API key provided: {reason}.");
        RequestError::new(Kind::Unauthorized, message).coded("invalid_api_key")
    })
}

/// Counts the tokens of an answer where its key has a limit.
#[derive(Debug, Default)]
pub(super) struct Meter {
    key: Option<Arc<Key>>,
    /// Tokens of the answer so far.
    n_taken: u32,
}

impl Meter {
    /// The meter of a client; batch jobs are not counted.
    pub(super) fn of(context: &Context, client: &str, is_job: bool) -> Result<Self, RequestError> {
        let key = key_of(context, client)?;
        Ok(Self {
            key: key.filter(|_| !is_job),
            n_taken: 0,
        })
    }

    /// Takes the tokens of a prompt from the key's limit.
    ///
    /// # Errors
    /// The key does not have that many left.
    pub(super) fn prompt(&self, n_prompt: u32) -> Result<(), RequestError> {
        let Some(key) = &self.key else {
            return Ok(());
        };
        key.usage.take(n_prompt.into()).map_err(limited)
    }

    /// Takes tokens of the answer; false = the key has too few left, and the answer has to end.
    pub(super) fn answer(&mut self, n_tokens: u32) -> bool {
        let Some(key) = &self.key else {
            return true;
        };
        let is_left = key.usage.take(n_tokens.into()).is_ok();
        if is_left {
            self.n_taken = self.n_taken.saturating_add(n_tokens);
        }
        is_left
    }

    /// Takes as many parts of a text as the key has tokens for; returns their bytes and tokens.
    pub(super) fn parts(&mut self, parts: &[Part]) -> (usize, u32) {
        let before = self.n_taken;
        let taken = parts.iter().take_while(|part| self.answer(part.n_tokens));
        let n_bytes = taken.map(|part| part.n_bytes).sum();
        (n_bytes, self.n_taken - before)
    }

    /// Takes the tokens that an answer has beyond its text, as far as the key has them left; returns the
    /// answer's number of tokens.
    pub(super) fn end(&mut self, n_generated: u32) -> u32 {
        while self.key.is_some() && self.n_taken < n_generated && self.answer(1) {}
        match self.key {
            Some(_) => self.n_taken,
            None => n_generated,
        }
    }

    /// Counts tokens that are known only afterwards; they may exceed the limit, which delays later requests.
    pub(super) fn charge(&self, n_tokens: u32) {
        if let Some(key) = &self.key {
            key.usage.charge(n_tokens.into());
        }
    }
}

fn limited(refused: Refused) -> RequestError {
    RequestError::new(Kind::RateLimited, refused.to_string())
        .coded("rate_limit_exceeded")
        .retry_after(refused.retry_after())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::{Keys, Wish};

    fn meter(limit: &str) -> (Meter, Arc<Key>) {
        let wish = Wish {
            name: "one".to_owned(),
            limits: limit.parse().unwrap(),
            ..Wish::default()
        };
        let (_, key) = Keys::none().create(wish, Timestamp::now()).unwrap();
        let meter = Meter {
            key: Some(Arc::clone(&key)),
            n_taken: 0,
        };
        (meter, key)
    }

    fn left(key: &Key) -> u64 {
        key.usage.state().tokens.unwrap().1
    }

    #[test]
    fn an_answer_ends_with_the_last_token() {
        let (mut meter, key) = meter("tokens=10");
        meter.prompt(4).unwrap();
        assert!(meter.answer(3) && meter.answer(2));
        // Three tokens at once do not fit; none of them is taken.
        assert!(!meter.answer(3));
        assert_eq!(left(&key), 1);
        // Tokens that the text does not show (an end token) count as far as tokens are left.
        assert_eq!(meter.end(8), 6);
        assert_eq!(left(&key), 0);
        let refused = meter.prompt(1).unwrap_err();
        assert_eq!(
            (refused.kind, refused.code),
            (Kind::RateLimited, Some("rate_limit_exceeded"))
        );
    }

    #[test]
    fn of_a_joined_text_goes_out_what_is_left() {
        let (mut meter, key) = meter("tokens=10");
        let part = |n_tokens, n_bytes| Part { n_tokens, n_bytes };
        let parts = [part(4, 9), part(5, 20), part(2, 3), part(1, 1)];
        assert!(!meter.answer(12));
        assert_eq!(meter.parts(&parts), (29, 9));
        assert_eq!(left(&key), 1);
        assert_eq!(meter.end(0), 9);
    }

    #[test]
    fn what_is_known_late_is_owed() {
        let (meter, key) = meter("tokens=10");
        meter.charge(25);
        assert_eq!(left(&key), 0);
        assert!(meter.prompt(1).is_err());
        assert_eq!(Meter::default().end(7), 7);
    }
}
