//! What to measure: the command line's words as values.

use std::str::FromStr;
use std::time::Duration;

use serde::{Serialize, Serializer};

/// The protocol that a server speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Api {
    /// `/api/chat`
    Ollama,
    /// `/v1/chat/completions`
    OpenAi,
}

impl FromStr for Api {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "ollama" => Ok(Self::Ollama),
            "openai" => Ok(Self::OpenAi),
            _ => Err("must be ollama or openai".to_owned()),
        }
    }
}

/// When requests are sent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Arrival {
    /// Each one when an earlier one has ended.
    Closed,
    /// At random times, this many per second on average, whether earlier ones have ended or not.
    Poisson(f64),
}

impl Arrival {
    /// Returns the times of requests, counted from the start; without end.
    pub(super) fn times(self, seed: u64) -> impl Iterator<Item = Duration> {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut at = 0.0;
        std::iter::repeat_with(move || match self {
            Self::Closed => Duration::ZERO,
            Self::Poisson(rate) => {
                // `f64()` is below 1, so the logarithm is finite.
                at += -(1.0 - rng.f64()).ln() / rate;
                Duration::try_from_secs_f64(at).unwrap_or(Duration::MAX)
            }
        })
    }
}

impl FromStr for Arrival {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "closed" {
            return Ok(Self::Closed);
        }
        let rate = text
            .strip_prefix("poisson:")
            .and_then(|rate| rate.parse().ok());
        // Less than one request per day is a mistake, and more than a million per second cannot be kept up.
        rate.filter(|rate| (1e-5..=1e6).contains(rate))
            .map(Self::Poisson)
            .ok_or_else(|| "must be closed or poisson:RATE, requests per second".to_owned())
    }
}

impl Serialize for Arrival {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Closed => serializer.serialize_str("closed"),
            Self::Poisson(rate) => serializer.collect_str(&format_args!("poisson:{rate}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrivals_are_words() {
        assert_eq!("closed".parse(), Ok(Arrival::Closed));
        assert_eq!("poisson:2.5".parse(), Ok(Arrival::Poisson(2.5)));
        for bad in [
            "",
            "poisson",
            "poisson:",
            "poisson:0",
            "poisson:-1",
            "poisson:nan",
        ] {
            assert!(bad.parse::<Arrival>().is_err(), "{bad}");
        }
    }

    #[test]
    fn random_arrivals_keep_their_rate_and_repeat() {
        let times =
            |seed| -> Vec<Duration> { Arrival::Poisson(10.0).times(seed).take(2000).collect() };
        let first = times(1);
        assert!(first.is_sorted());
        let end = first.last().unwrap().as_secs_f64();
        assert!((180.0..220.0).contains(&end), "2000 at 10/s take {end} s");
        assert_eq!(first, times(1));
        assert_ne!(first, times(2));
    }
}
