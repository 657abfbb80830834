//! Chunks of one or more choices → a stream's events, or the whole answer.

use serde_json::Map;

use super::super::head::{FINGERPRINT, Head};
use super::super::tally::Tally;
use super::super::values::{finish_reason, logprob, stop_reason};
use super::Kept;
use crate::api::openai::{
    Completion, CompletionChoice, CompletionChunk, CompletionLogprobs, Usage,
};
use crate::inference::{Chunk, Logprob};

const OBJECT: &str = "text_completion";

/// Spells a stream.
#[derive(Debug)]
pub struct CompletionStream {
    head: Head,
    /// Where the next token of each choice begins, in characters.
    offsets: Vec<usize>,
    n_per_prompt: usize,
    tally: Tally,
    include_usage: bool,
}

impl CompletionStream {
    /// Starts a stream of `n` choices, of which `n_per_prompt` in a row share a prompt.
    pub fn new(head: Head, n: usize, n_per_prompt: usize, include_usage: bool) -> Self {
        Self {
            head,
            offsets: vec![0; n],
            n_per_prompt,
            tally: Tally::default(),
            include_usage,
        }
    }

    /// Spells a chunk of the choice `index`; one that holds only thinking is no event.
    pub fn push(&mut self, index: usize, chunk: Chunk) -> Option<CompletionChunk<'_>> {
        let offset = self.offsets.get_mut(index)?;
        if let Some(done) = &chunk.done {
            let shares_prompt = !index.is_multiple_of(self.n_per_prompt);
            self.tally.add(done.timings.as_ref(), shares_prompt);
        }
        if chunk.content.is_empty() && chunk.logprobs.is_empty() && chunk.done.is_none() {
            return None;
        }
        let reason = chunk.done.map(|done| done.reason);
        let choice = CompletionChoice {
            index,
            logprobs: logprobs(chunk.logprobs, offset),
            finish_reason: reason
                .as_ref()
                .and_then(|reason| finish_reason(reason, None)),
            stop_reason: reason.and_then(stop_reason),
            text: chunk.content,
        };
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
    /// Where the next token of each choice begins, in characters.
    offsets: Vec<usize>,
    kept: Kept,
    tally: Tally,
}

impl CompletionFold {
    /// Starts an answer of which `n` choices are made.
    pub fn new(head: Head, n: usize, kept: Kept) -> Self {
        Self {
            head,
            choices: vec![CompletionChoice::default(); n],
            offsets: vec![0; n],
            kept,
            tally: Tally::default(),
        }
    }

    /// Adds a chunk of the choice `index`.
    pub fn push(&mut self, index: usize, chunk: Chunk) {
        let offset = self.offsets.get_mut(index);
        let Some((choice, offset)) = self.choices.get_mut(index).zip(offset) else {
            return;
        };
        if let Some(more) = logprobs(chunk.logprobs, offset) {
            let all = choice.logprobs.get_or_insert_default();
            all.tokens.extend(more.tokens);
            all.token_logprobs.extend(more.token_logprobs);
            all.top_logprobs.extend(more.top_logprobs);
            all.text_offset.extend(more.text_offset);
        }
        choice.text.push_str(&chunk.content);
        if let Some(done) = chunk.done {
            choice.finish_reason = finish_reason(&done.reason, None);
            choice.stop_reason = stop_reason(done.reason);
            let shares_prompt = !index.is_multiple_of(self.kept.n_made);
            self.tally.add(done.timings.as_ref(), shares_prompt);
        }
    }

    /// The choices that are returned.
    fn kept(&mut self) -> Vec<CompletionChoice> {
        let Kept {
            n_made,
            n_kept,
            logprobs,
        } = self.kept;
        let mut kept = Vec::new();
        for made in self.choices.chunks_mut(n_made) {
            if n_kept < n_made {
                made.sort_by(|a, b| likelihood(b).total_cmp(&likelihood(a)));
            }
            kept.extend(made.iter_mut().take(n_kept).map(std::mem::take));
        }
        for (index, choice) in kept.iter_mut().enumerate() {
            choice.index = index;
            if !logprobs {
                choice.logprobs = None;
            }
        }
        kept
    }

    /// The answer, once every choice has ended.
    pub fn end(mut self) -> Completion {
        Completion {
            choices: self.kept(),
            id: self.head.id,
            object: OBJECT,
            created: self.head.created,
            model: self.head.model,
            system_fingerprint: FINGERPRINT,
            usage: self.tally.usage(),
        }
    }
}

/// How likely an answer is: its tokens on average, so that a short one has no advantage.
fn likelihood(choice: &CompletionChoice) -> f32 {
    let logprobs = choice.logprobs.as_ref();
    let logprobs = logprobs.map_or(&[][..], |logprobs| &logprobs.token_logprobs);
    if logprobs.is_empty() {
        return f32::NEG_INFINITY;
    }
    #[expect(clippy::cast_precision_loss, reason = "answers have few tokens")]
    let n_tokens = logprobs.len() as f32;
    logprobs.iter().sum::<f32>() / n_tokens
}

/// Spells log-probabilities as parallel lists and moves `offset` behind the last token.
fn logprobs(native: Vec<Logprob>, offset: &mut usize) -> Option<CompletionLogprobs> {
    if native.is_empty() {
        return None;
    }
    let mut lists = CompletionLogprobs::default();
    for token in native.into_iter().map(logprob) {
        lists.text_offset.push(*offset);
        // A character of several tokens counts where it begins.
        let begins = |byte: &&u8| **byte & 0xC0 != 0x80;
        *offset += token.bytes.iter().filter(begins).count();
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
