//! llama-server's `/infill`.

use crate::api::llama_server::{ExtraFile, InfillRequest, InfillResponse};
use crate::inference::{Chunk, DoneReason, GenerateRequest, RequestOptions};
use crate::model::options::{OptionPatch, narrow, single};

/// Converts a request: the model's template places prefix and suffix as in its training.
pub fn infill(wire: InfillRequest) -> GenerateRequest {
    let options = OptionPatch {
        num_predict: wire.n_predict,
        temperature: wire.temperature.map(single),
        top_k: wire.top_k.map(narrow),
        top_p: wire.top_p.map(single),
        min_p: wire.min_p.map(single),
        seed: wire.seed,
        stop: (!wire.stop.is_empty()).then_some(wire.stop),
        ..OptionPatch::default()
    };
    let extra = wire.input_extra.into_iter().map(|file| {
        let ExtraFile { filename, text } = file;
        format!("{filename}\n{text}\n\n")
    });
    GenerateRequest {
        prompt: extra.collect::<String>() + &wire.input_prefix + &wire.prompt,
        suffix: wire.input_suffix,
        common: RequestOptions {
            model: wire.model,
            options,
            ..RequestOptions::default()
        },
        ..GenerateRequest::default()
    }
}

/// Makes an event of a stream, or the whole answer if `chunk` joins all chunks.
pub fn infilled(model: &str, chunk: Chunk) -> InfillResponse {
    let mut response = InfillResponse {
        content: chunk.content,
        model: model.to_owned(),
        stop_type: "none",
        truncated: chunk.prompt_truncated,
        ..InfillResponse::default()
    };
    let Some(done) = chunk.done else {
        return response;
    };
    response.stop = true;
    response.stop_type = match done.reason {
        DoneReason::Length => "limit",
        DoneReason::StopSequence(text) => {
            response.stopping_word = text;
            "word"
        }
        _ => "eos",
    };
    if let Some(timings) = done.timings {
        response.tokens_predicted = timings.n_generated.into();
        response.tokens_evaluated = timings.n_prompt.into();
        response.tokens_cached = timings.n_cached.into();
    }
    response
}
