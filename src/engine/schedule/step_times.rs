//! Measured times of decode calls by their number of rows, for deciding how many rows a call has
//! (`decode_width`, `speculate`).

/// Rows of a call up to which times are remembered; a call with more is full anyway.
pub(in crate::engine) const MAX_ROWS: usize = 64;

/// Weight of the newest time in the average for its number of rows.
const WEIGHT: f64 = 0.25;

/// The number of calls after which a time expires, because the machine's load or the context may have
/// changed. For calls with drafts it is multiplied by the number of measurements, up to [`STALE_MOST`]: a
/// single bad time may be chance, but repeatedly bad sizes are seldom tried.
pub(in crate::engine) const STALE: u64 = 64;
pub(in crate::engine) const STALE_MOST: u64 = 1024;

/// How long calls take, by their number of rows.
#[derive(Debug)]
pub(in crate::engine) struct StepTimes {
    /// By the number of rows.
    times: [Option<Time>; MAX_ROWS + 1],
    n_calls: u64,
}

/// A running average.
#[derive(Debug, Clone, Copy)]
struct Time {
    ms: f64,
    /// The call in which it was last measured.
    call: u64,
    /// How often it was measured.
    n: u64,
}

impl Default for StepTimes {
    fn default() -> Self {
        Self {
            times: [None; MAX_ROWS + 1],
            n_calls: 0,
        }
    }
}

impl StepTimes {
    /// Learns from a call without prompt tokens.
    pub(in crate::engine) fn observe(&mut self, n_rows: usize, ms: f64) {
        self.n_calls += 1;
        if let Some(time) = self.times.get_mut(n_rows) {
            // Old times say nothing about now, least of all one that was bad by chance.
            let recent = time.filter(|time| time.call + STALE > self.n_calls);
            let old = recent.map_or(ms, |time| time.ms);
            *time = Some(Time {
                ms: old + (ms - old) * WEIGHT,
                call: self.n_calls,
                n: time.map_or(1, |time| time.n + 1),
            });
        }
    }

    /// The recent measurements for this number of rows.
    pub(in crate::engine) fn measured(&self, n_rows: usize, n_calls: u64) -> Option<f64> {
        let time = (*self.times.get(n_rows)?)?;
        (time.call + n_calls > self.n_calls).then_some(time.ms)
    }

    /// The time of a call with `n_rows` rows, if it is not too old.
    pub(in crate::engine) fn known(&self, n_rows: usize) -> Option<(usize, f64)> {
        let n = (*self.times.get(n_rows)?)?.n;
        let stale = STALE.saturating_mul(n).min(STALE_MOST);
        Some((n_rows, self.measured(n_rows, stale)?))
    }

    /// How long a call takes: as measured, else interpolated linearly between the nearest measured sizes.
    /// Outside the measured range, more rows are assumed to be free, so that they are tried, and fewer to be no
    /// cheaper.
    pub(in crate::engine) fn expected(&self, n_rows: usize) -> Option<f64> {
        let known = |n_rows| self.known(n_rows);
        let below = (0..=n_rows.min(MAX_ROWS)).rev().find_map(known);
        let above = (n_rows..=MAX_ROWS).find_map(known);
        match (below, above) {
            (Some(below), Some(above)) if above.0 > below.0 => {
                let part = ratio(n_rows - below.0, above.0 - below.0);
                Some(below.1 + (above.1 - below.1) * part)
            }
            (below, above) => below.or(above).map(|known| known.1),
        }
    }

    /// Counts a call that was not made, so that sizes that are never tried expire, too.
    pub(in crate::engine) fn skip(&mut self) {
        self.n_calls += 1;
    }

    /// Times that were all measured just now, many times.
    #[cfg(test)]
    pub(in crate::engine) fn all(ms: impl Fn(usize) -> f64) -> Self {
        let mut times = Self::default();
        for n_rows in 1..=MAX_ROWS {
            times.times[n_rows] = Some(Time {
                ms: ms(n_rows),
                call: 0,
                n: 100,
            });
        }
        times
    }
}

#[expect(clippy::cast_precision_loss, reason = "numbers of rows are small")]
pub(in crate::engine) fn ratio(a: usize, b: usize) -> f64 {
    a as f64 / b as f64
}
