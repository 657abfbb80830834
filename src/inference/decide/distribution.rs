//! The probabilities of a question's options, and what follows from them.

/// How likely each option of a question is.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Distribution {
    /// In the order of the options; their sum is 1.
    pub probabilities: Vec<f64>,
    /// How likely any of the labels was among all tokens. Where it is small, the model wanted to say something
    /// else, and the probabilities say little.
    pub label_mass: f64,
}

impl Distribution {
    /// From the log-probabilities of the labels' tokens: each label has so many of them.
    pub(super) fn new(logprobs: &[f64], n_tokens: impl Iterator<Item = usize>) -> Self {
        let most = logprobs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let mut rest = logprobs;
        let shares: Vec<f64> = n_tokens
            .map(|n| {
                let (own, others) = rest.split_at(n.min(rest.len()));
                rest = others;
                // Relative to the likeliest one: what is far below it all the same has a share.
                own.iter().map(|logprob| (logprob - most).exp()).sum()
            })
            .collect();
        let sum: f64 = shares.iter().sum();
        Self {
            label_mass: (sum * most.exp()).min(1.0),
            probabilities: shares.into_iter().map(|share| share / sum).collect(),
        }
    }

    /// The place of the likeliest option; of equal ones, the first.
    pub fn best(&self) -> usize {
        let best = self.probabilities.iter().enumerate().rev();
        best.max_by(|(_, a), (_, b)| a.total_cmp(b))
            .map_or(0, |(place, _)| place)
    }

    /// The mean of the places.
    pub fn mean(&self) -> f64 {
        self.places().map(|(place, p)| place * p).sum()
    }

    /// How far the likeliest of unordered options is above chance: from 0, all are as likely, to 1. As `TypeSafe`
    /// defines it.
    pub fn confidence(&self) -> f64 {
        let most = self.probabilities.iter().copied().fold(0.0, f64::max);
        let chance = 1.0 / self.n();
        ((most - chance) / (1.0 - chance)).clamp(0.0, 1.0)
    }

    /// How closely ordered options lie around the likeliest one: from 0, as widely as if all were as likely, to
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

    /// Places as numbers, each with its probability.
    fn places(&self) -> impl Iterator<Item = (f64, f64)> {
        let places = (0_u32..).map(f64::from);
        places.zip(self.probabilities.iter().copied())
    }
}
