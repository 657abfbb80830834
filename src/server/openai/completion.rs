//! `POST /v1/completions`

use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use futures_util::StreamExt as _;

use super::choices::{self, Opening, Spell};
use super::{answer, head};
use crate::api::openai::CompletionRequest;
use crate::dialect::openai::completion::{self, CompletionFold, CompletionStream};
use crate::inference::{Chunk, GenerateRequest, Inference};
use crate::server::error::OpenAiError;
use crate::server::extract::{Client, OpenAiJson};
use crate::server::state::App;
use crate::server::stream::{SSE, SSE_DONE, event, is_cut, open, streamed, to_bytes, told};

pub(super) async fn completion(
    State(app): State<App>,
    client: Client,
    OpenAiJson(request): OpenAiJson<CompletionRequest>,
) -> Result<Response, OpenAiError> {
    let head = head("cmpl-", &request.model);
    let is_stream = request.stream;
    let include_usage = request.stream_options.unwrap_or_default().include_usage;
    let requests = completion::requests(request)?;
    let (n, kept) = (requests.natives.len(), requests.kept);
    let inference = app.inference.clone();
    let openings = requests.natives.into_iter().map(move |mut native| {
        native.common.client.clone_from(&client.0);
        start(inference.clone(), native)
    });
    let chunks = choices::merge(openings);
    if is_stream {
        let mut chunks = open(async { Ok(chunks) }).await?.peekable();
        let is_cut = is_cut(&mut chunks, |(_, chunk)| chunk.prompt_truncated);
        let chunks = chunks.boxed();
        let spell = CompletionStream::new(head, n, kept.n_made, include_usage);
        let frames = choices::frames(chunks, spell);
        return Ok(told(streamed(SSE, frames, &app.cut_off), is_cut));
    }
    let mut fold = CompletionFold::new(head, n, kept);
    let mut is_cut = false;
    let each = |index, chunk: Chunk| {
        is_cut |= chunk.prompt_truncated;
        fold.push(index, chunk);
    };
    choices::collect(chunks, each).await?;
    Ok(told(answer(to_bytes(&fold.end())), is_cut))
}

fn start(inference: Inference, native: GenerateRequest) -> Opening {
    Box::pin(async move { inference.generate(native).await })
}

impl Spell for CompletionStream {
    fn chunk(&mut self, index: usize, chunk: Chunk) -> Vec<Bytes> {
        let chunk = self.push(index, chunk);
        chunk.iter().map(|chunk| event(None, chunk)).collect()
    }

    fn end(&mut self) -> Vec<Bytes> {
        let usage = Self::end(self).map(|chunk| event(None, &chunk));
        usage.into_iter().chain([SSE_DONE]).collect()
    }
}
