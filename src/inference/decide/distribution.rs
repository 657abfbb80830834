//! The probabilities of a question's options, and what follows from them.

/// The probabilities of a question's options.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Distribution {
    /// In the order of the options; their sum is 1.
    pub probabilities: Vec<f64>,
    /// The probability that the first token is any of the labels. If it is small, the model would have said
    /// something else, and the probabilities mean little.
    pub label_mass: f64,
}

impl Distribution {
    /// Makes a distribution from the log-probabilities of the labels' tokens; `n_tokens` is how many each label
    /// has.
    pub(super) fn new(logprobs: &[f64], n_tokens: impl Iterator<Item = usize>) -> Self {
        let most = logprobs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let mut rest = logprobs;
        let shares: Vec<f64> = n_tokens
            .map(|n| {
                let (own, others) = rest.split_at(n.min(rest.len()));
                rest = others;
                // Relative to the most probable token, so that even very small probabilities have a share.
                own.iter().map(|logprob| (logprob - most).exp()).sum()
            })
            .collect();
        let sum: f64 = shares.iter().sum();
        Self {
            label_mass: (sum * most.exp()).min(1.0),
            probabilities: shares.into_iter().map(|share| share / sum).collect(),
        }
    }

    /// The index of the most probable option; of equal ones, the first.
    pub fn best(&self) -> usize {
        let best = self.probabilities.iter().enumerate().rev();
        best.max_by(|(_, a), (_, b)| a.total_cmp(b))
            .map_or(0, |(place, _)| place)
    }

    /// The mean index.
    pub fn mean(&self) -> f64 {
        self.places().map(|(place, p)| place * p).sum()
    }

    /// How far the most probable of unordered options is above chance: from 0 (all are equally probable) to 1.
    /// As `TypeSafe` defines it.
    pub fn confidence(&self) -> f64 {
        let most = self.probabilities.iter().copied().fold(0.0, f64::max);
        let chance = 1.0 / self.n();
        ((most - chance) / (1.0 - chance)).clamp(0.0, 1.0)
    }

    /// How closely ordered options lie around the most probable one: from 0 (as widely as if all were equally
    /// probable) to 1. As `TypeSafe` defines it.
    /// 1. As `TypeSafe` defines it.
    pub fn ordered_confidence(&self) -> f64 {
        let best = self
            .places()
            .nth(self.best())
            .map_or(0.0, |(place, _)| place);
        let spread: f64 = self
            .places()
            .map(|(place, p)| p * (place - best).abs())
            .sum();
        let middle = (self.n() - 1.0) / 2.0;
        let widest: f64 = self.places().map(|(place, _)| (place - middle).abs()).sum();
        (1.0 - spread / (widest / self.n())).clamp(0.0, 1.0)
    }

    fn n(&self) -> f64 {
        self.places().map(|_| 1.0).sum()
    }

    /// The indexes as numbers, each with its probability.
    fn places(&self) -> impl Iterator<Item = (f64, f64)> {
        let places = (0_u32..).map(f64::from);
        places.zip(self.probabilities.iter().copied())
    }
}
