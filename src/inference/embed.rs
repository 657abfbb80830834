//! Embeddings: texts in, vectors out.

use std::time::Instant;

use futures_util::stream::{self, StreamExt as _};

use super::context::Context;
use super::error::{ErrorKind, RequestError, invalid};
use super::load;
use super::prepare::{self, Route, merge_options};
use super::refusal::engine_error;
use super::types::{EmbedRequest, EmbedResponse};
use crate::families;
use crate::metrics::account;
use crate::model::gguf::Metadata;
use crate::protocol::{EmbedInput, EmbedParams, EmbedResult};
use crate::scheduler::Lease;

/// Runs an embedding request.
pub(super) async fn run(
    context: &Context,
    request: EmbedRequest,
) -> Result<EmbedResponse, RequestError> {
    let received = Instant::now();
    let route = if request.legacy {
        Route::LegacyEmbeddings
    } else {
        Route::Embed
    };
    let prepared = prepare::find(context, &request.common, route).await?;
    let options = merge_options(&prepared, &request.common)?;
    let loaded = load::load(context, &prepared, &options, &request.common).await?;
    if request.inputs.is_empty() {
        return Ok(EmbedResponse::default());
    }
    let lease = &loaded.lease;
    let most = n_ctx(lease, options.num_ctx, request.legacy);
    let params = EmbedParams {
        inputs: Vec::new(),
        n_ctx: most,
        truncate: !request.legacy && request.common.truncate.unwrap_or(true),
        normalize: !(request.legacy && is_raw(&prepared.header)),
        priority: request.common.priority,
        client: request.common.client,
    };
    let computed = compute(lease, params, request.inputs).await;
    let mut result = computed.map_err(|error| of_route(error, request.legacy))?;
    account::note(|facts| facts.n_prompt += u64::from(result.n_tokens));
    loaded.meter.charge(result.n_tokens);
    if request.dimensions > 0 {
        for vector in &mut result.vectors {
            shorten(vector, request.dimensions);
        }
    }
    Ok(EmbedResponse {
        vectors: result.vectors,
        n_prompt: result.n_tokens,
        total: received.elapsed(),
        load: loaded.load,
    })
}

/// Computes the vectors of all inputs, a few portions at once; `params` has no inputs itself.
///
/// # Errors
/// Too many inputs, or what the engine reports.
pub(super) async fn compute(
    lease: &Lease,
    params: EmbedParams,
    inputs: Vec<EmbedInput>,
) -> Result<EmbedResult, RequestError> {
    let n_values = inputs.len() * lease.info().n_embd as usize;
    if n_values > MOST_VALUES {
        let most = MOST_VALUES / lease.info().n_embd.max(1) as usize;
        return Err(invalid(format!(
            "input has {} texts; this model takes at most {most} in one request",
            inputs.len()
        )));
    }
    let portions = stream::iter(portions(inputs)).map(|inputs| {
        let params = EmbedParams {
            inputs,
            ..params.clone()
        };
        lease.runner().embed(params)
    });
    let mut portions = portions.buffered(PORTIONS_AT_ONCE);
    let mut whole = EmbedResult::default();
    while let Some(result) = portions.next().await {
        let mut result = result.map_err(|error| engine_error(&error))?;
        whole.vectors.append(&mut result.vectors);
        whole.n_tokens = whole.n_tokens.saturating_add(result.n_tokens);
    }
    Ok(whole)
}

/// The most tokens of an input. As in Ollama, `/api/embed` uses exactly the requested number, even a very
/// small one, and 0 means the model's trained length.
pub(super) fn n_ctx(lease: &Lease, num_ctx: Option<u32>, is_legacy: bool) -> u32 {
    match num_ctx {
        Some(0) if !is_legacy => lease.n_ctx(Some(u32::MAX)),
        Some(few) if !is_legacy => lease.n_ctx(Some(few)).min(few),
        num_ctx => lease.n_ctx(num_ctx),
    }
}

/// Whether the legacy route returns a model's vectors without normalizing them, as Ollama does for models
/// that earlier versions did not normalize.
pub(super) fn is_raw(metadata: &Metadata) -> bool {
    let is_pooled = metadata.number(".pooling_type").is_some();
    let architecture = families::architecture(metadata.architecture());
    is_pooled && architecture.is_some_and(|architecture| (architecture.raw_embeddings)(metadata))
}

/// The most numbers in a response: 32,000 vectors of a large model, some 400 MB of JSON.
const MOST_VALUES: usize = 32 << 20;

/// How many texts, and how many bytes of them, go to the runner together: enough to fill its batches.
const PORTION: usize = 256;
const PORTION_BYTES: usize = 1 << 20;

/// Portions of a request in the runner at once: it prepares one while it computes another.
const PORTIONS_AT_ONCE: usize = 2;

/// Divides a list of texts into portions.
pub(super) fn portions(inputs: Vec<EmbedInput>) -> Vec<Vec<EmbedInput>> {
    let mut portions = vec![Vec::new()];
    let mut n_bytes = 0;
    for input in inputs {
        let is_full = portions.last().is_some_and(|portion: &Vec<EmbedInput>| {
            let fits = portion.len() < PORTION && n_bytes + input.n_bytes() <= PORTION_BYTES;
            !portion.is_empty() && !fits
        });
        if is_full {
            portions.push(Vec::new());
            n_bytes = 0;
        }
        n_bytes += input.n_bytes();
        if let Some(portion) = portions.last_mut() {
            portion.push(input);
        }
    }
    portions
}

/// The legacy route reports all failures of the engine as internal errors.
fn of_route(mut error: RequestError, is_legacy: bool) -> RequestError {
    if is_legacy && error.kind != ErrorKind::Overloaded {
        error.kind = ErrorKind::Internal;
    }
    error
}

/// Truncates a vector and normalizes it to length 1 again.
pub(super) fn shorten(vector: &mut Vec<f32>, dimensions: usize) {
    if dimensions >= vector.len() {
        return;
    }
    vector.truncate(dimensions);
    let length = vector.iter().map(|value| value * value).sum::<f32>().sqrt();
    if length > 0.0 {
        for value in vector {
            *value /= length;
        }
    }
}
