//! Log-probabilities from raw logits.

use super::backend::Backend;
use crate::protocol::{PromptToken, Token, TokenLogprob, TopLogprob};

/// Stands for minus infinity, which JSON does not have.
const LEAST: f32 = -1e30;

/// The entry of a sampled token: log-softmax over the raw logits, before any sampler. It includes the best
/// `n_top` tokens, or the tokens of the list if that is not empty.
pub(super) fn entry<B: Backend>(
    backend: &B,
    logits: &[f32],
    token: Token,
    n_top: u32,
    of: &[Token],
) -> TokenLogprob {
    let scale = Scale::of(logits);
    let logprob = |token: Token| {
        let logit = usize::try_from(token).ok().and_then(|at| logits.get(at));
        logit.map_or(LEAST, |&logit| scale.logprob(logit))
    };
    let bytes = |token: Token| {
        let mut bytes = Vec::new();
        backend.append_piece(token, true, &mut bytes);
        bytes
    };
    let others = if of.is_empty() {
        best(logits, n_top as usize)
    } else {
        of.to_vec()
    };
    let top = others.into_iter().map(|token| TopLogprob {
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

/// The entry of a prompt's token, with the logits of the row before it, if there is one.
pub(super) fn prompt_entry<B: Backend>(
    backend: &B,
    logits: Option<&[f32]>,
    token: Token,
    n_top: u32,
) -> PromptToken {
    let Some(logits) = logits else {
        let mut bytes = Vec::new();
        backend.append_piece(token, true, &mut bytes);
        return PromptToken {
            token,
            bytes,
            logprob: None,
            top: Vec::new(),
        };
    };
    let TokenLogprob {
        token,
        bytes,
        logprob,
        top,
    } = entry(backend, logits, token, n_top, &[]);
    PromptToken {
        token,
        bytes,
        logprob: Some(logprob),
        top,
    }
}

/// Turns logits into log-probabilities.
struct Scale {
    max: f32,
    log_sum: f32,
}

impl Scale {
    fn of(logits: &[f32]) -> Self {
        let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let shares = logits.iter().map(|logit| f64::from(logit - max).exp());
        #[expect(
            clippy::cast_possible_truncation,
            reason = "the logarithm of a sum of n_vocab shares of at most 1 is small"
        )]
        let log_sum = shares.sum::<f64>().ln() as f32;
        Self { max, log_sum }
    }

    fn logprob(&self, logit: f32) -> f32 {
        // Subtract the maximum first: the difference of large numbers is exact, their sum is not.
        let logprob = logit - self.max - self.log_sum;
        if logprob.is_finite() { logprob } else { LEAST }
    }
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
        let scale = Scale::of(&logits);
        let sum: f32 = logits.iter().map(|&logit| scale.logprob(logit).exp()).sum();
        assert!((sum - 1.0).abs() < 1e-5, "{sum}");
    }

    #[test]
    fn the_best_come_in_order_and_no_more_than_there_are() {
        assert_eq!(best(&[0.5, 2.0, 1.0], 2), [1, 2]);
        assert_eq!(best(&[0.5, 2.0], 9), [1, 0]);
        assert!(best(&[0.5], 0).is_empty());
    }
}
