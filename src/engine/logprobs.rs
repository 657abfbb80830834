//! Log-probabilities from raw logits.

use super::backend::Backend;
use crate::protocol::{Token, TokenLogprob, TopLogprob};

/// What stands for minus infinity, which JSON cannot say.
const LEAST: f32 = -1e30;

/// The entry of a picked token: log-softmax over the raw logits, before any sampler.
pub(super) fn entry<B: Backend>(
    backend: &B,
    logits: &[f32],
    token: Token,
    n_top: u32,
) -> TokenLogprob {
    let normalizer = log_sum_exp(logits);
    let logprob = |token: Token| {
        let logit = usize::try_from(token).ok().and_then(|at| logits.get(at));
        logit.map_or(LEAST, |logit| finite(logit - normalizer))
    };
    let bytes = |token: Token| {
        let mut bytes = Vec::new();
        backend.append_piece(token, true, &mut bytes);
        bytes
    };
    let top = best(logits, n_top as usize)
        .into_iter()
        .map(|token| TopLogprob {
            token,
            bytes: bytes(token),
            logprob: logprob(token),
        });
    TokenLogprob {
        token,
        bytes: bytes(token),
        logprob: logprob(token),
        top: top.collect(),
    }
}

fn finite(value: f32) -> f32 {
    if value.is_finite() { value } else { LEAST }
}

fn log_sum_exp(logits: &[f32]) -> f32 {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits
        .iter()
        .map(|logit| f64::from(logit - max).exp())
        .sum();
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a logarithm of a sum of at most n_vocab is small"
    )]
    let log = sum.ln() as f32;
    max + log
}

/// The tokens with the highest logits, best first.
fn best(logits: &[f32], n: usize) -> Vec<Token> {
    let n = n.min(logits.len());
    if n == 0 {
        return Vec::new();
    }
    let mut order: Vec<usize> = (0..logits.len()).collect();
    let better = |a: &usize, b: &usize| logits[*b].total_cmp(&logits[*a]).then(a.cmp(b));
    order.select_nth_unstable_by(n - 1, better);
    order.truncate(n);
    order.sort_unstable_by(better);
    order
        .into_iter()
        .filter_map(|token| Token::try_from(token).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_sum_to_one_however_large_the_logits() {
        let logits = [1000.0, 999.0, -1000.0, f32::NEG_INFINITY];
        let normalizer = log_sum_exp(&logits);
        let sum: f32 = logits.iter().map(|logit| (logit - normalizer).exp()).sum();
        assert!((sum - 1.0).abs() < 1e-5, "{sum}");
    }

    #[test]
    fn the_best_come_in_order_and_no_more_than_there_are() {
        assert_eq!(best(&[0.5, 2.0, 1.0], 2), [1, 2]);
        assert_eq!(best(&[0.5, 2.0], 9), [1, 0]);
        assert!(best(&[0.5], 0).is_empty());
    }
}
