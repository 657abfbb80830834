//! Decides what the next decode call contains.
//!
//! Pure: every decision is a function of the arguments and of measured step times.

use crate::protocol::Priority;

/// The pending work of a running sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) struct Pending {
    pub(in crate::engine) slot: usize,
    /// Tokens that are not in the cache; never 0.
    pub(in crate::engine) n_tokens: usize,
    /// It is generating, and only its newest token is pending.
    pub(in crate::engine) is_decoding: bool,
    pub(in crate::engine) priority: Priority,
    /// Age: smaller is older.
    pub(in crate::engine) order: u64,
}

/// Rows of one sequence in the next decode call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) struct Share {
    pub(in crate::engine) slot: usize,
    pub(in crate::engine) n_rows: usize,
}

/// How much goes into a decode call.
#[derive(Debug, Clone, Copy)]
pub(in crate::engine) struct Limits {
    pub(in crate::engine) n_batch: usize,
    /// Prompt tokens.
    pub(in crate::engine) n_prefill: usize,
    /// Decoding sequences, if no prompt is in the call.
    pub(in crate::engine) n_decode: usize,
    /// If not all of them decode: whose turn it is, as an index into the sequences, modulo their number.
    pub(in crate::engine) turn: usize,
}

/// Plans a decode call.
///
/// Every decoding sequence gets one row; if they do not all go into one call, only those whose turn it is, from
/// the highest class. A third of the prompt tokens goes to the oldest prompt of the highest class, so that a
/// long prompt is never starved; the rest goes to the shortest prompts first, so that a short question does not
/// wait for a long document.
pub(in crate::engine) fn plan(pending: &[Pending], limits: Limits) -> Vec<Share> {
    let mut decoding: Vec<&Pending> = pending.iter().filter(|p| p.is_decoding).collect();
    decoding.sort_by_key(|p| (p.priority, p.order));
    if decoding.len() == pending.len() && limits.n_decode < decoding.len() {
        // Interactive sequences would have to wait for a call with a job alone.
        let highest = decoding.first().map(|p| p.priority);
        decoding.retain(|p| Some(p.priority) == highest);
        let turn = limits.turn % decoding.len();
        decoding.rotate_left(turn);
        decoding.truncate(limits.n_decode.max(1));
    }
    decoding.truncate(limits.n_batch);
    let mut shares: Vec<Share> = decoding
        .iter()
        .map(|p| Share {
            slot: p.slot,
            n_rows: 1,
        })
        .collect();
    let room = limits.n_prefill.min(limits.n_batch - shares.len());
    shares.extend(prefill(pending, room));
    shares
}

fn prefill(pending: &[Pending], mut room: usize) -> Vec<Share> {
    let mut prompts: Vec<&Pending> = pending.iter().filter(|p| !p.is_decoding).collect();
    prompts.sort_by_key(|p| (p.priority, p.n_tokens, p.order));
    let oldest = prompts.iter().min_by_key(|p| (p.priority, p.order));
    let Some((oldest, reserved)) = oldest.map(|p| (p.slot, p.n_tokens.min(room.div_ceil(3))))
    else {
        return Vec::new();
    };
    room -= reserved;
    let mut shares = Vec::new();
    for prompt in prompts {
        let own = if prompt.slot == oldest { reserved } else { 0 };
        let more = (prompt.n_tokens - own).min(room);
        room -= more;
        if own + more > 0 {
            shares.push(Share {
                slot: prompt.slot,
                n_rows: own + more,
            });
        }
    }
    shares
}

/// The number of prompt tokens of a step, learned from measured step times.
#[derive(Debug)]
pub(in crate::engine) struct Budget {
    n_batch: usize,
    /// The longest step while an interactive sequence is generating.
    target_ms: f64,
    /// A step without prompt tokens; running average.
    decode_ms: f64,
    /// What one prompt token adds; running average, 0 = not measured yet.
    token_ms: f64,
}

/// The longest step when no interactive sequence is generating: it bounds how long a new request or a
/// cancellation waits. With it, small models get whole batches on a common CPU; these cost 5 % less per token
/// than batches of half the size.
const ALONE_MS: f64 = 3000.0;

/// Prompt tokens of a step before anything is measured: while an interactive sequence decodes, and otherwise.
const FIRST_GUESS: (usize, usize) = (32, 128);

/// Fewest prompt tokens of a step in the same two cases: so that prompts finish even on the slowest machine,
/// and so that batches are efficient.
const LEAST: (usize, usize) = (8, 128);

/// Weight of the newest measurement.
const WEIGHT: f64 = 0.25;

impl Budget {
    /// `on_gpu` sets the target time of a step: 50 ms on a GPU, otherwise 250 ms.
    pub(in crate::engine) fn new(n_batch: usize, on_gpu: bool) -> Self {
        Self {
            n_batch,
            target_ms: if on_gpu { 50.0 } else { 250.0 },
            decode_ms: 0.0,
            token_ms: 0.0,
        }
    }

    /// Prompt tokens for the next step; `shared` = an interactive sequence is generating.
    pub(in crate::engine) fn n_prefill(&self, shared: bool) -> usize {
        let (first_guess, least, time_ms) = if shared {
            // Even if decoding alone takes the whole time of a step, prompts make progress.
            let time_ms = (self.target_ms - self.decode_ms).max(self.decode_ms / 2.0);
            (FIRST_GUESS.0, LEAST.0, time_ms)
        } else {
            (FIRST_GUESS.1, LEAST.1, ALONE_MS)
        };
        if self.token_ms <= 0.0 {
            return first_guess.min(self.n_batch);
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a float cast saturates, and the result is clamped"
        )]
        let n_tokens = (time_ms / self.token_ms) as usize;
        n_tokens.max(least).min(self.n_batch)
    }

    /// Prompt tokens for a step that has computed `n_other` rows already.
    pub(in crate::engine) fn beside(&self, n_other: usize, shared: bool) -> usize {
        let n_prefill = self.n_prefill(shared);
        let least = if shared { LEAST.0 } else { LEAST.1 };
        n_prefill.saturating_sub(n_other).max(least.min(n_prefill))
    }

    /// Prompt tokens that take about `ms` milliseconds without other rows.
    pub(in crate::engine) fn within(&self, ms: f64) -> usize {
        if self.token_ms <= 0.0 {
            return FIRST_GUESS.0.min(self.n_batch);
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a float cast saturates, and the result is clamped"
        )]
        let n_tokens = (ms / self.token_ms) as usize;
        n_tokens.max(FIRST_GUESS.0).min(self.n_batch)
    }

    /// Learns from a step.
    pub(in crate::engine) fn observe(&mut self, n_prefill: usize, step_ms: f64) {
        if n_prefill == 0 {
            self.decode_ms = average(self.decode_ms, step_ms);
        } else {
            #[expect(clippy::cast_precision_loss, reason = "a batch is small")]
            let token_ms = (step_ms - self.decode_ms).max(0.0) / n_prefill as f64;
            self.token_ms = average(self.token_ms, token_ms.max(1e-6));
        }
    }
}

fn average(old: f64, new: f64) -> f64 {
    if old <= 0.0 {
        new
    } else {
        old + (new - old) * WEIGHT
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn prompt(slot: usize, n_tokens: usize, order: u64) -> Pending {
        Pending {
            slot,
            n_tokens,
            is_decoding: false,
            priority: Priority::Interactive,
            order,
        }
    }

    fn decoding(slot: usize) -> Pending {
        Pending {
            is_decoding: true,
            ..prompt(slot, 1, 0)
        }
    }

    fn plan(pending: &[Pending], n_batch: usize, n_prefill: usize) -> Vec<Share> {
        let limits = Limits {
            n_batch,
            n_prefill,
            n_decode: usize::MAX,
            turn: 0,
        };
        super::plan(pending, limits)
    }

    fn rows(shares: &[Share]) -> Vec<(usize, usize)> {
        shares.iter().map(|s| (s.slot, s.n_rows)).collect()
    }

    #[test]
    fn rows_that_are_computed_already_are_taken_from_the_prompts_but_for_a_rest() {
        let mut budget = Budget::new(512, false);
        budget.observe(100, 1000.0);
        let all = budget.n_prefill(true);
        assert!(all > 10, "{all}");
        assert_eq!(budget.beside(0, true), all);
        assert_eq!(budget.beside(5, true), all - 5);
        assert_eq!(budget.beside(500, true), LEAST.0);
        assert_eq!(budget.beside(500, false), LEAST.1);
    }

    #[test]
    fn a_short_question_is_not_behind_a_long_document() {
        let pending = [prompt(0, 100_000, 1), prompt(1, 200, 2), decoding(2)];
        assert_eq!(
            rows(&plan(&pending, 512, 300)),
            [(2, 1), (1, 200), (0, 100)]
        );
    }

    #[test]
    fn batch_jobs_prefill_after_everybody_else() {
        let job = Pending {
            priority: Priority::Batch,
            ..prompt(0, 10, 1)
        };
        assert_eq!(rows(&plan(&[job, prompt(1, 50, 2)], 64, 40)), [(1, 40)]);
    }

    #[test]
    fn those_who_generate_in_turn_all_have_their_turn() {
        let limits = |turn| Limits {
            n_batch: 16,
            n_prefill: 8,
            n_decode: 1,
            turn,
        };
        let pending = [0, 1, 2].map(|slot| Pending {
            order: 9 - slot as u64,
            ..decoding(slot)
        });
        let slots = |turn| rows(&super::plan(&pending, limits(turn)));
        assert_eq!([6, 7, 8].map(slots), [[(2, 1)], [(1, 1)], [(0, 1)]]);
        // A job gets a turn when no interactive sequence decodes.
        let mut with_job = pending;
        with_job[0].priority = Priority::Batch;
        let slots = |turn| rows(&super::plan(&with_job, limits(turn)));
        assert_eq!([6, 7, 8].map(slots), [[(2, 1)], [(1, 1)], [(2, 1)]]);
        // A call with a prompt is expensive anyway.
        let with_prompt = [decoding(0), decoding(1), prompt(2, 5, 3)];
        let shares = super::plan(&with_prompt, limits(0));
        assert_eq!(rows(&shares), [(0, 1), (1, 1), (2, 5)]);
    }

    #[test]
    fn the_budget_shrinks_while_somebody_decodes_and_grows_when_nobody_does() {
        let mut budget = Budget::new(512, false);
        budget.observe(0, 50.0);
        budget.observe(100, 450.0);
        assert_eq!(budget.n_prefill(true), 50);
        assert_eq!(budget.n_prefill(false), 512);
        budget.observe(100, 2850.0);
        assert_eq!(budget.n_prefill(false), 300);
        for _ in 0..20 {
            budget.observe(512, 50.0 + 512.0 * 400.0);
        }
        assert_eq!((budget.n_prefill(true), budget.n_prefill(false)), LEAST);
        // Many sequences decode, and each step takes long: prompts get half of that time on top.
        let mut budget = Budget::new(512, false);
        budget.observe(0, 400.0);
        budget.observe(100, 600.0);
        assert_eq!(budget.n_prefill(true), 100);
        assert_eq!(Budget::new(16, true).n_prefill(false), 16);
    }

    prop_compose! {
        fn any_pending()(n_tokens in 1_usize..600, is_decoding: bool, batch: bool, order: u64) -> Pending {
            Pending {
                slot: 0,
                n_tokens: if is_decoding { 1 } else { n_tokens },
                is_decoding,
                priority: if batch { Priority::Batch } else { Priority::Interactive },
                order,
            }
        }
    }

    proptest! {
        #[test]
        fn a_plan_keeps_its_limits_and_always_moves_on(
            mut pending in prop::collection::vec(any_pending(), 0..12),
            n_batch in 1_usize..600,
            n_prefill in 1_usize..600,
        ) {
            for (slot, entry) in pending.iter_mut().enumerate() {
                entry.slot = slot;
            }
            let shares = plan(&pending, n_batch, n_prefill);
            let total: usize = shares.iter().map(|s| s.n_rows).sum();
            prop_assert!(total <= n_batch);
            prop_assert_eq!(shares.is_empty(), pending.is_empty());
            let mut seen = std::collections::HashSet::new();
            let mut prompt_rows = 0;
            for share in &shares {
                prop_assert!(seen.insert(share.slot), "one share per sequence");
                let entry = pending[share.slot];
                prop_assert!((1..=entry.n_tokens).contains(&share.n_rows));
                if !entry.is_decoding {
                    prompt_rows += share.n_rows;
                }
            }
            prop_assert!(prompt_rows <= n_prefill);
            let n_decoding = pending.iter().filter(|p| p.is_decoding).count();
            let planned = shares.iter().filter(|s| pending[s.slot].is_decoding).count();
            prop_assert_eq!(planned, n_decoding.min(n_batch));
        }
    }
}
