//! Decides whether two or three sequences decode together or in turn.
//!
//! A CPU uses another algorithm for one row (a matrix-vector product) than for several. It can be so much
//! faster that two or three sequences finish sooner one after the other. Whether that holds for a machine
//! and a model is measured.

use super::step_times::StepTimes;

/// The most sequences for which decoding in turn can be faster.
const MAX_IN_TURN: usize = 3;

/// Calls after which the way not in use is tried again.
const RETRY: u64 = 256;

/// How much faster "in turn" must be: smaller differences are noise.
const LEAST_GAIN: f64 = 1.05;

/// How many of `n` decoding sequences go into the next call.
pub(in crate::engine) fn rows_per_call(n: usize, times: &StepTimes) -> usize {
    if !(2..=MAX_IN_TURN).contains(&n) {
        return n;
    }
    match (times.measured(1, RETRY), times.measured(n, RETRY)) {
        (_, None) => n,
        (None, Some(_)) => 1,
        (Some(one), Some(all)) => {
            let in_turn: f64 = std::iter::repeat_n(one, n).sum();
            if in_turn * LEAST_GAIN < all { 1 } else { n }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Steps of a machine with these times; returns the sizes of the calls.
    fn run(n: usize, n_steps: usize, ms: impl Fn(usize) -> f64) -> Vec<usize> {
        let mut times = StepTimes::default();
        let step = |_| {
            let n_rows = rows_per_call(n, &times);
            times.observe(n_rows, ms(n_rows));
            n_rows
        };
        (0..n_steps).map(step).collect()
    }

    #[test]
    fn the_quicker_way_is_found_and_the_other_one_tried_now_and_then() {
        // Two rows cost more than twice one, as on some machines with AVX-512.
        let calls = run(2, 1000, |n_rows| [0.0, 12.2, 29.4][n_rows]);
        assert_eq!(calls[..4], [2, 1, 1, 1]);
        let n_together = calls.iter().filter(|&&n_rows| n_rows == 2).count();
        assert!((2..=5).contains(&n_together), "{n_together}");

        let calls = run(3, 1000, |n_rows| [0.0, 18.4, 26.2, 29.7][n_rows]);
        let n_alone = calls.iter().filter(|&&n_rows| n_rows == 1).count();
        assert!((2..=5).contains(&n_alone), "{n_alone}");
    }

    #[test]
    fn it_changes_its_mind_with_the_machine() {
        let mut times = StepTimes::default();
        let mut last = [0; 2];
        for (phase, two) in [29.4, 14.0].into_iter().enumerate() {
            for _ in 0..2000 {
                let n_rows = rows_per_call(2, &times);
                times.observe(n_rows, if n_rows == 1 { 12.2 } else { two });
                last[phase] = n_rows;
            }
        }
        assert_eq!(last, [1, 2]);
    }

    #[test]
    fn many_go_together() {
        let times = StepTimes::default();
        assert_eq!(
            [0, 1, 4, 100].map(|n| rows_per_call(n, &times)),
            [0, 1, 4, 100]
        );
    }
}
