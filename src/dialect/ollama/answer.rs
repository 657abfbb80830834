//! Converts chunks to Ollama's responses: one object per chunk, with counters in the last one.

use std::time::Duration;

use jiff::Timestamp;

use crate::api::ollama as api;
use crate::inference::{Chunk, Done, DoneReason, EmbedResponse, Logprob, Timings};
use crate::units::rfc3339_utc;

/// Converts a chunk of a chat; `model` is the name as the client sent it.
pub fn chat_chunk(model: &str, chunk: Chunk, now: Timestamp) -> api::ChatResponse {
    let end = End::new(chunk.done);
    let message = if end.debug.is_some() {
        api::ResponseMessage::default()
    } else {
        api::ResponseMessage {
            role: "assistant".to_owned(),
            content: chunk.content,
            thinking: chunk.thinking,
            tool_calls: chunk.tool_calls,
        }
    };
    api::ChatResponse {
        model: model.to_owned(),
        created_at: rfc3339_utc(now),
        message,
        done: end.done,
        done_reason: end.reason.to_owned(),
        debug_info: end.debug,
        logprobs: chunk.logprobs.into_iter().map(logprob).collect(),
        metrics: end.metrics,
    }
}

/// Converts a chunk of a generation; `model` is the name as the client sent it.
pub fn generate_chunk(model: &str, mut chunk: Chunk, now: Timestamp) -> api::GenerateResponse {
    let end = End::new(chunk.done);
    for call in &mut chunk.tool_calls {
        call.id.clear();
    }
    api::GenerateResponse {
        model: model.to_owned(),
        created_at: rfc3339_utc(now),
        response: chunk.content,
        thinking: chunk.thinking,
        done: end.done,
        done_reason: end.reason.to_owned(),
        context: end.context,
        metrics: end.metrics,
        tool_calls: chunk.tool_calls,
        debug_info: end.debug,
        logprobs: chunk.logprobs.into_iter().map(logprob).collect(),
    }
}

/// Makes the response of `/api/embed`; a request that only loads has no counters.
pub fn embed_answer(model: String, answer: EmbedResponse) -> api::EmbedResponse {
    let nonzero = |number: u64| (number > 0).then_some(number);
    api::EmbedResponse {
        model,
        embeddings: answer.vectors,
        total_duration: nonzero(nanos(answer.total)),
        load_duration: nonzero(nanos(answer.load)),
        prompt_eval_count: nonzero(answer.n_prompt.into()),
    }
}

/// Makes the response of `/api/embeddings`.
pub fn embeddings_answer(answer: EmbedResponse) -> api::EmbeddingsResponse {
    let first = answer.vectors.into_iter().next().unwrap_or_default();
    api::EmbeddingsResponse {
        embedding: first.into_iter().map(f64::from).collect(),
    }
}

/// The fields that only the last object has.
#[derive(Debug, Default)]
struct End {
    done: bool,
    reason: &'static str,
    context: Option<Vec<i32>>,
    debug: Option<api::DebugInfo>,
    metrics: api::Metrics,
}

impl End {
    fn new(done: Option<Done>) -> Self {
        let Some(done) = done else {
            return Self::default();
        };
        let prompt_truncated = done.prompt_truncated;
        Self {
            done: done.reason != DoneReason::Debug,
            reason: match done.reason {
                DoneReason::Stop | DoneReason::StopSequence(_) => "stop",
                DoneReason::Length => "length",
                DoneReason::Load => "load",
                DoneReason::Unload => "unload",
                DoneReason::Debug => "",
            },
            context: done.context,
            debug: done
                .debug
                .map(|(rendered_template, images)| api::DebugInfo {
                    rendered_template,
                    image_count: images as u64,
                }),
            metrics: api::Metrics {
                prompt_truncated,
                ..done.timings.map(metrics).unwrap_or_default()
            },
        }
    }
}

fn metrics(timings: Timings) -> api::Metrics {
    api::Metrics {
        total_duration: nanos(timings.total),
        load_duration: nanos(timings.load),
        prompt_eval_count: timings.n_prompt.into(),
        prompt_eval_cached_count: Some(timings.n_cached.into()),
        prompt_eval_duration: nanos(timings.prompt),
        eval_count: timings.n_generated.into(),
        eval_duration: nanos(timings.generate),
        prompt_truncated: false,
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fn logprob(entry: Logprob) -> api::Logprob {
    api::Logprob {
        token: entry.token,
        logprob: entry.logprob.into(),
        bytes: entry.bytes,
        top_logprobs: entry
            .top
            .into_iter()
            .map(|top| api::TopLogprob {
                token: top.token,
                logprob: top.logprob.into(),
                bytes: top.bytes,
            })
            .collect(),
    }
}
