//! The samplers between logits and a token: those of llama-server, in the same order.
//!
//! Penalties, DRY, top-k, typical-p, top-p, min-p, XTC, temperature, random choice; or, with Mirostat,
//! temperature and Mirostat; [`biases`](super::biases) come before all of them. A switched-off sampler changes
//! nothing and is left out, and at temperature 0 so is every sampler that only removes candidates.

use std::sync::{Mutex, PoisonError};

use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::sampling::LlamaSampler;

use crate::engine::backend::shortlist::Shortlist;
use crate::engine::backend::{BackendError, SamplerSpec};
use crate::protocol::{Dry, Mirostat, SamplingParams, Token};

/// llama-server's `min_keep`: a filter may leave a single candidate.
const MIN_KEEP: usize = 0;

/// Candidates from which Mirostat 1 estimates how steeply probabilities fall (llama-server's value).
const MIROSTAT_M: i32 = 100;

/// More breakers would take long: the whole vocabulary is searched for each.
const MOST_BREAKERS: usize = 16;

/// Most bytes of a breaker; llama.cpp looks at the first forty.
const LONGEST_BREAKER: usize = 256;

/// Refuses values that llama.cpp's samplers cannot compute with.
pub(super) fn check(params: &SamplingParams) -> Result<(), BackendError> {
    let repeat = params.repeat_penalty;
    let reason = if !repeat.is_finite() || repeat <= 0.0 || !repeat.recip().is_finite() {
        "repeat_penalty must be finite and greater than 0"
    } else if !params.frequency_penalty.is_finite() || !params.presence_penalty.is_finite() {
        "frequency_penalty and presence_penalty must be finite"
    } else if !params.temperature.is_finite() {
        "temperature must be finite"
    } else if let Some(reason) = params.dry.as_ref().and_then(wrong_dry) {
        reason
    } else if let Some(reason) = params.mirostat.as_ref().and_then(wrong_mirostat) {
        reason
    } else {
        return Ok(());
    };
    Err(BackendError(reason.to_owned()))
}

fn wrong_dry(dry: &Dry) -> Option<&'static str> {
    let breakers = &dry.sequence_breakers;
    if !dry.multiplier.is_finite() || !dry.base.is_finite() || dry.base < 1.0 {
        Some("dry_multiplier must be finite, and dry_base at least 1")
    } else if dry.allowed_length < 0 {
        Some("dry_allowed_length must not be negative")
    } else if breakers.len() > MOST_BREAKERS || !breakers.iter().all(|text| is_breaker(text)) {
        Some("dry_sequence_breakers must be at most 16 texts of 256 bytes, without a zero byte")
    } else {
        None
    }
}

fn is_breaker(text: &str) -> bool {
    text.len() <= LONGEST_BREAKER && !text.contains('\0')
}

fn wrong_mirostat(mirostat: &Mirostat) -> Option<&'static str> {
    if !(1..=2).contains(&mirostat.version) {
        Some("mirostat must be 0, 1 or 2")
    } else if !mirostat.tau.is_finite() || !mirostat.eta.is_finite() {
        Some("mirostat_tau and mirostat_eta must be finite")
    } else {
        None
    }
}

/// The DRY sampler that was made last, with its parameters. Making one searches the whole vocabulary for each
/// breaker (45 ms with 262,144 tokens); copying one does not.
#[derive(Debug, Default)]
pub(super) struct LastDry(Mutex<Option<(Dry, usize, LlamaSampler)>>);

impl LastDry {
    fn get(&self, model: &LlamaModel, dry: &Dry, window: usize) -> LlamaSampler {
        let last = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, of_window, sampler)) = &*last()
            && of == dry
            && *of_window == window
        {
            return sampler.clone();
        }
        let sampler = LlamaSampler::dry(
            model,
            dry.multiplier,
            dry.base,
            dry.allowed_length,
            to_i32(window),
            &dry.sequence_breakers,
        );
        *last() = Some((dry.clone(), window, sampler.clone()));
        sampler
    }
}

/// The chain of a request; its last sampler picks the token.
pub(super) fn samplers(
    model: &LlamaModel,
    spec: &SamplerSpec<'_>,
    last_dry: &LastDry,
) -> Vec<LlamaSampler> {
    let dry = spec.params.dry.as_ref();
    let dry = dry.map(|dry| last_dry.get(model, dry, dry_window(dry, spec)));
    chain(model.n_vocab(), spec, dry)
}

/// The chain without DRY, the only sampler that needs the model.
#[cfg(test)]
pub(super) fn without_model(n_vocab: i32, spec: &SamplerSpec<'_>) -> Vec<LlamaSampler> {
    chain(n_vocab, spec, None)
}

fn chain(n_vocab: i32, spec: &SamplerSpec<'_>, dry: Option<LlamaSampler>) -> Vec<LlamaSampler> {
    let params = spec.params;
    let mut samplers = Vec::new();
    let seed = params.seed.unwrap_or_else(|| fastrand::u32(..));
    if let Some(mirostat) = mirostat(params) {
        samplers.push(LlamaSampler::temp(params.temperature));
        let Mirostat { version, tau, eta } = *mirostat;
        samplers.push(match version {
            1 => LlamaSampler::mirostat(n_vocab, seed, tau, eta, MIROSTAT_M),
            _ => LlamaSampler::mirostat_v2(seed, tau, eta),
        });
        return samplers;
    }
    if penalizes(params) && window(spec) > 0 {
        samplers.push(LlamaSampler::penalties(
            n_vocab,
            to_i32(window(spec)),
            params.repeat_penalty,
            params.frequency_penalty,
            params.presence_penalty,
        ));
    }
    samplers.extend(dry);
    if params.temperature <= 0.0 {
        samplers.push(LlamaSampler::greedy());
        return samplers;
    }
    if params.top_k > 0 {
        samplers.push(LlamaSampler::top_k(params.top_k));
    }
    if params.typical_p < 1.0 {
        samplers.push(LlamaSampler::typical(params.typical_p, MIN_KEEP));
    }
    if params.top_p < 1.0 {
        samplers.push(LlamaSampler::top_p(params.top_p, MIN_KEEP));
    }
    if params.min_p > 0.0 {
        samplers.push(LlamaSampler::min_p(params.min_p, MIN_KEEP));
    }
    if let Some(xtc) = params.xtc {
        let (probability, threshold) = (xtc.probability, xtc.threshold);
        samplers.push(LlamaSampler::xtc(probability, threshold, MIN_KEEP, seed));
    }
    samplers.push(LlamaSampler::temp(params.temperature));
    samplers.push(LlamaSampler::dist(seed));
    samplers
}

/// The shortlist for a chain that begins with biases, penalties and a top-k.
///
/// With DRY or Mirostat there is none: DRY changes the logits of tokens that only it knows, Mirostat needs all
/// tokens.
pub(super) fn shortlist(
    biased: impl Iterator<Item = Token>,
    spec: &SamplerSpec<'_>,
) -> Option<Shortlist> {
    let params = spec.params;
    let top_k = usize::try_from(params.top_k)
        .ok()
        .filter(|top_k| *top_k > 0)?;
    if params.temperature <= 0.0 || params.dry.is_some() || params.mirostat.is_some() {
        return None;
    }
    let n_recent = if penalizes(params) { window(spec) } else { 0 };
    Some(Shortlist::new(top_k, biased.collect(), n_recent))
}

/// How many of the prompt's last tokens the chain looks back on.
pub(super) fn n_seen(spec: &SamplerSpec<'_>) -> usize {
    let dry = spec.params.dry.as_ref();
    window(spec).max(dry.map_or(0, |dry| dry_window(dry, spec)))
}

/// How many tokens the penalties look back on.
fn window(spec: &SamplerSpec<'_>) -> usize {
    within_context(spec.params.repeat_last_n, spec)
}

fn dry_window(dry: &Dry, spec: &SamplerSpec<'_>) -> usize {
    within_context(dry.penalty_last_n, spec)
}

/// `n_tokens`, or the whole context if that is negative. At most the context, because samplers allocate memory
/// for all of them at the start.
fn within_context(n_tokens: i32, spec: &SamplerSpec<'_>) -> usize {
    let n_ctx = usize::try_from(spec.n_ctx).unwrap_or(usize::MAX);
    usize::try_from(n_tokens).map_or(n_ctx, |n_tokens| n_tokens.min(n_ctx))
}

fn mirostat(params: &SamplingParams) -> Option<&Mirostat> {
    let mirostat = params.mirostat.as_ref();
    mirostat.filter(|_| params.temperature > 0.0)
}

#[expect(
    clippy::float_cmp,
    reason = "exactly this value switches a penalty off"
)]
fn penalizes(params: &SamplingParams) -> bool {
    params.repeat_penalty != 1.0
        || params.frequency_penalty != 0.0
        || params.presence_penalty != 0.0
}

fn to_i32(n: usize) -> i32 {
    i32::try_from(n).unwrap_or(i32::MAX)
}
