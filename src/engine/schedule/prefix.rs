//! Decides where a new prompt starts: which slot it takes, and whose cells it reuses. Pure.
//!
//! It scans all slots, without a tree: with 64 slots that share 3,800 of 4,000 tokens this takes 35 µs per
//! prompt (`tests/bench/engine.rs`), less than one per cent of a step.

use crate::engine::media;
use crate::protocol::Token;

/// Shorter prefixes are not worth sharing: shared cells cannot be moved by a context shift.
const LEAST_COPY: usize = 16;

/// Shorter prefixes are not worth waiting for.
const LEAST_WAIT: usize = 64;

/// What [`choose`] knows about a slot.
#[derive(Debug, Clone, Copy)]
pub(in crate::engine) struct View {
    pub(in crate::engine) slot: usize,
    /// How many of the prompt's first tokens it holds.
    pub(in crate::engine) n_common: usize,
    /// The same if it can be cut back to there, else 0.
    pub(in crate::engine) n_reuse: usize,
    pub(in crate::engine) n_held: usize,
    pub(in crate::engine) is_busy: bool,
    /// A copy for all prompts that begin with it.
    pub(in crate::engine) is_parked: bool,
    pub(in crate::engine) last_used: u64,
}

/// A slot for a prompt, and the prefix that it reuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) struct Choice {
    pub(in crate::engine) slot: usize,
    /// Another slot to copy from first.
    pub(in crate::engine) copy_from: Option<usize>,
    /// How many of the tokens that are then in the slot to keep.
    pub(in crate::engine) n_reuse: usize,
}

/// Picks an idle slot for a prompt of `n_prompt` tokens; `None` when all are busy.
///
/// The longest common prefix wins. It is used in place if most of the slot is kept that way, or if it is the
/// same prompt again: then the cells stay in place, and a fixed seed gives a bit-identical answer. Otherwise,
/// and if it is a parked copy, it is copied to the least valuable slot, so that a conversation is not lost to
/// another one that only has the same beginning.
pub(in crate::engine) fn choose(n_prompt: usize, slots: &[View]) -> Option<Choice> {
    let idle = || slots.iter().filter(|view| !view.is_busy);
    let least_missed = |not: Option<usize>| {
        idle()
            .filter(|view| Some(view.slot) != not)
            .min_by_key(|view| (view.n_held > 0, view.last_used))
    };
    let spare = least_missed(None)?;
    let in_place = |view: &View| Choice {
        slot: view.slot,
        copy_from: None,
        n_reuse: view.n_reuse,
    };
    let best = slots
        .iter()
        .max_by_key(|view| (view.n_reuse, !view.is_busy, view.last_used))?;
    let n_reuse = best.n_reuse;
    let is_same = n_reuse + 1 == n_prompt;
    let keeps_most = n_reuse * 2 >= best.n_held;
    let is_own = !best.is_busy && !best.is_parked;
    if is_own && n_reuse > 0 && (is_same || keeps_most) {
        return Some(in_place(best));
    }
    if n_reuse >= LEAST_COPY {
        if let Some(target) = least_missed(Some(best.slot)) {
            return Some(Choice {
                slot: target.slot,
                copy_from: Some(best.slot),
                n_reuse,
            });
        }
        if !best.is_busy {
            return Some(in_place(best));
        }
    }
    Some(in_place(spare))
}

/// Where the evaluation of a prompt pauses so that its prefix can be parked: at the end of the part that
/// another prompt shares (`n_common`), and shortly before the end, which the next turn's prompt may render
/// differently. For memories that cannot be rolled back.
pub(in crate::engine) fn boundaries(
    prompt: &[Token],
    n_cached: usize,
    n_common: usize,
) -> Vec<usize> {
    let end = media::whole_from(prompt, prompt.len().saturating_sub(LEAST_COPY));
    let mut places = Vec::new();
    if n_common >= n_cached + LEAST_WAIT && n_common < end {
        places.push(n_common);
    }
    if end >= n_cached + LEAST_COPY {
        places.push(end);
    }
    places
}

/// How many of the `held` tokens a prompt can reuse. Its last token is always evaluated, because its logits are
/// needed; images are reused as a whole or not at all.
pub(in crate::engine) fn reusable(prompt: &[Token], held: &[Token]) -> usize {
    let n_common = common_prefix(prompt, held).min(prompt.len().saturating_sub(1));
    media::whole(prompt, n_common)
}

/// Tokens that are compared at once, as memory.
const BLOCK: usize = 64;

/// Length of the common prefix.
pub(in crate::engine) fn common_prefix(a: &[Token], b: &[Token]) -> usize {
    let blocks = a.chunks_exact(BLOCK).zip(b.chunks_exact(BLOCK));
    let n_same = blocks.take_while(|(a, b)| a == b).count() * BLOCK;
    let rest = a[n_same..].iter().zip(&b[n_same..]);
    n_same + rest.take_while(|(a, b)| a == b).count()
}

/// Whether a state of `other` can replace one of `tokens`; with `can_cut` it can be rolled back to any
/// position.
pub(in crate::engine) fn is_covered(tokens: &[Token], other: &[Token], can_cut: bool) -> bool {
    let is_prefix = tokens.len() <= other.len() && common_prefix(tokens, other) == tokens.len();
    is_prefix && (can_cut || tokens.len() == other.len())
}

/// The length of the prefix that a prompt should wait for, given what another sequence is going to hold
/// (`coming`) and what can be reused at once (`n_now`); `None` if waiting does not pay.
pub(in crate::engine) fn worth_waiting(
    prompt: &[Token],
    coming: &[Token],
    n_now: usize,
) -> Option<usize> {
    let n_then = reusable(prompt, coming);
    (n_then >= n_now + LEAST_WAIT).then_some(n_then)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(range: std::ops::Range<i32>) -> Vec<Token> {
        range.collect()
    }

    fn view(slot: usize, held: &[Token], is_busy: bool) -> (View, &[Token]) {
        let view = View {
            slot,
            n_common: 0,
            n_reuse: 0,
            n_held: held.len(),
            is_busy,
            is_parked: false,
            last_used: slot as u64,
        };
        (view, held)
    }

    fn choose(prompt: &[Token], slots: &[(View, &[Token])]) -> Option<Choice> {
        let views = slots.iter().map(|(view, held)| View {
            n_reuse: reusable(prompt, held),
            ..*view
        });
        super::choose(prompt.len(), &views.collect::<Vec<_>>())
    }

    fn choice(slot: usize, copy_from: Option<usize>, n_reuse: usize) -> Option<Choice> {
        Some(Choice {
            slot,
            copy_from,
            n_reuse,
        })
    }

    #[test]
    fn a_common_prefix_ends_at_the_first_difference() {
        for len in [0, 1, 63, 64, 65, 200] {
            let a = tokens(0..len);
            let n = a.len();
            assert_eq!(common_prefix(&a, &a), n);
            assert_eq!(common_prefix(&a, &tokens(0..len + 70)), n);
            for at in 0..n {
                let mut b = a.clone();
                b[at] = -1;
                assert_eq!(common_prefix(&a, &b), at);
            }
        }
    }

    #[test]
    fn the_next_turn_goes_on_in_its_own_slot() {
        let (mine, other) = (tokens(0..100), tokens(500..600));
        let slots = [view(0, &other, false), view(1, &mine, false)];
        assert_eq!(choose(&tokens(0..150), &slots), choice(1, None, 100));
    }

    #[test]
    fn the_same_prompt_again_evaluates_its_last_token() {
        let mine = tokens(0..100);
        let slots = [view(0, &mine, false)];
        assert_eq!(choose(&mine, &slots), choice(0, None, 99));
    }

    #[test]
    fn the_same_prompt_stays_in_its_slot_whatever_the_answer_was() {
        let answered = tokens(0..1000);
        let slots = [view(0, &[], false), view(1, &answered, false)];
        assert_eq!(choose(&tokens(0..12), &slots), choice(1, None, 11));
    }

    #[test]
    fn a_shared_head_is_copied_and_the_conversation_kept() {
        let long = tokens(0..1000);
        let slots = [view(0, &long, false), view(1, &[], false)];
        let mut prompt = tokens(0..100);
        prompt.extend(tokens(5000..5010));
        assert_eq!(choose(&prompt, &slots), choice(1, Some(0), 100));
    }

    #[test]
    fn a_running_slot_can_be_copied_from_but_not_taken() {
        let busy = tokens(0..100);
        let slots = [view(0, &busy, true), view(1, &[], false)];
        assert_eq!(choose(&tokens(0..120), &slots), choice(1, Some(0), 100));
        assert_eq!(choose(&busy, &slots[..1]), None);
    }

    #[test]
    fn a_stranger_takes_an_empty_slot_then_the_least_recently_used() {
        let (old, young) = (tokens(0..50), tokens(100..150));
        let slots = [
            view(0, &old, false),
            view(1, &young, false),
            view(2, &[], false),
        ];
        let stranger = tokens(900..950);
        assert_eq!(choose(&stranger, &slots), choice(2, None, 0));
        assert_eq!(choose(&stranger, &slots[..2]), choice(0, None, 0));
    }

    #[test]
    fn a_parked_prefix_stays_for_the_others() {
        let head = tokens(0..100);
        let mut parked = view(0, &head, false);
        parked.0.is_parked = true;
        let empty = view(1, &[], false);
        assert_eq!(
            choose(&tokens(0..150), &[parked, empty]),
            choice(1, Some(0), 100)
        );
        // Unless there is nowhere else to go.
        assert_eq!(choose(&tokens(0..150), &[parked]), choice(0, None, 100));
    }

    #[test]
    fn a_prompt_is_parked_where_others_part_from_it_and_near_its_end() {
        let prompt = tokens(0..1000);
        assert_eq!(boundaries(&prompt, 0, 700), [700, 984]);
        assert_eq!(boundaries(&prompt, 690, 700), [984]);
        assert_eq!(boundaries(&prompt, 980, 990), [0; 0]);
        assert_eq!(boundaries(&prompt[..10], 0, 0), [0; 0]);
    }
}
