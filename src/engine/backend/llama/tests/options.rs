//! Sampling options: the picked tokens are those that llama.cpp's own samplers pick from the whole vocabulary,
//! in llama-server's order.

use llama_cpp_2::token::data::LlamaTokenData;
use llama_cpp_2::token::data_array::LlamaTokenDataArray;
use llama_cpp_2::token::logit_bias::LlamaLogitBias;

use super::*;
use crate::protocol::{Dry, Mirostat, Xtc};

const SEED: u32 = 9;
const TEMPERATURE: f32 = 1.2;

fn base() -> SamplingParams {
    SamplingParams {
        seed: Some(SEED),
        temperature: TEMPERATURE,
        top_k: 0,
        top_p: 1.0,
        ..SamplingParams::default()
    }
}

fn dry() -> Dry {
    Dry {
        multiplier: 0.8,
        base: 1.75,
        allowed_length: 2,
        penalty_last_n: -1,
        sequence_breakers: vec!["\n".to_owned(), ":".to_owned()],
    }
}

/// Logits with one token far above the others, and a few that compete.
fn logits(random: &mut fastrand::Rng, n_vocab: usize, best: Option<Token>) -> Vec<f32> {
    let mut logits: Vec<f32> = (0..n_vocab).map(|_| random.f32() * 10.0 - 8.0).collect();
    for _ in 0..20 {
        logits[random.usize(..n_vocab)] = random.f32() * 6.0 + 6.0;
    }
    if let Some(best) = best {
        logits[usize::try_from(best).unwrap()] = 12.5;
    }
    logits
}

/// Samples from many made-up rows, and compares with a chain that the test spells out.
fn check(
    llama: &Llama,
    params: SamplingParams,
    prompt: &[Token],
    samplers: Vec<LlamaSampler>,
) -> Vec<Token> {
    let spec = Spec {
        params,
        ..Spec::default()
    };
    let mut ours = spec.sampler(llama, prompt).unwrap();
    let mut theirs = LlamaSampler::chain(samplers, true);
    theirs.accept_many(prompt.iter().map(|token| LlamaToken(*token)));
    let mut random = fastrand::Rng::with_seed(3);
    let mut picked = Vec::new();
    for at in 0..120_usize {
        // The logits favor repeating the prompt again and again.
        let best = prompt.get(at % prompt.len().max(1)).copied();
        let logits = logits(&mut random, llama.info.n_vocab as usize, best);
        let data = (0..).zip(&logits);
        let data = data.map(|(token, logit)| LlamaTokenData::new(LlamaToken(token), *logit, 0.0));
        let mut candidates = LlamaTokenDataArray::new(data.collect(), false);
        theirs.apply(&mut candidates);
        let expected = candidates.selected_token().unwrap();
        theirs.accept(expected);
        let token = ours.pick(&logits).unwrap();
        assert_eq!(token, expected.0, "pick {at}: {:?}", spec.params);
        picked.push(token);
    }
    picked
}

#[test]
fn every_option_picks_what_llama_cpps_samplers_pick() {
    let _one = one_at_a_time();
    let Some(path) = model(SMOLLM2) else { return };
    let llama = load(&params(path));
    let n_vocab = i32::try_from(llama.info.n_vocab).unwrap();
    let (temp, dist) = (
        || LlamaSampler::temp(TEMPERATURE),
        || LlamaSampler::dist(SEED),
    );
    let plain = check(&llama, base(), &[], vec![temp(), dist()]);
    let different = |params: SamplingParams, samplers: Vec<LlamaSampler>| {
        assert_ne!(check(&llama, params, &[], samplers), plain);
    };

    let mut min_p = base();
    min_p.min_p = 0.3;
    different(min_p, vec![LlamaSampler::min_p(0.3, 0), temp(), dist()]);

    let mut typical = base();
    typical.typical_p = 0.4;
    different(typical, vec![LlamaSampler::typical(0.4, 0), temp(), dist()]);

    let mut biased = base();
    biased.logit_bias = vec![(17, 11.0), (18, 13.0)];
    let bias = |token, bias| LlamaLogitBias::new(LlamaToken(token), bias);
    let biases = [bias(17, 11.0), bias(18, 13.0)];
    let samplers = vec![LlamaSampler::logit_bias(n_vocab, &biases), temp(), dist()];
    different(biased, samplers);

    // With and without a top-k, which makes a shortlist.
    for top_k in [0, 12] {
        let mut xtc = base();
        xtc.top_k = top_k;
        xtc.xtc = Some(Xtc {
            probability: 0.6,
            threshold: 0.05,
        });
        let mut samplers = vec![LlamaSampler::xtc(0.6, 0.05, 0, SEED), temp(), dist()];
        if top_k > 0 {
            samplers.insert(0, LlamaSampler::top_k(top_k));
        }
        different(xtc, samplers);
    }

    for version in [1, 2] {
        let mut mirostat = base();
        // Samplers that Mirostat replaces.
        mirostat.top_k = 5;
        mirostat.repeat_penalty = 1.3;
        mirostat.mirostat = Some(Mirostat {
            version,
            tau: 2.0,
            eta: 0.2,
        });
        let sampler = match version {
            1 => LlamaSampler::mirostat(n_vocab, SEED, 2.0, 0.2, 100),
            _ => LlamaSampler::mirostat_v2(SEED, 2.0, 0.2),
        };
        different(mirostat, vec![temp(), sampler]);
    }
}

#[test]
fn dry_picks_what_llama_cpps_sampler_picks_and_stops_repetitions() {
    let _one = one_at_a_time();
    let Some(path) = model(SMOLLM2) else { return };
    let llama = load(&params(path));
    let prompt = tokens(&llama, STORY);
    let repeated = prompt.repeat(2);
    let sampler = |dry: &Dry, n| {
        LlamaSampler::dry(
            &llama.model,
            dry.multiplier,
            dry.base,
            dry.allowed_length,
            n,
            &dry.sequence_breakers,
        )
    };
    let greedy = SamplingParams {
        temperature: 0.0,
        ..base()
    };
    let verbatim = check(
        &llama,
        greedy.clone(),
        &repeated,
        vec![LlamaSampler::greedy()],
    );
    assert_eq!(verbatim[..prompt.len()], prompt);
    for penalty_last_n in [-1, 24] {
        let dry = Dry {
            penalty_last_n,
            ..dry()
        };
        let n = if penalty_last_n < 0 { 2048 } else { 24 };
        let mut params = greedy.clone();
        params.dry = Some(dry.clone());
        let samplers = vec![sampler(&dry, n), LlamaSampler::greedy()];
        let picked = check(&llama, params, &repeated, samplers);
        let n_repeated = picked.iter().zip(&verbatim).filter(|(a, b)| a == b).count();
        assert!(n_repeated < verbatim.len(), "{n_repeated}");
        // With the same breakers, the sampler is a copy of the first. A top-k would have a shortlist, but not
        // with DRY.
        let mut params = base();
        params.top_k = 40;
        params.repeat_penalty = 1.1;
        params.dry = Some(dry.clone());
        let samplers = vec![
            LlamaSampler::penalties(49152, 64, 1.1, 0.0, 0.0),
            sampler(&dry, n),
            LlamaSampler::top_k(40),
            LlamaSampler::temp(TEMPERATURE),
            LlamaSampler::dist(SEED),
        ];
        check(&llama, params, &repeated, samplers);
    }
}

#[test]
fn options_that_cannot_be_computed_with_are_refused() {
    let _one = one_at_a_time();
    let Some(path) = model(SMOLLM2) else { return };
    let llama = load(&params(path));
    let with_dry = |change: fn(&mut Dry)| {
        let mut dry = dry();
        change(&mut dry);
        let mut params = base();
        params.dry = Some(dry);
        params
    };
    let mut third = base();
    third.mirostat = Some(Mirostat {
        version: 3,
        tau: 5.0,
        eta: 0.1,
    });
    for (params, name) in [
        (
            with_dry(|dry| dry.multiplier = f32::INFINITY),
            "dry_multiplier",
        ),
        (with_dry(|dry| dry.base = 0.5), "dry_base"),
        (
            with_dry(|dry| dry.allowed_length = -1),
            "dry_allowed_length",
        ),
        (
            with_dry(|dry| dry.sequence_breakers[0] = "\0".to_owned()),
            "dry_sequence_breakers",
        ),
        (
            with_dry(|dry| dry.sequence_breakers = vec![".".to_owned(); 17]),
            "dry_sequence_breakers",
        ),
        (third, "mirostat"),
    ] {
        let spec = Spec {
            params,
            ..Spec::default()
        };
        let error = spec.sampler(&llama, &[]).err().unwrap();
        assert!(error.to_string().contains(name), "{error}");
    }
}
