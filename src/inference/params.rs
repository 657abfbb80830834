//! The engine's parameters for a request.

use super::sampling::sampling;
use super::types::RequestOptions;
use crate::model::Options;
use crate::protocol::{Constraint, Exempt, GenerateParams, PromptPart};

/// Ollama's error for a prompt that could be cut, but must not be.
const TOO_LONG: &str = "the prompt is longer than the context length currently available to the model; shorten the prompt, adjust the context length in settings, or use a model with a longer context length";

/// Returns that error for requests that forbid cutting.
pub(super) fn too_long(common: &RequestOptions, has_images: bool) -> Option<&'static str> {
    let may_cut = common.truncate != Some(false) && !has_images;
    (may_cut && common.shift == Some(false)).then_some(TOO_LONG)
}

/// The most tokens of an answer: as many as requested, but at most ten contexts. `None` = no limit, if the
/// length of the context is not known (0).
pub fn bounded_n_predict(num_predict: i64, n_ctx: u32) -> Option<u32> {
    let n_predict = u32::try_from(num_predict);
    if n_ctx == 0 {
        return n_predict.ok();
    }
    let limit = n_ctx.saturating_mul(10);
    Some(n_predict.map_or(limit, |n_predict| n_predict.min(limit)))
}

/// Translates options into the engine's parameters.
pub(super) fn params(
    common: &RequestOptions,
    options: &Options,
    n_ctx: u32,
    prompt: Vec<PromptPart>,
    constraint: Option<Constraint>,
) -> GenerateParams {
    let shift = common.shift.unwrap_or(true);
    GenerateParams {
        prompt,
        add_special: true,
        n_ctx,
        cut: common.truncate != Some(false) && shift,
        n_predict: bounded_n_predict(options.num_predict, n_ctx),
        sampling: sampling(options),
        stop: options
            .stop
            .iter()
            .filter(|text| !text.is_empty())
            .cloned()
            .collect(),
        preserved: Vec::new(),
        constraint,
        exempt: Exempt::default(),
        prediction: common.prediction.clone(),
        logprobs: common.logprobs.then_some(common.top_logprobs),
        logprobs_of: common.logprobs_of.clone(),
        prompt_logprobs: None,
        n_keep: options.num_keep,
        shift,
        priority: common.priority,
        client: common.client.clone(),
    }
}

/// The stop sequences that the request itself names, not its model.
pub(super) fn own_stops(common: &RequestOptions, options: &Options) -> Vec<String> {
    if common.options.stop.is_some() {
        options.stop.clone()
    } else {
        Vec::new()
    }
}
