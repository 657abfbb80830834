//! `POST /v1/completions`

use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;

use super::choices::{self, Opening, Spell};
use super::{answer, head};
use crate::api::openai::CompletionRequest;
use crate::dialect::openai::completion::{self, CompletionFold, CompletionStream};
use crate::inference::{Chunk, GenerateRequest, Inference};
use crate::server::error::OpenAiError;
use crate::server::extract::{Client, OpenAiJson};
use crate::server::state::App;
use crate::server::stream::{SSE_DONE, event, to_bytes, told};

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
        client.mark(&mut native.common);
        start(inference.clone(), native)
    });
    let chunks = choices::merge(openings);
    if is_stream {
        let spell = CompletionStream::new(head, n, kept.n_made, include_usage);
        return choices::stream_answer(chunks, spell, &app.cut_off).await;
    }
    let mut fold = CompletionFold::new(head, n, kept);
    let is_cut = choices::collect(chunks, |index, chunk| fold.push(index, chunk)).await?;
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
