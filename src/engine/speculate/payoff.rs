//! Decides how many drafts to verify, if that pays off.

use crate::engine::schedule::step_times::{MAX_ROWS, STALE, StepTimes, ratio};

/// The sizes of calls with drafts, in rows. Only these, so that few times have to be measured; and backends
/// compute in blocks of such sizes.
const SIZES: [usize; 11] = [2, 3, 4, 5, 6, 8, 12, 16, 24, 32, 48];

/// The speedup that drafts must promise before they are made: a tenth more tokens per time.
const LEAST_GAIN: f64 = 1.1;

/// A sequence whose drafts could be verified.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::engine) struct Candidate {
    /// For each draft, the probability that it is right if all before it are.
    pub(in crate::engine) odds: Vec<f64>,
}

/// What making drafts costs, besides verifying them.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::engine) struct Price {
    /// For each draft of the sequence with the most drafts: the drafts of several sequences are made together.
    pub(in crate::engine) each_ms: f64,
    /// Once, if any draft is made.
    pub(in crate::engine) once_ms: f64,
}

/// A draft that could be verified.
#[derive(Debug, Clone, Copy)]
struct Ranked {
    /// The index of its candidate.
    index: usize,
    /// Its number among the drafts of that sequence, from 1.
    depth: usize,
    /// What it adds to the sum.
    gain: f64,
}

/// How many drafts of each sequence (in the order of `candidates`) go into a call that has
/// `n_plain` rows without them and room for `max_rows`. Without `times` it is as many as fit.
///
/// It maximizes the sum of the logarithms of the sequences' speeds (proportional fairness: Kelly, "Charging and
/// rate control for elastic traffic", 1997). For one sequence this is its speed; of several sequences, one gets
/// drafts only while its gain exceeds what the others lose by waiting for them.
pub(in crate::engine) fn choose(
    candidates: &[Candidate],
    n_plain: usize,
    max_rows: usize,
    times: Option<&StepTimes>,
    price: Price,
) -> Vec<usize> {
    let n_most = max_rows.saturating_sub(n_plain);
    let ranked = ranked(candidates, n_most);
    let n_drafts = match times {
        None => ranked.len(),
        Some(times) => best_number(&ranked, n_plain, times, price),
    };
    let mut counts = vec![0; candidates.len()];
    for draft in &ranked[..n_drafts] {
        counts[draft.index] += 1;
    }
    counts
}

/// The drafts, the most valuable first.
fn ranked(candidates: &[Candidate], n_most: usize) -> Vec<Ranked> {
    let of_one = |(index, candidate): (usize, &Candidate)| {
        let (mut reached, mut n_tokens) = (1.0, 1.0_f64);
        let odds = candidate.odds.iter().take(n_most);
        let gains = (1..).zip(odds).map(move |(depth, odds)| {
            reached *= odds;
            let before = n_tokens;
            n_tokens += reached;
            Ranked {
                index,
                depth,
                gain: (n_tokens / before).ln(),
            }
        });
        gains.collect::<Vec<_>>()
    };
    let mut all: Vec<_> = candidates.iter().enumerate().flat_map(of_one).collect();
    // A sequence's gains only get smaller, and the sort is stable: its drafts stay in order.
    all.sort_by(|a, b| b.gain.total_cmp(&a.gain));
    all.truncate(n_most);
    all
}

/// The number of drafts that pays off most; 0 if none do.
fn best_number(ranked: &[Ranked], n_plain: usize, times: &StepTimes, price: Price) -> usize {
    let Some(plain_ms) = times.measured(n_plain, STALE) else {
        return 0;
    };
    // Of the sizes without a measurement only try the next one, so that costs grow step by step.
    let known = (n_plain..=MAX_ROWS).rev().find_map(|n| times.known(n));
    let most_known = known.map_or(n_plain, |(n_rows, _)| n_rows);
    let n_sizes = 1 + SIZES.partition_point(|&size| size <= most_known);
    let mut best = (LEAST_GAIN.ln(), 0);
    for n_rows in SIZES.into_iter().take(n_sizes) {
        let Some(chosen) = n_rows.checked_sub(n_plain).and_then(|n| ranked.get(..n)) else {
            continue;
        };
        let gain: f64 = chosen.iter().map(|draft| draft.gain).sum();
        let depth = chosen.iter().map(|draft| draft.depth).max().unwrap_or(0);
        let Some(check_ms) = times.expected(n_rows) else {
            continue;
        };
        let ms = check_ms + price.once_ms + price.each_ms * ratio(depth, 1);
        let loss = ratio(n_plain, 1) * (ms / plain_ms).ln();
        if !chosen.is_empty() && gain - loss > best.0 {
            best = (gain - loss, chosen.len());
        }
    }
    best.1
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::engine::schedule::step_times::STALE_MOST;

    fn rows(n_rows: usize) -> f64 {
        ratio(n_rows, 1)
    }

    /// As measured for Gemma 3 270M on two cores: two rows cost more than twice one.
    fn on_two_cores(n_rows: usize) -> f64 {
        match n_rows {
            1 => 12.2,
            2 => 29.4,
            3..=4 => 38.8,
            5..=8 => 43.0,
            n_rows => 43.0 + rows(n_rows - 8) * 2.7,
        }
    }

    fn candidate(odds: f64, n: usize) -> Candidate {
        Candidate {
            odds: vec![odds; n],
        }
    }

    fn chosen(candidates: &[Candidate], n_plain: usize, times: &StepTimes) -> Vec<usize> {
        choose(candidates, n_plain, 32, Some(times), Price::default())
    }

    #[test]
    fn where_rows_are_free_even_poor_guesses_are_made() {
        let gpu = StepTimes::all(|n_rows| 15.0 + rows(n_rows) * 0.05);
        assert!(chosen(&[candidate(0.3, 31)], 1, &gpu)[0] > 0);
        assert!(chosen(&[candidate(0.9, 31)], 1, &gpu)[0] >= 15);
        assert_eq!(chosen(&[candidate(0.05, 31)], 1, &gpu), [0]);
    }

    #[test]
    fn where_a_row_costs_a_token_none_is_made() {
        let dear = StepTimes::all(rows);
        assert_eq!(chosen(&[candidate(0.99, 31)], 1, &dear), [0]);
    }

    #[test]
    fn on_a_cpu_only_long_sure_guesses_pay() {
        let cpu = StepTimes::all(on_two_cores);
        assert!(chosen(&[candidate(0.97, 31)], 1, &cpu)[0] > 15);
        assert_eq!(chosen(&[candidate(0.97, 2)], 1, &cpu), [0]);
        assert_eq!(chosen(&[candidate(0.7, 31)], 1, &cpu), [0]);
    }

    #[test]
    fn one_sequences_guesses_do_not_slow_the_others_down_for_nothing() {
        let cpu = StepTimes::all(on_two_cores);
        // Alone, drafts would be worth it: eight tokens in less than five times the time.
        let one = candidate(0.9, 31);
        assert!(chosen(std::slice::from_ref(&one), 1, &cpu)[0] > 0);
        assert_eq!(chosen(&[one], 10, &StepTimes::all(rows)), [0]);
        // If all sequences have drafts, each row costs less.
        let all = [candidate(0.95, 9), candidate(0.95, 9)];
        let both = chosen(&all, 2, &cpu);
        assert!(both[0] > 3 && both[1] > 3, "{both:?}");
    }

    #[test]
    fn drafts_must_be_worth_the_time_of_making_them() {
        let gpu = StepTimes::all(|n_rows| 15.0 + rows(n_rows) * 0.05);
        let priced = |each_ms, once_ms, odds| {
            let price = Price { each_ms, once_ms };
            choose(&[candidate(odds, 8)], 1, 32, Some(&gpu), price)[0]
        };
        // Drafting takes a tenth of the model's own time: as many drafts as pay off, fewer the more they cost.
        assert_eq!(priced(1.5, 0.0, 0.9), 7);
        assert!((1..6).contains(&priced(5.0, 0.0, 0.9)));
        // Drafts as expensive as the model itself, or hardly ever right.
        assert_eq!(priced(15.0, 0.0, 0.95), 0);
        assert_eq!(priced(1.5, 0.0, 0.1), 0);
        // The draft model must evaluate a long text first.
        assert_eq!(priced(1.5, 100.0, 0.9), 0);
    }

    #[test]
    fn what_is_unknown_is_tried_and_then_known() {
        let mut times = StepTimes::default();
        let sure = [candidate(0.9, 15)];
        assert_eq!(chosen(&sure, 1, &times), [0], "nothing to compare with");
        times.observe(1, 10.0);
        // It goes from size to size as long as that pays off.
        for n_rows in [2, 3, 4, 5, 6, 8, 12, 16] {
            assert_eq!(chosen(&sure, 1, &times), [n_rows - 1]);
            times.observe(n_rows, 15.0);
        }
        assert_eq!(chosen(&sure, 1, &times), [15]);
    }

    #[test]
    fn what_is_dear_is_tried_again_less_and_less_often() {
        let mut times = StepTimes::default();
        let sure = [candidate(0.9, 15)];
        let mut trials = Vec::new();
        for call in 0..20 * STALE_MOST {
            let n_rows = 1 + chosen(&sure, 1, &times)[0];
            times.observe(n_rows, 10.0 * rows(n_rows));
            if n_rows > 1 {
                trials.push(call);
            }
        }
        let n_until = |end| trials.partition_point(|&call| call < end);
        assert!(n_until(2 * STALE) >= 2, "{trials:?}");
        let n_late = trials.len() - n_until(10 * STALE_MOST);
        assert!((10..=100).contains(&n_late), "one in a hundred: {trials:?}");
    }

    #[test]
    fn the_plain_call_is_measured_again_now_and_then() {
        let mut times = StepTimes::all(|_| 10.0);
        let sure = [candidate(0.9, 31)];
        let mut n_guessing = 0;
        while chosen(&sure, 1, &times) != [0] {
            times.observe(32, 10.0);
            n_guessing += 1;
        }
        assert_eq!(n_guessing, STALE);
    }

    proptest! {
        #[test]
        fn limits_are_kept(
            odds in prop::collection::vec(prop::collection::vec(0.0..=1.0_f64, 0..20), 0..6),
            more in 0..4_usize,
            max_rows in 0..40_usize,
            per_row in 0.0..3.0_f64,
            always: bool,
        ) {
            let n_plain = odds.len() + more;
            let candidates: Vec<Candidate> = odds
                .into_iter()
                .map(|odds| Candidate { odds })
                .collect();
            let times = StepTimes::all(|n_rows| 5.0 + rows(n_rows) * per_row);
            let times = (!always).then_some(&times);
            let price = Price {
                each_ms: per_row,
                once_ms: 1.0,
            };
            let counts = choose(&candidates, n_plain, max_rows, times, price);
            prop_assert_eq!(counts.len(), candidates.len());
            let total: usize = counts.iter().sum();
            prop_assert!(total == 0 || n_plain + total <= max_rows);
            for (count, candidate) in counts.iter().zip(&candidates) {
                prop_assert!(*count <= candidate.odds.len());
            }
            if always {
                let all: usize = candidates.iter().map(|one| one.odds.len()).sum();
                prop_assert_eq!(total, all.min(max_rows.saturating_sub(n_plain)));
            }
        }
    }
}
