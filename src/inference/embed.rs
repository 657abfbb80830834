//! Embeddings: texts in, vectors out.

use std::time::Instant;

use super::answer::engine_error;
use super::prepare::{self, Route, merge_options};
use super::types::{EmbedRequest, EmbedResponse};
use super::{Inference, InferenceError, InferenceErrorKind};
use crate::protocol::EmbedParams;

/// Runs an embedding request.
pub(super) async fn run(
    inference: &Inference,
    request: EmbedRequest,
) -> Result<EmbedResponse, InferenceError> {
    let received = Instant::now();
    let route = if request.legacy {
        Route::LegacyEmbeddings
    } else {
        Route::Embed
    };
    let prepared = prepare::find(inference, &request.common.model, route).await?;
    let options = merge_options(&prepared, &request.common)?;
    let loaded = prepare::load(inference, &prepared, &options, request.common.keep_alive).await?;
    if request.inputs.is_empty() {
        return Ok(EmbedResponse::default());
    }
    let params = EmbedParams {
        inputs: request.inputs,
        n_ctx: loaded.lease.n_ctx(options.num_ctx),
        truncate: !request.legacy && request.common.truncate.unwrap_or(true),
        normalize: !request.legacy,
        priority: request.common.priority,
        client: request.common.client,
    };
    let result = loaded.lease.runner().embed(params).await.map_err(|error| {
        let mut error = engine_error(&error);
        if request.legacy {
            error.kind = InferenceErrorKind::Internal;
        }
        error
    })?;
    let mut vectors = result.vectors;
    if request.dimensions > 0 {
        for vector in &mut vectors {
            shorten(vector, request.dimensions);
        }
    }
    Ok(EmbedResponse {
        vectors,
        n_prompt: result.n_tokens,
        total: received.elapsed(),
        load: loaded.load,
    })
}

/// Cuts a vector to its first values and gives it length 1 again.
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
