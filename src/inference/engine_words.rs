//! Converts what the engine reports to the types of answers.

use std::time::Duration;

use super::types::{Chunk, Echo, Logprob, PromptToken, TopLogprob};
use crate::metrics::{Finish, Outcome};
use crate::protocol::{self, FinishReason, Finished, TokenLogprob};

/// The metrics of a finished answer.
pub(super) fn told_of(finished: &Finished) -> Finish {
    Finish {
        outcome: match finished.reason {
            FinishReason::Stop | FinishReason::StopSequence(_) => Outcome::Stop,
            FinishReason::Length => Outcome::Length,
        },
        n_prompt: finished.n_prompt,
        n_cached: finished.n_cached,
        n_generated: finished.n_generated,
        queue: millis(finished.queue_ms),
        prefill: millis(finished.prompt_ms),
        decode: millis(finished.generate_ms),
    }
}

/// Adds the prompt's tokens to a chunk; either may be missing.
pub(super) fn told(prompt: Vec<protocol::PromptToken>, chunk: Option<Chunk>) -> Option<Chunk> {
    if prompt.is_empty() {
        return chunk;
    }
    let tokens = prompt.into_iter().map(|entry| PromptToken {
        token: text(&entry.bytes),
        logprob: entry.logprob,
        bytes: entry.bytes,
        top: alternatives(entry.top),
    });
    Some(Chunk {
        echo: Some(Echo {
            text: String::new(),
            tokens: tokens.collect(),
        }),
        ..chunk.unwrap_or_default()
    })
}

pub(super) fn logprob(entry: TokenLogprob) -> Logprob {
    Logprob {
        token: text(&entry.bytes),
        logprob: entry.logprob,
        bytes: entry.bytes,
        top: alternatives(entry.top),
    }
}

fn alternatives(top: Vec<protocol::TopLogprob>) -> Vec<TopLogprob> {
    let top = top.into_iter().map(|top| TopLogprob {
        token: text(&top.bytes),
        logprob: top.logprob,
        bytes: top.bytes,
    });
    top.collect()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Milliseconds of the engine as a duration; never zero, since zeros are omitted from responses.
pub(super) fn millis(ms: f64) -> Duration {
    Duration::try_from_secs_f64(ms / 1000.0)
        .unwrap_or_default()
        .max(Duration::from_nanos(1))
}
