//! Summarizes many samples in a few numbers. Pure; a number without samples is `None`.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::measure::Measured;
use super::request::Sample;

/// Three percentiles of a distribution.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub(super) struct Percentiles {
    pub(super) p50: Option<f64>,
    pub(super) p95: Option<f64>,
    pub(super) p99: Option<f64>,
}

/// One measurement.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(super) struct Summary {
    /// Answers that were complete.
    pub(super) n_ok: usize,
    pub(super) n_errors: usize,
    /// Texts of the errors, and how often each occurred.
    pub(super) errors: BTreeMap<String, u64>,
    pub(super) mean_prompt_tokens: Option<f64>,
    /// Over the answers that reported it.
    pub(super) mean_cached_tokens: Option<f64>,
    pub(super) mean_output_tokens: Option<f64>,
    /// Time to the first text.
    pub(super) ttft_ms: Percentiles,
    /// Time between two pieces of one answer.
    pub(super) itl_ms: Percentiles,
    /// Median of the rates at which answers were written, from the first token to the last.
    pub(super) stream_tokens_per_s: Option<f64>,
    /// All tokens divided by the total time.
    pub(super) total_tokens_per_s: Option<f64>,
    pub(super) wall_s: f64,
}

/// One server's numbers divided by another's, in one pair of measurements.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub(super) struct Ratio {
    pub(super) ttft: Percentiles,
    pub(super) itl: Percentiles,
    pub(super) stream_tokens_per_s: Option<f64>,
    pub(super) total_tokens_per_s: Option<f64>,
}

impl Percentiles {
    /// By nearest rank: the smallest value such that so many per cent do not exceed it.
    fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let at = |percent: usize| {
            let rank = (values.len() * percent).div_ceil(100);
            values.get(rank.checked_sub(1)?).copied()
        };
        Self {
            p50: at(50),
            p95: at(95),
            p99: at(99),
        }
    }

    fn by(self, other: Self) -> Self {
        Self {
            p50: divide(self.p50, other.p50),
            p95: divide(self.p95, other.p95),
            p99: divide(self.p99, other.p99),
        }
    }
}

impl Summary {
    pub(super) fn of(measured: &Measured) -> Self {
        let samples = &measured.samples;
        let mut errors = BTreeMap::new();
        for error in &measured.errors {
            *errors.entry(error.clone()).or_insert(0) += 1;
        }
        let sum = |count: fn(&Sample) -> u64| samples.iter().map(count).sum::<u64>();
        let mean = |sum: u64| divide(Some(to_f64(sum)), Some(to_f64(samples.len() as u64)));
        let n_output = sum(|sample| sample.n_output);
        let cached: Vec<u64> = samples
            .iter()
            .filter_map(|sample| sample.n_cached)
            .collect();
        let n_cached = Some(to_f64(cached.iter().sum()));
        let wall_s = measured.wall.as_secs_f64();
        let ttft = samples.iter().map(|sample| to_ms(sample.to_first));
        let itl = samples.iter().flat_map(|sample| &sample.gaps);
        Self {
            n_ok: samples.len(),
            n_errors: measured.errors.len(),
            errors,
            mean_prompt_tokens: mean(sum(|sample| sample.n_prompt)),
            mean_cached_tokens: divide(n_cached, Some(to_f64(cached.len() as u64))),
            mean_output_tokens: mean(n_output),
            ttft_ms: Percentiles::of(ttft.collect()),
            itl_ms: Percentiles::of(itl.map(|gap| to_ms(*gap)).collect()),
            stream_tokens_per_s: Percentiles::of(samples.iter().filter_map(rate).collect()).p50,
            total_tokens_per_s: divide(Some(to_f64(n_output)), Some(wall_s)),
            wall_s,
        }
    }
}

impl Ratio {
    /// Returns `one` divided by `other`, number by number.
    pub(super) fn of(one: &Summary, other: &Summary) -> Self {
        Self {
            ttft: one.ttft_ms.by(other.ttft_ms),
            itl: one.itl_ms.by(other.itl_ms),
            stream_tokens_per_s: divide(one.stream_tokens_per_s, other.stream_tokens_per_s),
            total_tokens_per_s: divide(one.total_tokens_per_s, other.total_tokens_per_s),
        }
    }
}

/// The lowest, median and highest ratio of several pairs, number by number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub(super) struct Ratios {
    pub(super) n_pairs: usize,
    pub(super) median: Ratio,
    pub(super) lowest: Ratio,
    pub(super) highest: Ratio,
}

impl Ratios {
    /// `None` if there are no pairs.
    pub(super) fn of(pairs: &[Ratio]) -> Option<Self> {
        let of = |pick: fn(&[f64]) -> f64| {
            let number = |read: fn(&Ratio) -> Option<f64>| {
                let mut values: Vec<f64> = pairs.iter().filter_map(read).collect();
                values.sort_by(f64::total_cmp);
                (!values.is_empty()).then(|| pick(&values))
            };
            Ratio {
                ttft: Percentiles {
                    p50: number(|ratio| ratio.ttft.p50),
                    p95: number(|ratio| ratio.ttft.p95),
                    p99: number(|ratio| ratio.ttft.p99),
                },
                itl: Percentiles {
                    p50: number(|ratio| ratio.itl.p50),
                    p95: number(|ratio| ratio.itl.p95),
                    p99: number(|ratio| ratio.itl.p99),
                },
                stream_tokens_per_s: number(|ratio| ratio.stream_tokens_per_s),
                total_tokens_per_s: number(|ratio| ratio.total_tokens_per_s),
            }
        };
        (!pairs.is_empty()).then(|| Self {
            n_pairs: pairs.len(),
            median: of(median),
            lowest: of(|values| values[0]),
            highest: of(|values| values[values.len() - 1]),
        })
    }
}

/// The median of sorted values; there must be at least one.
fn median(values: &[f64]) -> f64 {
    let upper = values[values.len() / 2];
    f64::midpoint(upper, values[(values.len() - 1) / 2])
}

/// Tokens per second of one answer; the clock starts at the first token.
fn rate(sample: &Sample) -> Option<f64> {
    let n_after_first = sample.n_output.checked_sub(1).filter(|count| *count > 0)?;
    divide(
        Some(to_f64(n_after_first)),
        Some(sample.writing.as_secs_f64()),
    )
}

/// `None` if either is missing or the divisor is zero.
fn divide(one: Option<f64>, other: Option<f64>) -> Option<f64> {
    let other = other.filter(|other| *other > 0.0)?;
    Some(one? / other)
}

fn to_ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

#[expect(
    clippy::cast_precision_loss,
    reason = "counts of tokens are far below 2^52"
)]
fn to_f64(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(to_first_ms: u64, gaps_ms: &[u64], n_output: u64) -> Sample {
        let gaps: Vec<Duration> = gaps_ms.iter().copied().map(Duration::from_millis).collect();
        Sample {
            to_first: Duration::from_millis(to_first_ms),
            writing: gaps.iter().sum(),
            gaps,
            n_prompt: 100,
            n_cached: None,
            n_output,
        }
    }

    #[test]
    fn percentiles_are_values_that_occurred() {
        let hundred = Percentiles::of((1..=100).rev().map(f64::from).collect());
        assert_eq!(
            (hundred.p50, hundred.p95, hundred.p99),
            (Some(50.0), Some(95.0), Some(99.0))
        );
        let one = Percentiles::of(vec![7.0]);
        assert_eq!((one.p50, one.p99), (Some(7.0), Some(7.0)));
        let two = Percentiles::of(vec![2.0, 1.0]);
        assert_eq!((two.p50, two.p95), (Some(1.0), Some(2.0)));
        assert_eq!(Percentiles::of(Vec::new()), Percentiles::default());
    }

    #[test]
    fn rates_are_of_the_servers_tokens_not_of_the_pieces() {
        let summary = Summary::of(&Measured {
            // The second answer came in larger pieces.
            samples: vec![sample(10, &[100, 100], 3), sample(30, &[400], 9)],
            errors: vec!["boom".to_owned(), "boom".to_owned()],
            wall: Duration::from_secs(2),
        });
        assert_eq!((summary.n_ok, summary.n_errors), (2, 2));
        assert_eq!(summary.errors["boom"], 2);
        assert_eq!(summary.mean_prompt_tokens, Some(100.0));
        assert_eq!(summary.mean_output_tokens, Some(6.0));
        assert_eq!(summary.ttft_ms.p99, Some(30.0));
        assert_eq!(summary.itl_ms.p50, Some(100.0));
        // 10 and 20 tokens per second.
        assert_eq!(summary.stream_tokens_per_s, Some(10.0));
        assert_eq!(summary.total_tokens_per_s, Some(6.0));
    }

    #[test]
    fn an_answer_of_one_token_has_no_rate() {
        let summary = Summary::of(&Measured {
            samples: vec![sample(10, &[], 1)],
            wall: Duration::from_secs(1),
            ..Measured::default()
        });
        assert_eq!(summary.stream_tokens_per_s, None);
        assert_eq!(summary.itl_ms, Percentiles::default());
        assert_eq!(summary.total_tokens_per_s, Some(1.0));
    }

    #[test]
    fn pairs_have_a_median_and_a_spread() {
        let pair = |ratio: f64, itl: Option<f64>| Ratio {
            total_tokens_per_s: Some(ratio),
            itl: Percentiles {
                p50: itl,
                ..Percentiles::default()
            },
            ..Ratio::default()
        };
        assert_eq!(Ratios::of(&[]), None);
        let pairs = [
            pair(3.0, None),
            pair(1.0, Some(7.0)),
            pair(1.5, None),
            pair(2.0, None),
        ];
        let of = Ratios::of(&pairs).unwrap();
        let totals = [of.lowest, of.median, of.highest].map(|ratio| ratio.total_tokens_per_s);
        assert_eq!(totals, [Some(1.0), Some(1.75), Some(3.0)]);
        // A number that some pairs do not have is computed over the pairs that have it.
        assert_eq!((of.median.itl.p50, of.median.itl.p95), (Some(7.0), None));
    }

    #[test]
    fn ratios_are_the_first_by_the_second() {
        let of = |to_first_ms| {
            Summary::of(&Measured {
                samples: vec![sample(to_first_ms, &[100], 2)],
                wall: Duration::from_millis(to_first_ms),
                ..Measured::default()
            })
        };
        let ratio = Ratio::of(&of(100), &of(200));
        assert_eq!(ratio.ttft.p50, Some(0.5));
        assert_eq!(ratio.itl.p50, Some(1.0));
        assert_eq!(ratio.total_tokens_per_s, Some(2.0));
        let nothing = Summary::default();
        assert_eq!(Ratio::of(&of(100), &nothing), Ratio::default());
    }
}
