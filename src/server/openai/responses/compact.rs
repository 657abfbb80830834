//! `POST /v1/responses/compact`: a summary of a conversation, made by the model.

use axum::extract::State;
use axum::response::Response;

use super::known::{Asker, known};
use super::run::{Answer, Next};
use super::{new_id, now};
use crate::api::openai::responses::{CompactRequest, Compacted};
use crate::dialect::openai::responses::{
    State as Referred, compact_request, compacted, referenced,
};
use crate::error::RequestError;
use crate::server::error::OpenAiError;
use crate::server::extract::{Client, OpenAiJson};
use crate::server::openai::answer;
use crate::server::state::App;
use crate::server::stream::to_bytes;

pub(super) async fn compact(
    State(app): State<App>,
    client: Client,
    asker: Asker,
    OpenAiJson(request): OpenAiJson<CompactRequest>,
) -> Result<Response, OpenAiError> {
    let referred = Referred {
        previous: request.previous_response_id.clone(),
        references: referenced(&request.input),
        ..Referred::default()
    };
    let known = known(&app, &referred, &asker).await?;
    let seal = app.responses.seal(&app).await;
    let id = new_id("resp_");
    let (base, key) = (id.clone(), seal.clone());
    let reading = app.block(move || compact_request(request, known, &base, &key));
    let mut native = reading.await.map_err(RequestError::from)??;
    client.mark(&mut native.common);
    let mut said = Answer::new(app.inference.chat(native).await?);
    let mut summary = String::new();
    let ending = loop {
        match said.next().await? {
            Next::Step(step) => summary.push_str(step.text()),
            Next::End(ending) => break ending,
        }
    };
    let compacted: Compacted = compacted(id, now(), &summary, &ending, &seal);
    Ok(answer(to_bytes(&compacted)))
}
