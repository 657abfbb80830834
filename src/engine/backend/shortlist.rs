//! The tokens that a top-k sampler can choose from, without an array of the whole vocabulary.
//!
//! llama.cpp's samplers work on an array of 12 bytes for each token of the vocabulary, which costs more than
//! all that follows. With a top-k, only a few dozen of the tokens can matter.

use std::collections::VecDeque;

use crate::protocol::Token;

/// Logits of a block that has one maximum: enough for the compiler's vector code, few enough to search one by
/// one.
const BLOCK: usize = 64;

/// Finds the tokens that are among the best `top_k` after biases and penalties.
///
/// Biases and penalties change the logits of known tokens only, at most `changed` of them. Any other token
/// among the best `top_k` is also among the best `top_k + changed` of the raw logits. So these and the changed
/// tokens are enough, and the chain that follows gives the same result as with the whole vocabulary (except for
/// the order of equal logits, which is arbitrary in llama.cpp, too).
#[derive(Debug)]
pub(crate) struct Shortlist {
    top_k: usize,
    /// Tokens with a bias.
    biased: Vec<Token>,
    /// The tokens that penalties apply to, the newest last.
    recent: VecDeque<Token>,
    n_recent: usize,
    /// The maxima of the blocks; a reused buffer, as are the next two.
    maxima: Vec<f32>,
    ranked: Vec<f32>,
    found: Vec<Token>,
}

impl Shortlist {
    /// `n_recent` tokens are remembered for the penalties; 0 = no penalties.
    pub(crate) fn new(top_k: usize, biased: Vec<Token>, n_recent: usize) -> Self {
        Self {
            top_k,
            biased,
            recent: VecDeque::new(),
            n_recent,
            maxima: Vec::new(),
            ranked: Vec::new(),
            found: Vec::new(),
        }
    }

    /// Remembers a token of the prompt or the answer.
    pub(crate) fn accept(&mut self, token: Token) {
        if self.n_recent == 0 {
            return;
        }
        if self.recent.len() == self.n_recent {
            self.recent.pop_front();
        }
        self.recent.push_back(token);
    }

    /// The tokens, in ascending order; `None` if the search would not pay off or a logit is NaN.
    pub(crate) fn find(&mut self, logits: &[f32]) -> Option<&[Token]> {
        let n_wanted = self.top_k + self.biased.len() + self.recent.len();
        let n_blocks = logits.len() / BLOCK;
        if n_wanted == 0 || n_wanted > n_blocks / 2 {
            return None;
        }
        self.maxima.clear();
        for block in logits.chunks(BLOCK) {
            self.maxima.push(highest(block)?);
        }
        self.ranked.clone_from(&self.maxima);
        let (_, &mut least, _) = self
            .ranked
            .select_nth_unstable_by(n_wanted - 1, |a, b| b.total_cmp(a));
        if !least.is_finite() {
            return None;
        }
        self.found.clear();
        // At least `n_wanted` blocks have a logit of `least` or more, so that no lower logit can be among the
        // best.
        for (index, block) in logits.chunks(BLOCK).enumerate() {
            if self.maxima[index] < least {
                continue;
            }
            let first = index * BLOCK;
            let tokens = block.iter().enumerate();
            let tokens = tokens.filter(|&(_, &logit)| logit >= least);
            let tokens = tokens.map(|(offset, _)| Token::try_from(first + offset));
            self.found.extend(tokens.flatten());
        }
        let changed = self.biased.iter().chain(&self.recent).copied();
        let known = changed.filter(|&token| usize::try_from(token).is_ok_and(|t| t < logits.len()));
        self.found.extend(known);
        self.found.sort_unstable();
        self.found.dedup();
        Some(&self.found)
    }
}

/// The first of the best tokens, as llama.cpp's greedy sampler picks it.
pub(crate) fn best(logits: &[f32]) -> Option<Token> {
    let (mut best, mut most) = (0, f32::NEG_INFINITY);
    for (index, block) in logits.chunks(BLOCK).enumerate() {
        match highest(block) {
            Some(logit) if logit > most => (best, most) = (index, logit),
            Some(_) => {}
            None => return best_of_any(logits),
        }
    }
    let first = best * BLOCK;
    let block = &logits[first..];
    let offset = block.iter().position(|&logit| logit >= most)?;
    Token::try_from(first + offset).ok()
}

/// How far below the best logit other logits hardly count: `e^-8` is one in three thousand.
const NEAR: f32 = 8.0;

/// The best token and its approximate probability. The exact value would need an exponential for each token of
/// the vocabulary, which takes too long for a small model's drafts.
#[cfg_attr(
    not(feature = "llama"),
    expect(dead_code, reason = "only llama.cpp drafts")
)]
pub(crate) fn likeliest(logits: &[f32]) -> Option<(Token, f32)> {
    let token = best(logits)?;
    let most = *logits.get(usize::try_from(token).ok()?)?;
    let near = logits.iter().filter(|&&logit| logit > most - NEAR);
    let sum: f32 = near.map(|logit| (logit - most).exp()).sum();
    Some((token, 1.0 / sum.max(1.0)))
}

/// The same one by one, for logits with a NaN.
fn best_of_any(logits: &[f32]) -> Option<Token> {
    let (mut best, mut most) = (0, *logits.first()?);
    for (index, &logit) in logits.iter().enumerate() {
        if logit > most {
            (best, most) = (index, logit);
        }
    }
    Token::try_from(best).ok()
}

/// The highest logit of a block; `None` if one of them is NaN.
fn highest(block: &[f32]) -> Option<f32> {
    // Several maxima side by side: a single one would be a dependency chain through all logits.
    let mut lanes = [f32::NEG_INFINITY; 16];
    let (whole, rest) = block.as_chunks::<16>();
    let mut is_nan = false;
    for logits in whole {
        for (lane, &logit) in lanes.iter_mut().zip(logits) {
            *lane = if logit > *lane { logit } else { *lane };
            is_nan |= logit.is_nan();
        }
    }
    is_nan |= rest.iter().any(|logit| logit.is_nan());
    let lanes = lanes.iter().chain(rest);
    (!is_nan).then_some(lanes.copied().fold(f32::NEG_INFINITY, f32::max))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_is_the_first_of_the_highest() {
        let mut random = fastrand::Rng::with_seed(3);
        for n in [1, 15, 64, 65, 1000] {
            // Few values, so that the highest occurs often.
            let mut logits: Vec<f32> = (0..n).map(|_| f32::from(random.i8(..4))).collect();
            assert_eq!(best(&logits), best_of_any(&logits), "{n}");
            logits[n / 2] = f32::NAN;
            assert_eq!(best(&logits), best_of_any(&logits), "{n}, with NaN");
        }
        assert_eq!(best(&[f32::NEG_INFINITY; 70]), Some(0));
        assert_eq!(best(&[]), None);
    }

    #[test]
    fn the_likeliest_is_the_best_with_its_share() {
        let mut logits = vec![-20.0; 300];
        (logits[7], logits[200]) = (3.0, 3.0 + 3.0_f32.ln());
        let (token, share) = likeliest(&logits).unwrap();
        assert_eq!(token, 200);
        assert!((share - 0.75).abs() < 1e-3, "{share}");
        assert_eq!(likeliest(&[]), None);
    }
}
