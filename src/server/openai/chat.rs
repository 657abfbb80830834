//! `POST /v1/chat/completions`

use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;

use super::choices::{self, Opening, Spell};
use super::{answer, head};
use crate::api::openai::ChatRequest;
use crate::dialect::openai::chat::{self, ChatFold, ChatStream, Style};
use crate::inference::{self, Chunk, Inference};
use crate::server::error::OpenAiError;
use crate::server::extract::{Client, OpenAiJson};
use crate::server::state::App;
use crate::server::stream::{SSE_DONE, event, to_bytes, told};

pub(super) async fn chat(
    State(app): State<App>,
    client: Client,
    OpenAiJson(request): OpenAiJson<ChatRequest>,
) -> Result<Response, OpenAiError> {
    let head = head("chatcmpl-", &request.model);
    let is_stream = request.stream;
    let style = Style {
        include_usage: request.stream_options.unwrap_or_default().include_usage,
        has_functions: !request.functions.is_empty(),
        service_tier: chat::service_tier(&request.service_tier),
        is_predicted: request.prediction.is_some(),
    };
    // Images are decoded here.
    let reading = app.tasks.spawn_blocking(move || chat::requests(request));
    let natives = reading.await??;
    let n = natives.len();
    let inference = app.inference.clone();
    let openings = natives.into_iter().map(move |mut native| {
        client.mark(&mut native.common);
        start(inference.clone(), native)
    });
    let chunks = choices::merge(openings);
    if is_stream {
        let spell = ChatStream::new(head, n, style);
        return choices::stream_answer(chunks, spell, &app.cut_off).await;
    }
    let mut fold = ChatFold::new(head, n, style);
    let is_cut = choices::collect(chunks, |index, chunk| fold.push(index, chunk)).await?;
    Ok(told(answer(to_bytes(&fold.end())), is_cut))
}

fn start(inference: Inference, native: inference::ChatRequest) -> Opening {
    Box::pin(async move { inference.chat(native).await })
}

impl Spell for ChatStream {
    fn chunk(&mut self, index: usize, chunk: Chunk) -> Vec<Bytes> {
        let events = self.push(index, chunk);
        events.iter().map(|chunk| event(None, chunk)).collect()
    }

    fn end(&mut self) -> Vec<Bytes> {
        let usage = Self::end(self).map(|chunk| event(None, &chunk));
        usage.into_iter().chain([SSE_DONE]).collect()
    }
}
