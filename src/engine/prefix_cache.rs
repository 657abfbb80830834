//! Where a new prompt starts: which slot it takes and whose cells it begins with. Pure.

use crate::protocol::Token;

/// Shorter prefixes are not worth sharing: shared cells cannot be moved by a context shift.
const LEAST_COPY: usize = 16;

/// Shorter prefixes are not worth waiting for.
const LEAST_WAIT: usize = 64;

/// What is known of a slot.
#[derive(Debug, Clone, Copy)]
pub(super) struct View<'a> {
    pub(super) slot: usize,
    pub(super) held: &'a [Token],
    pub(super) is_busy: bool,
    pub(super) last_used: u64,
}

/// A slot for a prompt, and what it begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Choice {
    pub(super) slot: usize,
    /// Another slot to copy from first.
    pub(super) copy_from: Option<usize>,
    /// Tokens to keep of what is then in the slot.
    pub(super) n_reuse: usize,
}

/// Picks an idle slot; `None` when all are busy.
///
/// The longest common prefix wins. It is used in place if most of the slot is kept that way, or if
/// it is the same prompt again: then the cells lie where they lay, and a fixed seed gives the same
/// answer to the last bit. Otherwise it is copied to the slot that is missed least, so that a
/// conversation is not lost to another one that only begins alike.
pub(super) fn choose(prompt: &[Token], slots: &[View<'_>]) -> Option<Choice> {
    let idle = || slots.iter().filter(|view| !view.is_busy);
    let least_missed = |not: Option<usize>| {
        idle()
            .filter(|view| Some(view.slot) != not)
            .min_by_key(|view| (!view.held.is_empty(), view.last_used))
    };
    let spare = least_missed(None)?;
    let in_place = |view: &View<'_>| Choice {
        slot: view.slot,
        copy_from: None,
        n_reuse: reusable(prompt, view.held),
    };
    let best = slots
        .iter()
        .max_by_key(|view| (reusable(prompt, view.held), !view.is_busy, view.last_used))?;
    let n_reuse = reusable(prompt, best.held);
    let is_same = n_reuse + 1 == prompt.len();
    let keeps_most = n_reuse * 2 >= best.held.len();
    if !best.is_busy && n_reuse > 0 && (is_same || keeps_most) {
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

/// How many tokens of a cache a prompt can begin with; the last one is always evaluated, because
/// its logits are needed.
pub(super) fn reusable(prompt: &[Token], held: &[Token]) -> usize {
    common_prefix(prompt, held).min(prompt.len().saturating_sub(1))
}

/// Length of the common beginning.
pub(super) fn common_prefix(a: &[Token], b: &[Token]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

/// How long a beginning a prompt should wait for, given what another sequence is going to hold
/// and what can be had at once; `None` when waiting does not pay.
pub(super) fn worth_waiting(prompt: &[Token], coming: &[Token], n_now: usize) -> Option<usize> {
    let n_then = reusable(prompt, coming);
    (n_then >= n_now + LEAST_WAIT).then_some(n_then)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(range: std::ops::Range<i32>) -> Vec<Token> {
        range.collect()
    }

    fn view(slot: usize, held: &[Token], is_busy: bool) -> View<'_> {
        View {
            slot,
            held,
            is_busy,
            last_used: slot as u64,
        }
    }

    fn choice(slot: usize, copy_from: Option<usize>, n_reuse: usize) -> Option<Choice> {
        Some(Choice {
            slot,
            copy_from,
            n_reuse,
        })
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
}
