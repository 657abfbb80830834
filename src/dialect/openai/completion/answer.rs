//! Makes a stream's events, or the whole response, from the chunks of one or more choices.

use serde_json::{Map, Value};

use super::super::head::{FINGERPRINT, Head};
use super::super::tally::Tally;
use super::super::values::{finish_reason, finite, logprob, stop_reason};
use super::Kept;
use crate::api::openai::{
    Completion, CompletionChoice, CompletionChunk, CompletionLogprobs, Usage,
};
use crate::inference::{Chunk, Echo, Logprob, TopLogprob};

const OBJECT: &str = "text_completion";

/// Makes the events of a stream.
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
    /// Starts a stream of `n` choices; each prompt has `n_per_prompt` consecutive choices.
    pub fn new(head: Head, n: usize, n_per_prompt: usize, include_usage: bool) -> Self {
        Self {
            head,
            offsets: vec![0; n],
            n_per_prompt,
            tally: Tally::default(),
            include_usage,
        }
    }

    /// Converts a chunk of the choice `index`; one with only thinking yields no event.
    pub fn push(&mut self, index: usize, chunk: Chunk) -> Option<CompletionChunk<'_>> {
        let offset = self.offsets.get_mut(index)?;
        if let Some(done) = &chunk.done {
            let shares_prompt = !index.is_multiple_of(self.n_per_prompt);
            self.tally.add(done.timings.as_ref(), shares_prompt);
        }
        let is_empty =
            chunk.content.is_empty() && chunk.logprobs.is_empty() && chunk.done.is_none();
        if is_empty && chunk.echo.is_none() {
            return None;
        }
        let (mut text, mut lists) = echoed(chunk.echo, offset);
        text.push_str(&chunk.content);
        add(&mut lists, logprobs(chunk.logprobs, offset));
        let reason = chunk.done.map(|done| done.reason);
        let choice = CompletionChoice {
            index,
            logprobs: lists,
            finish_reason: reason
                .as_ref()
                .and_then(|reason| finish_reason(reason, None)),
            stop_reason: reason.and_then(stop_reason),
            text,
        };
        // As Ollama does: the counters of all but the last event are zero.
        let usage = self.include_usage.then(Usage::default);
        Some(event(&self.head, vec![choice], usage))
    }

    /// The event after the last choice has ended: the counters, if requested.
    pub fn end(&self) -> Option<CompletionChunk<'_>> {
        self.include_usage.then(|| CompletionChunk {
            timings: self.tally.timings(),
            ..event(&self.head, Vec::new(), Some(self.tally.usage()))
        })
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
        timings: None,
    }
}

/// Collects the whole answer.
#[derive(Debug)]
pub struct CompletionFold {
    head: Head,
    choices: Vec<CompletionChoice>,
    /// Where the next token of each choice begins, in characters.
    offsets: Vec<usize>,
    /// How many entries belong to each choice's prompt.
    n_echoed: Vec<usize>,
    kept: Kept,
    tally: Tally,
}

impl CompletionFold {
    /// Starts an answer with `n` choices.
    pub fn new(head: Head, n: usize, kept: Kept) -> Self {
        Self {
            head,
            choices: vec![CompletionChoice::default(); n],
            offsets: vec![0; n],
            n_echoed: vec![0; n],
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
        let (prompt, lists) = echoed(chunk.echo, offset);
        self.n_echoed[index] += lists.as_ref().map_or(0, |lists| lists.tokens.len());
        add(&mut choice.logprobs, lists);
        add(&mut choice.logprobs, logprobs(chunk.logprobs, offset));
        choice.text.push_str(&prompt);
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
        let prompts = self.n_echoed.chunks(n_made);
        for (made, n_echoed) in self.choices.chunks_mut(n_made).zip(prompts) {
            if n_kept < n_made {
                let n_echoed = n_echoed.first().copied().unwrap_or_default();
                let likelihood = |choice: &_| likelihood(choice, n_echoed);
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
            timings: self.tally.timings(),
        }
    }
}

/// The likelihood of an answer: the average over its tokens, so that short answers have no advantage. Tokens of the
/// prompt before it don't count.
fn likelihood(choice: &CompletionChoice, n_echoed: usize) -> f32 {
    let logprobs = choice.logprobs.as_ref();
    let logprobs = logprobs.and_then(|logprobs| logprobs.token_logprobs.get(n_echoed..));
    let logprobs = logprobs.unwrap_or_default();
    if logprobs.is_empty() {
        return f32::NEG_INFINITY;
    }
    #[expect(clippy::cast_precision_loss, reason = "answers have few tokens")]
    let n_tokens = logprobs.len() as f32;
    logprobs.iter().flatten().sum::<f32>() / n_tokens
}

/// Converts log-probabilities to parallel lists, and moves `offset` past the last token.
fn logprobs(native: Vec<Logprob>, offset: &mut usize) -> Option<CompletionLogprobs> {
    if native.is_empty() {
        return None;
    }
    let mut lists = CompletionLogprobs::default();
    for token in native.into_iter().map(logprob) {
        lists.text_offset.push(*offset);
        *offset += n_begun(&token.bytes);
        let top = token.top_logprobs.into_iter();
        let top = top.map(|top| (top.token, top.logprob));
        lists.tokens.push(token.token);
        lists.token_logprobs.push(Some(token.logprob));
        lists.top_logprobs.push(Some(by_text(top.collect())));
    }
    Some(lists)
}

/// The text of a prompt and the lists of its tokens, if requested; moves `offset` past it.
fn echoed(echo: Option<Echo>, offset: &mut usize) -> (String, Option<CompletionLogprobs>) {
    let Some(Echo { text, tokens }) = echo else {
        return (String::new(), None);
    };
    let begin = *offset;
    *offset += text.chars().count();
    if tokens.is_empty() {
        return (text, None);
    }
    let mut lists = CompletionLogprobs::default();
    let (mut at, mut rest) = (begin, text.as_bytes());
    for token in tokens {
        lists.text_offset.push(at);
        // The text does not contain what the tokenizer has added (a BOS token, a blank).
        let bytes = token.bytes.as_slice();
        let behind = [Some(bytes), bytes.strip_prefix(b" ")];
        let behind = behind
            .into_iter()
            .flatten()
            .find_map(|bytes| rest.strip_prefix(bytes).map(|rest| (n_begun(bytes), rest)));
        if let Some((n, behind)) = behind {
            at += n;
            rest = behind;
        }
        lists.tokens.push(token.token);
        lists.token_logprobs.push(token.logprob.map(finite));
        let top = |top: TopLogprob| (top.token, finite(top.logprob));
        let top = by_text(token.top.into_iter().map(top).collect());
        lists.top_logprobs.push(token.logprob.map(|_| top));
    }
    (text, Some(lists))
}

/// Alternatives, best first, by their texts; of several with the same text the best.
fn by_text(top: Vec<(String, f32)>) -> Map<String, Value> {
    let mut map = Map::new();
    for (text, logprob) in top {
        map.entry(text).or_insert_with(|| logprob.into());
    }
    map
}

/// How many characters begin in these bytes: a character of several tokens counts where it begins.
fn n_begun(bytes: &[u8]) -> usize {
    bytes.iter().filter(|&&byte| byte & 0xC0 != 0x80).count()
}

fn add(all: &mut Option<CompletionLogprobs>, more: Option<CompletionLogprobs>) {
    let Some(more) = more else { return };
    let all = all.get_or_insert_default();
    all.tokens.extend(more.tokens);
    all.token_logprobs.extend(more.token_logprobs);
    all.top_logprobs.extend(more.top_logprobs);
    all.text_offset.extend(more.text_offset);
}
