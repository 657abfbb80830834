//! How often drafts of one kind are accepted.

/// Weight of the older drafts at each new one: drafts fade after a few dozen newer ones.
const MEMORY: f64 = 0.97;

/// How many drafts the initial estimate counts for.
const FIRST_WEIGHT: f64 = 4.0;

/// Share of the learnt counts that is lost with every token that is not drafted.
const LOSS: f64 = 0.01;

/// Counts that fade; they begin with an initial estimate.
#[derive(Debug, Clone, Copy)]
pub(in crate::engine) struct Record {
    n_right: f64,
    n: f64,
}

impl Record {
    /// `odds` until more is known.
    pub(in crate::engine) fn new(odds: f64) -> Self {
        Self {
            n_right: odds * FIRST_WEIGHT,
            n: FIRST_WEIGHT,
        }
    }

    pub(in crate::engine) fn add(&mut self, is_right: bool) {
        self.n_right = self.n_right * MEMORY + f64::from(u8::from(is_right));
        self.n = self.n * MEMORY + 1.0;
    }

    /// The probability that the next draft is right.
    pub(in crate::engine) fn odds(self) -> f64 {
        self.n_right / self.n
    }

    /// Moves a little back towards the initial estimate: without drafts for a while, the text may have changed
    /// in kind.
    pub(in crate::engine) fn fade(&mut self, odds: f64) {
        let first = Self::new(odds);
        self.n_right += (first.n_right - self.n_right) * LOSS;
        self.n += (first.n - self.n) * LOSS;
    }
}
