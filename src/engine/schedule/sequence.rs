//! One generation: its tokens, its counters, its clock.

use std::collections::HashSet;
use std::time::Instant;

use crate::engine::media::MediaSpans;
use crate::engine::output::Output;
use crate::engine::prompt::Prompt;
use crate::engine::units::to_u32;
use crate::protocol::{FinishReason, Finished, GenerateParams, Priority, RequestId, Token};

/// A generation that waits or runs.
#[derive(Debug)]
pub(in crate::engine) struct Sequence<S> {
    pub(in crate::engine) id: RequestId,
    /// Without the prompt's parts, whose tokens are in `tokens`.
    pub(in crate::engine) params: GenerateParams,
    /// Prompt and output, less what a context shift has dropped. The slot's cells hold a prefix of this; the
    /// rest is still to be evaluated.
    pub(in crate::engine) tokens: Vec<Token>,
    /// The images in `tokens`.
    pub(in crate::engine) media: MediaSpans,
    /// Context of this request in tokens.
    pub(in crate::engine) n_ctx: usize,
    /// Tokens of the prompt.
    pub(in crate::engine) n_prompt: usize,
    /// The middle of the prompt was cut out.
    pub(in crate::engine) is_cut: bool,
    pub(in crate::engine) n_generated: u32,
    /// Generated tokens that an update has reported.
    pub(in crate::engine) n_told: u32,
    /// Prompt tokens whose log-probabilities were reported.
    pub(in crate::engine) n_prompt_told: usize,
    /// The client's prediction of most of the answer.
    pub(in crate::engine) prediction: Vec<Token>,
    /// Draft tokens that were verified, and those that were accepted.
    pub(in crate::engine) n_drafted: u32,
    pub(in crate::engine) n_accepted: u32,
    pub(in crate::engine) sampler: S,
    pub(in crate::engine) output: Output,
    /// Special tokens whose text is output.
    pub(in crate::engine) preserved: HashSet<Token>,
    /// Age: smaller is older. Set by the engine.
    pub(in crate::engine) order: u64,
    /// A batch job that was admitted while interactive requests waited; they do not preempt it.
    pub(in crate::engine) is_protected: bool,
    /// It waits until another sequence holds their common prefix.
    pub(in crate::engine) follows: Option<Follows>,
    /// It waits until a prefix is fetched from the host cache.
    pub(in crate::engine) awaits_fetch: bool,
    /// Token counts at which its prefill pauses, ascending.
    pub(in crate::engine) boundaries: Vec<usize>,
    pub(in crate::engine) clock: Clock,
}

/// The parts of a new sequence.
pub(in crate::engine) struct Made<S> {
    pub(in crate::engine) params: GenerateParams,
    pub(in crate::engine) n_ctx: u32,
    pub(in crate::engine) prompt: Prompt,
    pub(in crate::engine) prediction: Vec<Token>,
    pub(in crate::engine) is_cut: bool,
    pub(in crate::engine) sampler: S,
    pub(in crate::engine) output: Output,
    pub(in crate::engine) preserved: HashSet<Token>,
}

impl<S> Made<S> {
    /// A sequence that has not begun.
    pub(in crate::engine) fn sequence(self, id: RequestId, arrived: Instant) -> Sequence<S> {
        Sequence {
            id,
            n_ctx: self.n_ctx as usize,
            n_prompt: self.prompt.tokens.len(),
            is_cut: self.is_cut,
            tokens: self.prompt.tokens,
            media: self.prompt.media,
            prediction: self.prediction,
            n_generated: 0,
            n_told: 0,
            n_prompt_told: 0,
            n_drafted: 0,
            n_accepted: 0,
            sampler: self.sampler,
            output: self.output,
            preserved: self.preserved,
            params: self.params,
            order: 0,
            is_protected: false,
            follows: None,
            awaits_fetch: false,
            boundaries: Vec::new(),
            clock: Clock::new(arrived),
        }
    }
}

/// A prefix that another sequence is evaluating.
#[derive(Debug, Clone, Copy)]
pub(in crate::engine) struct Follows {
    pub(in crate::engine) id: RequestId,
    pub(in crate::engine) n_tokens: usize,
}

/// The times of events, and the number of cached tokens.
#[derive(Debug)]
pub(in crate::engine) struct Clock {
    pub(in crate::engine) arrived: Instant,
    /// Set when the sequence gets its first slot.
    pub(in crate::engine) admitted: Option<Instant>,
    /// Set once, with `admitted` or when the prefix that the sequence waited for is there.
    pub(in crate::engine) n_cached: Option<usize>,
    /// Set when the prompt was evaluated.
    pub(in crate::engine) prompt_done: Option<Instant>,
}

impl Clock {
    /// Notes how many prompt tokens the cache had when the sequence got its first slot. Returns that number, or
    /// 0 if it was noted before.
    pub(in crate::engine) fn note_cached(&mut self, n_cached: usize) -> usize {
        if self.n_cached.is_some() {
            return 0;
        }
        self.n_cached = Some(n_cached);
        n_cached
    }

    /// The cached prefix was lost before it was used.
    pub(in crate::engine) fn forget_cached(&mut self) {
        if self.prompt_done.is_none() {
            self.n_cached = self.n_cached.map(|_| 0);
        }
    }

    pub(in crate::engine) fn new(arrived: Instant) -> Self {
        Self {
            arrived,
            admitted: None,
            n_cached: None,
            prompt_done: None,
        }
    }
}

impl<S> Sequence<S> {
    pub(in crate::engine) fn priority(&self) -> Priority {
        self.params.priority
    }

    /// The rank under pressure: the smallest is preempted last.
    pub(in crate::engine) fn seniority(&self) -> (Priority, u64) {
        (self.priority(), self.order)
    }

    /// Whether only its newest token is to be evaluated.
    pub(in crate::engine) fn is_decoding(&self, n_held: usize) -> bool {
        self.n_generated > 0 && self.tokens.len() == n_held + 1
    }

    /// Whether log-probabilities of its prompt are still to be reported.
    pub(in crate::engine) fn tells_prompt(&self) -> bool {
        self.params.prompt_logprobs.is_some() && self.n_prompt_told < self.n_prompt
    }

    /// Whether a row needs logits because the next prompt token, at `place`, is to be reported.
    pub(in crate::engine) fn tells_prompt_at(&self, place: usize) -> bool {
        self.tells_prompt() && (self.n_prompt_told..self.n_prompt).contains(&place)
    }

    /// How many of its tokens may come from the cache: the row before a prompt token that is to be reported
    /// must be evaluated.
    pub(in crate::engine) fn n_reusable(&self) -> usize {
        if self.tells_prompt() {
            self.n_prompt_told.saturating_sub(1)
        } else {
            usize::MAX
        }
    }

    /// Tokens to evaluate up to the next boundary, the next image, or the end.
    pub(in crate::engine) fn n_next(&self, n_held: usize) -> usize {
        let boundary = self.boundaries.iter().find(|&&boundary| boundary > n_held);
        let ends = [boundary.copied(), self.media.next(n_held)];
        let end = ends.into_iter().flatten().min();
        let end = end.map_or(self.tokens.len(), |end| end.min(self.tokens.len()));
        end.saturating_sub(n_held)
    }

    /// Whether it waits for something before its next token can be evaluated.
    pub(in crate::engine) fn is_held_up(&self) -> bool {
        self.follows.is_some() || self.awaits_fetch
    }

    /// Tokens that it may still generate.
    pub(in crate::engine) fn n_left(&self) -> usize {
        let limit = self.params.n_predict.unwrap_or(u32::MAX);
        limit.saturating_sub(self.n_generated) as usize
    }

    /// Tokens that no update has reported yet; marks them as reported.
    pub(in crate::engine) fn n_untold(&mut self) -> u32 {
        let n_told = std::mem::replace(&mut self.n_told, self.n_generated);
        self.n_generated - n_told
    }

    /// Cells that it will need beyond those it holds.
    pub(in crate::engine) fn n_missing(&self, n_held: usize) -> usize {
        let coming = self.follows.map_or(0, |follows| follows.n_tokens);
        self.tokens.len().saturating_sub(n_held.max(coming))
    }

    /// The closing report.
    pub(in crate::engine) fn finished(&self, reason: FinishReason, now: Instant) -> Finished {
        let admitted = self.clock.admitted.unwrap_or(now);
        let prompt_done = self.clock.prompt_done.unwrap_or(now);
        Finished {
            reason,
            n_prompt: to_u32(self.n_prompt),
            n_cached: to_u32(self.clock.n_cached.unwrap_or(0)),
            n_generated: self.n_generated,
            n_drafted: self.n_drafted,
            n_accepted: self.n_accepted,
            queue_ms: ms(self.clock.arrived, admitted),
            prompt_ms: ms(admitted, prompt_done),
            generate_ms: ms(prompt_done, now),
        }
    }
}

/// Milliseconds between two moments.
pub(in crate::engine) fn ms(from: Instant, to: Instant) -> f64 {
    to.saturating_duration_since(from).as_secs_f64() * 1000.0
}
