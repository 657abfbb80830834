//! `POST /v1/decisions`

use axum::extract::State;
use axum::response::Response;

use crate::api::openai::DecisionRequest;
use crate::dialect::openai::decision;
use crate::server::error::OpenAiError;
use crate::server::extract::{Client, OpenAiJson};
use crate::server::state::App;
use crate::server::stream::json;

pub(super) async fn decisions(
    State(app): State<App>,
    client: Client,
    OpenAiJson(wire): OpenAiJson<DecisionRequest>,
) -> Result<Response, OpenAiError> {
    let reading = app.block(move || decision::request(wire));
    let mut request = reading.await??;
    client.mark(&mut request.native.common);
    let native = std::mem::take(&mut request.native);
    let decisions = app.inference.decide(native).await?;
    Ok(json(&request.answer(decisions)))
}
