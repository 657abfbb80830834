//! `POST /v1/responses` and `POST /v1/responses/input_tokens`

use axum::extract::State as Shared;
use axum::response::Response;

use super::known::{Asker, known};
use super::run::Job;
use super::{background, run};
use crate::api::openai::responses::{InputTokens, ResponseRequest};
use crate::dialect::openai::responses::{Asked, State, Writer, read, stored_items};
use crate::error::RequestError;
use crate::history::NewResponse;
use crate::server::error::OpenAiError;
use crate::server::extract::{Client, OpenAiJson};
use crate::server::openai::{answer, head};
use crate::server::state::App;
use crate::server::stream::to_bytes;

pub(super) async fn create(
    Shared(app): Shared<App>,
    client: Client,
    asker: Asker,
    OpenAiJson(request): OpenAiJson<ResponseRequest>,
) -> Result<Response, OpenAiError> {
    let (is_stream, is_background) = (request.stream, request.background);
    let mut job = prepare(&app, request, client, asker).await?;
    job.native.common.call_parts = is_stream;
    match (is_background, is_stream) {
        (true, _) => background::start(job, is_stream).await,
        (false, true) => run::stream(job).await,
        (false, false) => run::whole(job).await,
    }
}

pub(super) async fn input_tokens(
    Shared(app): Shared<App>,
    client: Client,
    asker: Asker,
    OpenAiJson(mut request): OpenAiJson<ResponseRequest>,
) -> Result<Response, OpenAiError> {
    request.background = false;
    let job = prepare(&app, request, client, asker).await?;
    let tokens = InputTokens {
        object: "response.input_tokens",
        input_tokens: app.inference.count_tokens(job.native).await?.into(),
    };
    Ok(answer(to_bytes(&tokens)))
}

/// Reads a request, with the stored part of its history.
async fn prepare(
    app: &App,
    mut request: ResponseRequest,
    client: Client,
    asker: Asker,
) -> Result<Job, RequestError> {
    // The answers of a batch job are in its result file. If they were stored as well, they would displace
    // responses to interactive requests.
    if client.is_job() {
        request.store.get_or_insert(false);
    }
    let state = State::of(&request, app.responses.history.stores())?;
    let known = known(app, &state, &asker).await?;
    let seal = app.responses.seal(app).await;
    let head = head("resp_", &request.model);
    let (is_background, owner) = (request.background, asker.owner.clone());
    // Images are decoded here, and a long history takes milliseconds.
    let reading = app.block(move || {
        let asked = read(request, &state, known, head, &seal)?;
        let new = state.stores.then(|| NewResponse {
            id: asked.response.id.clone(),
            owner,
            previous: state.previous,
            conversation: state.conversation,
            is_background,
            now: asked.response.created_at,
            body: String::from_utf8_lossy(&to_bytes(&asked.response)).into_owned(),
            input: stored_items(&asked.input),
        });
        Ok::<_, RequestError>((asked, new))
    });
    let (asked, new) = reading.await.map_err(RequestError::from)??;
    let Asked {
        mut native,
        response,
        style,
        ..
    } = asked;
    client.mark(&mut native.common);
    Ok(Job {
        app: app.clone(),
        native,
        writer: Writer::new(response, style),
        new,
        owner: asker.owner,
        revoked: asker.revoked,
        held: asker.held,
    })
}
