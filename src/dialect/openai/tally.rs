//! Token counters of an answer, summed over its choices.

use crate::api::openai::{CompletionTokensDetails, PromptTokensDetails, Usage};
use crate::inference::Timings;

/// Sums the counters of choices; a prompt that several choices share counts once.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Tally {
    n_prompt: u64,
    n_cached: u64,
    n_generated: u64,
    n_thinking: u64,
}

impl Tally {
    /// Adds a finished choice; `shares_prompt` = an earlier choice has the same prompt.
    pub(super) fn add(&mut self, timings: Option<&Timings>, shares_prompt: bool) {
        let Some(timings) = timings else { return };
        self.n_generated += u64::from(timings.n_generated);
        self.n_thinking += u64::from(timings.n_thinking);
        if !shares_prompt {
            self.n_prompt += u64::from(timings.n_prompt);
            self.n_cached += u64::from(timings.n_cached);
        }
    }

    pub(super) fn usage(self) -> Usage {
        Usage {
            prompt_tokens: self.n_prompt,
            completion_tokens: self.n_generated,
            total_tokens: self.n_prompt + self.n_generated,
            prompt_tokens_details: Some(PromptTokensDetails {
                cached_tokens: self.n_cached,
            }),
            completion_tokens_details: Some(CompletionTokensDetails {
                reasoning_tokens: self.n_thinking,
            }),
        }
    }
}
