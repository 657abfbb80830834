//! `/v1/chat/completions`, and stored chats.

mod record;
mod stored;

use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use bytes::Bytes;

use super::choices::{self, Opening, Spell};
use super::{answer, head};
use crate::api::openai::ChatRequest;
use crate::dialect::openai::chat::{self, ChatFold, ChatStream, Kept, Style};
use crate::error::RequestError;
use crate::inference::{self, Chunk, Inference};
use crate::server::access::Access;
use crate::server::error::OpenAiError;
use crate::server::extract::{Client, OpenAiJson};
use crate::server::router::{Routes, route, route_by_method};
use crate::server::state::App;
use crate::server::stream::{SSE_DONE, event, to_bytes, told};
use record::{Record, recorded};

/// The routes.
pub(super) fn routes() -> Routes {
    let chats = get(stored::list).post(create);
    let chat = get(stored::retrieve)
        .post(stored::update)
        .delete(stored::delete);
    Routes::new()
        .merge(route_by_method("/v1/chat/completions", "GET, POST", chats))
        .merge(route_by_method(
            "/v1/chat/completions/{id}",
            "GET, POST, DELETE",
            chat,
        ))
        .merge(route(
            "/v1/chat/completions/{id}/messages",
            "GET",
            stored::messages,
        ))
}

async fn create(
    State(app): State<App>,
    client: Client,
    access: Access,
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
    // The answers of a batch job are in its result file.
    let is_stored = request.store && !client.is_job() && app.responses.history().stores();
    let id = head.id.clone();
    // Images are decoded here.
    let reading = app.tasks.spawn_blocking(move || {
        let kept = is_stored.then(|| Kept::of(&request, &id)).transpose()?;
        Ok::<_, RequestError>((chat::requests(request)?, kept))
    });
    let (natives, kept) = reading.await??;
    let n = natives.len();
    let inference = app.inference.clone();
    let openings = natives.into_iter().map(move |mut native| {
        client.mark(&mut native.common);
        native.common.call_parts = is_stream;
        start(inference.clone(), native)
    });
    let mut chunks = choices::merge(openings);
    if let Some(kept) = kept {
        let fold = ChatFold::new(head.clone(), n, style);
        let record = Record::new(app.clone(), access.owner(), fold, kept);
        chunks = recorded(chunks, record);
    }
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
