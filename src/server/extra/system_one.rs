//! `POST /v1/systemone`

use axum::extract::State;
use axum::response::Response;

use super::tokens::model_or_loaded;
use crate::api::system_one::SystemOneRequest;
use crate::dialect::system_one;
use crate::server::error::OpenAiError;
use crate::server::extract::{Client, OpenAiJson};
use crate::server::state::App;
use crate::server::stream::json;

pub(super) async fn system_one(
    State(app): State<App>,
    client: Client,
    OpenAiJson(mut wire): OpenAiJson<SystemOneRequest>,
) -> Result<Response, OpenAiError> {
    model_or_loaded(&app, &mut wire.model).await?;
    let reading = app.block(move || system_one::system_one(wire));
    let mut request = reading.await??;
    client.mark(&mut request.native.common);
    let native = std::mem::take(&mut request.native);
    let decisions = app.inference.decide(native).await?;
    Ok(json(&request.answer(decisions)))
}
