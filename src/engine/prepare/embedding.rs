//! Turns the inputs of an embedding request into tokens, each of which fits into one batch.

use std::collections::VecDeque;

use super::reading::Reading;
use super::{Prepared, Terms, limits};
use crate::engine::backend::{Ends, Preparer};
use crate::engine::prompt;
use crate::engine::schedule::embedding::EmbedJob;
use crate::protocol::{EmbedInput, EmbedParams, Failure, FailureKind, RequestId, Token};

/// Bytes of an input that are tokenized first: for each token that it may have, and at least.
const BYTES_PER_TOKEN: usize = 32;
const LEAST_BYTES: usize = 64 << 10;

/// An embedding request in preparation.
pub(super) struct Embedding {
    params: EmbedParams,
    waiting: VecDeque<EmbedInput>,
    /// The first waiting input, or its first part.
    reading: Option<Reading>,
    /// How many of its bytes are being tokenized.
    n_bytes: usize,
    inputs: Vec<Vec<Token>>,
    /// The last query of a pair, with its tokens: pairs of a request share it.
    query: Option<(String, Vec<Token>)>,
}

impl Embedding {
    pub(super) fn new(mut params: EmbedParams) -> Result<Self, Failure> {
        limits::check_embedding(&params)?;
        let inputs = std::mem::take(&mut params.inputs);
        Ok(Self {
            waiting: inputs.into(),
            params,
            reading: None,
            n_bytes: 0,
            inputs: Vec::new(),
            query: None,
        })
    }

    /// Does a slice of the work; false at the end.
    pub(super) fn advance<P: Preparer>(&mut self, terms: &Terms<P>) -> Result<bool, Failure> {
        let limit = Limit::of(&self.params, terms);
        let known = self.query.as_ref().map(|(query, _)| query);
        let (text, parse_special) = match self.waiting.front_mut() {
            None => return Ok(false),
            Some(EmbedInput::Text(text)) => (&*text, false),
            Some(EmbedInput::Prompt { prompt }) => (&*prompt, true),
            Some(EmbedInput::Pair { query, document }) if known == Some(query) => {
                (&*document, false)
            }
            Some(EmbedInput::Pair { query, .. }) => (&*query, false),
            Some(EmbedInput::Tokens(tokens)) => {
                let tokens = std::mem::take(tokens);
                prompt::check(terms.preparer.info(), &tokens)?;
                return self.add(&limit, tokens, terms);
            }
        };
        let Some(reading) = &mut self.reading else {
            let least = LEAST_BYTES.max(limit.n_tokens().saturating_mul(BYTES_PER_TOKEN));
            self.n_bytes = self.n_bytes.max(least);
            let head = &text[..text.floor_char_boundary(self.n_bytes)];
            let reading = Reading::new(&*terms.preparer, head.to_owned(), parse_special);
            self.reading = Some(reading.map_err(|error| prompt::refused(&error))?);
            return Ok(true);
        };
        let more = reading.advance(&*terms.preparer);
        // Cutting the text changes only the tokens of its last part.
        let is_enough = more && reading.len() > limit.longest_told();
        if more && !is_enough {
            return Ok(true);
        }
        if !is_enough && text.floor_char_boundary(self.n_bytes) < text.len() {
            self.n_bytes = self.n_bytes.saturating_mul(8);
            self.reading = None;
            return Ok(true);
        }
        let tokens = self.reading.take().map(Reading::into_tokens);
        let tokens = tokens.unwrap_or_default();
        if let Some(EmbedInput::Pair { query, .. }) = self.waiting.front()
            && self.query.as_ref().is_none_or(|(known, _)| known != query)
        {
            self.query = Some((query.clone(), tokens));
            self.n_bytes = 0;
            return Ok(true);
        }
        self.add(&limit, tokens, terms)
    }

    /// Takes the tokens of the first waiting input; false if it was the last one.
    fn add<P: Preparer>(
        &mut self,
        limit: &Limit,
        tokens: Vec<Token>,
        terms: &Terms<P>,
    ) -> Result<bool, Failure> {
        let truncate = self.params.truncate;
        let input = match (self.waiting.front(), &self.query) {
            (Some(EmbedInput::Pair { .. }), Some((_, query))) => {
                let ends = terms.preparer.pair_ends();
                let ends = Ends {
                    before: [&*ends.before, query, &ends.between].concat(),
                    after: ends.after.clone(),
                };
                limit.fit(tokens, &ends, truncate)?
            }
            // A cut prompt would make no sense to the model.
            (Some(EmbedInput::Prompt { .. }), _) => limit.fit(tokens, &Ends::default(), false)?,
            _ => limit.fit(tokens, terms.preparer.ends(), truncate)?,
        };
        self.inputs.push(input);
        self.waiting.pop_front();
        self.n_bytes = 0;
        Ok(!self.waiting.is_empty())
    }

    pub(super) fn finish<S>(self, id: RequestId) -> Prepared<S> {
        Prepared::Embedding(EmbedJob::new(id, self.params, self.inputs))
    }
}

/// Tokens that an input may have.
struct Limit {
    n_ctx: usize,
    n_batch: usize,
}

impl Limit {
    fn of<P: Preparer>(params: &EmbedParams, terms: &Terms<P>) -> Self {
        let trained = match terms.preparer.info().n_ctx_train {
            0 => u32::MAX,
            n_ctx_train => n_ctx_train,
        };
        Self {
            n_ctx: params.n_ctx.min(trained).max(1) as usize,
            n_batch: terms.n_batch,
        }
    }

    fn n_tokens(&self) -> usize {
        self.n_ctx.min(self.n_batch)
    }

    /// More tokens than this make no difference.
    fn longest_told(&self) -> usize {
        self.n_ctx.max(self.n_batch)
    }

    fn fit(&self, text: Vec<Token>, ends: &Ends, truncate: bool) -> Result<Vec<Token>, Failure> {
        let parts = [&ends.before, &text, &ends.after];
        let mut tokens = parts.map(Vec::as_slice).concat();
        if tokens.is_empty() {
            let message = "Input content cannot be empty";
            return Err(prompt::failure(FailureKind::Invalid, message));
        }
        // An empty text needs no cut, whatever the limit.
        if text.is_empty() && tokens.len() <= self.n_batch {
            return Ok(tokens);
        }
        if tokens.len() - text.len() >= self.n_ctx {
            let message = "input after truncation exceeds maximum context length";
            return Err(prompt::failure(FailureKind::ContextExceeded, message));
        }
        if tokens.len() <= self.n_tokens() {
            return Ok(tokens);
        }
        if !truncate {
            let message = if tokens.len() > self.n_ctx {
                "the input length exceeds the context length".to_owned()
            } else {
                format!(
                    "input ({} tokens) is too large to process. increase the physical batch size (current batch size: {})",
                    tokens.len(),
                    self.n_batch
                )
            };
            return Err(prompt::failure(FailureKind::ContextExceeded, &message));
        }
        tokens.truncate(self.n_tokens());
        // A shortened text keeps the special tokens at its end.
        if let (Some(end), Some(last)) = (ends.after.last(), tokens.last_mut()) {
            *last = *end;
        }
        Ok(tokens)
    }
}
