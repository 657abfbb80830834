//! Chunks of one or more choices → a stream's events, or the whole answer.

use serde_json::Map;

use super::super::head::{FINGERPRINT, Head};
use super::super::tally::Tally;
use super::super::values::{finish_reason, logprob};
use crate::api::openai::{
    Completion, CompletionChoice, CompletionChunk, CompletionLogprobs, Usage,
};
use crate::inference::{Chunk, Logprob};

const OBJECT: &str = "text_completion";

/// Spells a stream.
#[derive(Debug)]
pub struct CompletionStream {
    head: Head,
    /// Characters that each choice has so far.
    lengths: Vec<usize>,
    n_per_prompt: usize,
    tally: Tally,
    include_usage: bool,
}

impl CompletionStream {
    /// Starts a stream of `n` choices, of which `n_per_prompt` in a row share a prompt.
    pub fn new(head: Head, n: usize, n_per_prompt: usize, include_usage: bool) -> Self {
        Self {
            head,
            lengths: vec![0; n],
            n_per_prompt,
            tally: Tally::default(),
            include_usage,
        }
    }

    /// Spells a chunk of the choice `index`; one that holds only thinking is no event.
    pub fn push(&mut self, index: usize, chunk: Chunk) -> Option<CompletionChunk<'_>> {
        let length = self.lengths.get_mut(index)?;
        if let Some(done) = &chunk.done {
            let shares_prompt = !index.is_multiple_of(self.n_per_prompt);
            self.tally.add(done.timings.as_ref(), shares_prompt);
        }
        if chunk.content.is_empty() && chunk.logprobs.is_empty() && chunk.done.is_none() {
            return None;
        }
        let choice = CompletionChoice {
            index,
            logprobs: logprobs(chunk.logprobs, *length),
            finish_reason: chunk
                .done
                .and_then(|done| finish_reason(done.reason, false)),
            text: chunk.content,
        };
        *length += choice.text.chars().count();
        // As Ollama does: the counters of all but the last event are zero.
        let usage = self.include_usage.then(Usage::default);
        Some(event(&self.head, vec![choice], usage))
    }

    /// The event after the last choice has ended: the counters, if they were asked for.
    pub fn end(&self) -> Option<CompletionChunk<'_>> {
        self.include_usage
            .then(|| event(&self.head, Vec::new(), Some(self.tally.usage())))
    }
}

fn event(head: &Head, choices: Vec<CompletionChoice>, usage: Option<Usage>) -> CompletionChunk<'_> {
    CompletionChunk {
        id: &head.id,
        object: OBJECT,
        created: head.created,
        model: &head.model,
        system_fingerprint: FINGERPRINT,
        choices,
        usage,
    }
}

/// Collects the whole answer.
#[derive(Debug)]
pub struct CompletionFold {
    head: Head,
    choices: Vec<CompletionChoice>,
    n_per_prompt: usize,
    tally: Tally,
}

impl CompletionFold {
    /// Starts an answer of `n` choices, of which `n_per_prompt` in a row share a prompt.
    pub fn new(head: Head, n: usize, n_per_prompt: usize) -> Self {
        let choices = (0..n).map(|index| CompletionChoice {
            index,
            ..CompletionChoice::default()
        });
        Self {
            head,
            choices: choices.collect(),
            n_per_prompt,
            tally: Tally::default(),
        }
    }

    /// Adds a chunk of the choice `index`.
    pub fn push(&mut self, index: usize, chunk: Chunk) {
        let Some(choice) = self.choices.get_mut(index) else {
            return;
        };
        if !chunk.logprobs.is_empty() {
            let all = choice.logprobs.get_or_insert_default();
            let more = logprobs(chunk.logprobs, end_of(all)).unwrap_or_default();
            all.tokens.extend(more.tokens);
            all.token_logprobs.extend(more.token_logprobs);
            all.top_logprobs.extend(more.top_logprobs);
            all.text_offset.extend(more.text_offset);
        }
        choice.text.push_str(&chunk.content);
        if let Some(done) = chunk.done {
            choice.finish_reason = finish_reason(done.reason, false);
            let shares_prompt = !index.is_multiple_of(self.n_per_prompt);
            self.tally.add(done.timings.as_ref(), shares_prompt);
        }
    }

    /// The answer, once every choice has ended.
    pub fn end(self) -> Completion {
        Completion {
            id: self.head.id,
            object: OBJECT,
            created: self.head.created,
            model: self.head.model,
            system_fingerprint: FINGERPRINT,
            choices: self.choices,
            usage: self.tally.usage(),
        }
    }
}

/// Where the token after the listed ones begins.
fn end_of(lists: &CompletionLogprobs) -> usize {
    let last = lists.text_offset.last().zip(lists.tokens.last());
    last.map_or(0, |(offset, token)| offset + token.chars().count())
}

/// Spells log-probabilities as parallel lists; the first token begins at `offset` characters.
fn logprobs(native: Vec<Logprob>, mut offset: usize) -> Option<CompletionLogprobs> {
    if native.is_empty() {
        return None;
    }
    let mut lists = CompletionLogprobs::default();
    for token in native.into_iter().map(logprob) {
        lists.text_offset.push(offset);
        offset += token.token.chars().count();
        let top: Map<_, _> = token
            .top_logprobs
            .into_iter()
            .map(|top| (top.token, top.logprob.into()))
            .collect();
        lists.tokens.push(token.token);
        lists.token_logprobs.push(token.logprob);
        lists.top_logprobs.push(top);
    }
    Some(lists)
}
