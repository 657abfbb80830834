//! `POST /infill`

use axum::extract::State;
use axum::response::Response;
use futures_util::StreamExt as _;

use super::tokens::model_or_loaded;
use crate::api::llama_server::InfillRequest;
use crate::dialect::llama_server;
use crate::server::error::OpenAiError;
use crate::server::extract::{Client, OpenAiJson};
use crate::server::state::App;
use crate::server::stream::{SSE, event, fold, json, open, streamed};

pub(super) async fn infill(
    State(app): State<App>,
    client: Client,
    OpenAiJson(mut wire): OpenAiJson<InfillRequest>,
) -> Result<Response, OpenAiError> {
    model_or_loaded(&app, &mut wire.model).await?;
    let (model, is_stream) = (wire.model.clone(), wire.stream);
    let mut native = llama_server::infill(wire);
    client.mark(&mut native.common);
    let inference = app.inference.clone();
    if !is_stream {
        let whole = fold(inference.generate(native).await?).await?;
        return Ok(json(&llama_server::infilled(&model, whole)));
    }
    let chunks = open(async move { inference.generate(native).await }).await?;
    let frames = chunks.map(move |chunk| {
        let chunk = chunk?;
        Ok::<_, crate::error::RequestError>(event(None, &llama_server::infilled(&model, chunk)))
    });
    Ok(streamed(SSE, frames, &app.cut_off))
}
