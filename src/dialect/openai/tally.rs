//! Token counters of an answer, summed over its choices.

use std::time::Duration;

use crate::api::openai::{self as api, CompletionTokensDetails, PromptTokensDetails, Usage};
use crate::inference::Timings;

/// Sums the counters of choices; a prompt that several choices share counts once.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Tally {
    n_prompt: u64,
    n_cached: u64,
    n_generated: u64,
    n_thinking: u64,
    n_drafted: u64,
    n_accepted: u64,
    prompt: Duration,
    generate: Duration,
}

impl Tally {
    /// Adds a finished choice; `shares_prompt` = an earlier choice has the same prompt.
    pub(super) fn add(&mut self, timings: Option<&Timings>, shares_prompt: bool) {
        let Some(timings) = timings else { return };
        self.n_generated += u64::from(timings.n_generated);
        self.n_thinking += u64::from(timings.n_thinking);
        self.n_drafted += u64::from(timings.n_drafted);
        self.n_accepted += u64::from(timings.n_accepted);
        self.generate += timings.generate;
        if !shares_prompt {
            self.prompt += timings.prompt;
            self.n_prompt += u64::from(timings.n_prompt);
            self.n_cached += u64::from(timings.n_cached);
        }
    }

    /// What llama-server reports besides the counters, as far as it is known.
    pub(super) fn timings(self) -> Option<api::Timings> {
        if self.prompt.is_zero() && self.generate.is_zero() {
            return None;
        }
        let prompt_n = self.n_prompt.saturating_sub(self.n_cached);
        let prompt = Rate::of(prompt_n, self.prompt);
        let predicted = Rate::of(self.n_generated, self.generate);
        Some(api::Timings {
            cache_n: self.n_cached,
            prompt_n,
            prompt_ms: prompt.ms,
            prompt_per_token_ms: prompt.per_token_ms,
            prompt_per_second: prompt.per_second,
            predicted_n: self.n_generated,
            predicted_ms: predicted.ms,
            predicted_per_token_ms: predicted.per_token_ms,
            predicted_per_second: predicted.per_second,
        })
    }

    /// The counters of a request with a prediction.
    pub(super) fn predicted_usage(self) -> Usage {
        let usage = self.usage();
        let details = usage.completion_tokens_details.unwrap_or_default();
        Usage {
            completion_tokens_details: Some(CompletionTokensDetails {
                accepted_prediction_tokens: Some(self.n_accepted),
                rejected_prediction_tokens: Some(self.n_drafted.saturating_sub(self.n_accepted)),
                ..details
            }),
            ..usage
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
                ..CompletionTokensDetails::default()
            }),
        }
    }
}

/// Tokens and the time they took; the rates are zero if either is zero.
#[derive(Default)]
struct Rate {
    ms: f64,
    per_token_ms: f64,
    per_second: f64,
}

impl Rate {
    fn of(n: u64, time: Duration) -> Self {
        let ms = time.as_secs_f64() * 1000.0;
        if n == 0 || time.is_zero() {
            return Self {
                ms,
                ..Self::default()
            };
        }
        #[expect(clippy::cast_precision_loss, reason = "an answer has few tokens")]
        let n = n as f64;
        Self {
            ms,
            per_token_ms: ms / n,
            per_second: n / time.as_secs_f64(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_of_a_prompt_share_its_time() {
        let choice = Timings {
            n_prompt: 110,
            n_cached: 10,
            prompt: Duration::from_millis(200),
            n_generated: 20,
            generate: Duration::from_millis(500),
            ..Timings::default()
        };
        let mut tally = Tally::default();
        assert_eq!(tally.timings(), None);
        tally.add(Some(&choice), false);
        tally.add(Some(&choice), true);
        let expected = api::Timings {
            cache_n: 10,
            prompt_n: 100,
            prompt_ms: 200.0,
            prompt_per_token_ms: 2.0,
            prompt_per_second: 500.0,
            predicted_n: 40,
            predicted_ms: 1000.0,
            predicted_per_token_ms: 25.0,
            predicted_per_second: 40.0,
        };
        assert_eq!(tally.timings(), Some(expected));
    }
}
