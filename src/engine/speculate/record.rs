//! How often drafts of one kind are accepted.

/// Weight of what was known before each new draft: what is older than a few dozen fades.
const MEMORY: f64 = 0.97;

/// How many drafts the first opinion counts for.
const FIRST_WEIGHT: f64 = 4.0;

/// Share of what was learnt that is lost with every token that is not drafted.
const LOSS: f64 = 0.01;

/// Counts that fade; both begin with an opinion.
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

    /// How probably the next draft is right.
    pub(in crate::engine) fn odds(self) -> f64 {
        self.n_right / self.n
    }

    /// Goes back a little towards the first opinion: nobody has drafted for a while, and the text
    /// may be another by now.
    pub(in crate::engine) fn fade(&mut self, odds: f64) {
        let first = Self::new(odds);
        self.n_right += (first.n_right - self.n_right) * LOSS;
        self.n += (first.n - self.n) * LOSS;
    }
}
