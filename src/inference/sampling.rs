//! Converts options to the engine's sampling parameters.

use crate::model::Options;
use crate::protocol::{Dry, Mirostat, SamplingParams, Xtc};

/// Stands for infinity, which JSON does not have; no logit comes near it.
const FORBIDDEN: f32 = -1e9;

/// With a higher threshold XTC has no effect: two tokens cannot both be more likely than one half.
const MOST_XTC_THRESHOLD: f32 = 0.5;

pub(super) fn sampling(options: &Options) -> SamplingParams {
    let biases = options.logit_bias.iter();
    SamplingParams {
        seed: seed(options.seed),
        temperature: options.temperature,
        top_k: options.top_k,
        top_p: options.top_p,
        min_p: options.min_p,
        typical_p: options.typical_p,
        repeat_last_n: options.repeat_last_n,
        repeat_penalty: options.repeat_penalty,
        presence_penalty: options.presence_penalty,
        frequency_penalty: options.frequency_penalty,
        logit_bias: biases
            .map(|&(token, bias)| (token, bias.clamp(FORBIDDEN, -FORBIDDEN)))
            .collect(),
        dry: dry(options),
        xtc: xtc(options),
        mirostat: mirostat(options),
        min_tokens: options.min_tokens,
        ignore_eos: options.ignore_eos,
    }
}

/// llama.cpp's value for a random seed.
const RANDOM: u32 = u32::MAX;

/// Only −1 is random. Other numbers beyond llama.cpp's range are wrapped into it, as Ollama's engine does,
/// but never to the value for random.
fn seed(seed: i64) -> Option<u32> {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the lower half is what is meant"
    )]
    let folded = seed as u32;
    (seed != -1).then(|| folded.min(RANDOM - 1))
}

fn dry(options: &Options) -> Option<Dry> {
    let is_on = options.dry_multiplier != 0.0 && options.dry_penalty_last_n != 0;
    is_on.then(|| Dry {
        multiplier: options.dry_multiplier,
        base: options.dry_base,
        allowed_length: options.dry_allowed_length,
        penalty_last_n: options.dry_penalty_last_n,
        sequence_breakers: options.dry_sequence_breakers.clone(),
    })
}

fn xtc(options: &Options) -> Option<Xtc> {
    let is_on = options.xtc_probability > 0.0 && options.xtc_threshold <= MOST_XTC_THRESHOLD;
    is_on.then_some(Xtc {
        probability: options.xtc_probability,
        threshold: options.xtc_threshold,
    })
}

fn mirostat(options: &Options) -> Option<Mirostat> {
    (options.mirostat > 0).then_some(Mirostat {
        version: options.mirostat,
        tau: options.mirostat_tau,
        eta: options.mirostat_eta,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::model::OptionPatch;

    fn read(options: &Value) -> SamplingParams {
        let patch = OptionPatch::parse(options.as_object().unwrap()).unwrap();
        assert!(patch.unknown.is_empty());
        sampling(&Options::merge(&[&patch]))
    }

    #[test]
    fn only_a_seed_of_minus_one_is_random() {
        for (given, seed) in [
            (json!(-1), None),
            (json!(null), None),
            (json!(0), Some(0)),
            (json!(42), Some(42)),
            (json!(-2), Some(u32::MAX - 1)),
            (json!(i64::MIN), Some(0)),
            (json!(u32::MAX), Some(u32::MAX - 1)),
            (json!(1_u64 << 32), Some(0)),
            (json!((1_u64 << 32) + 7), Some(7)),
            (json!(i64::MAX), Some(u32::MAX - 1)),
            (json!(1e30), Some(u32::MAX - 1)),
        ] {
            assert_eq!(read(&json!({ "seed": given })).seed, seed, "{given}");
        }
    }

    #[test]
    fn extensions_are_off_unless_asked_for() {
        let off = json!({"dry_base": 2.0, "dry_multiplier": 0.8, "dry_penalty_last_n": 0,
            "xtc_probability": 0.5, "xtc_threshold": 0.6, "mirostat": 0, "mirostat_tau": 3.0});
        for options in [json!({}), off] {
            assert_eq!(read(&options), SamplingParams::default());
        }
    }

    #[test]
    fn extensions_have_the_defaults_of_llama_server() {
        let sampling = read(&json!({"dry_multiplier": 0.8, "xtc_probability": 0.5, "mirostat": 2}));
        let dry = sampling.dry.unwrap();
        assert_eq!(
            (dry.base, dry.allowed_length, dry.penalty_last_n),
            (1.75, 2, 64)
        );
        assert_eq!(dry.sequence_breakers, ["\n", ":", "\"", "*"]);
        assert_eq!(sampling.xtc.unwrap().threshold, 0.1);
        let mirostat = sampling.mirostat.unwrap();
        assert_eq!((mirostat.tau, mirostat.eta), (5.0, 0.1));
    }

    #[test]
    fn biases_survive_the_protocol() {
        for biases in [json!({"7": false, "8": 1.5}), json!([[7, false], [8, 1.5]])] {
            let sampling = read(&json!({ "logit_bias": biases }));
            assert_eq!(sampling.logit_bias, [(7, FORBIDDEN), (8, 1.5)]);
            let frame = serde_json::to_vec(&sampling).unwrap();
            assert_eq!(
                serde_json::from_slice::<SamplingParams>(&frame).unwrap(),
                sampling
            );
        }
    }
}
