//! `GET`, `DELETE /v1/responses/{id}`, `POST /v1/responses/{id}/cancel`, `GET /v1/responses/{id}/input_items`

use axum::extract::{Path, State};
use axum::http::Uri;
use axum::response::Response;

use super::background::follow;
use super::known::Asker;
use super::live::Live;
use super::page::{Order, item_page, page, stream as wanted_stream};
use super::run::of_events;
use crate::api::openai::responses::{ResponseDeleted, Status};
use crate::dialect::openai::responses::{Replay, with_status};
use crate::error::RequestError;
use crate::history::{HistoryError, StoredResponse};
use crate::server::error::OpenAiError;
use crate::server::openai::answer;
use crate::server::state::App;
use crate::server::stream::to_bytes;

pub(super) async fn retrieve(
    State(app): State<App>,
    Path(id): Path<String>,
    asker: Asker,
    uri: Uri,
) -> Result<Response, OpenAiError> {
    let wanted = wanted_stream(&uri)?;
    let live = app.responses.runs.find(&id, &asker.seen);
    if let (Some(after), Some(live)) = (wanted, &live) {
        return Ok(of_events(follow(live.clone(), after)));
    }
    let found = read(&app, &id, &asker).await?;
    if let Some(after) = wanted {
        return streamed(&app, found, after).await;
    }
    shown(&app, &id, found, &asker).await
}

async fn read(app: &App, id: &str, asker: &Asker) -> Result<StoredResponse, RequestError> {
    let history = &app.responses.history;
    let found = history.response(id, &asker.seen, asker.room(app)).await;
    found.map_err(|error| match error {
        error @ HistoryError::NoResponse(_) => {
            RequestError::from(error).about("id", "response_not_found")
        }
        error => error.into(),
    })
}

/// The response as it is now.
async fn shown(
    app: &App,
    id: &str,
    found: StoredResponse,
    asker: &Asker,
) -> Result<Response, OpenAiError> {
    if found.is_final {
        let mut line = found.body;
        if !line.ends_with('\n') {
            line.push('\n');
        }
        return Ok(answer(line.into()));
    }
    let live = app.responses.runs.find(id, &asker.seen);
    let status = match live {
        Some(live) if !live.news.borrow().has_begun => Status::Queued,
        // If it is not in the background, a client is reading the stream right now.
        Some(_) => Status::InProgress,
        None if !found.is_background => Status::InProgress,
        // It may have ended after the file was read and before the running responses were checked.
        None => {
            let found = read(app, id, asker).await?;
            if found.is_final {
                return Ok(answer(found.body.into()));
            }
            Status::Failed
        }
    };
    let response =
        app.block(move || with_status(&found.body, status).map(|value| to_bytes(&value)));
    Ok(answer(response.await??))
}

/// The events of a response that has ended.
async fn streamed(
    app: &App,
    found: StoredResponse,
    after: Option<u64>,
) -> Result<Response, OpenAiError> {
    let Some(steps) = found.steps else {
        let message = "This response cannot be streamed: only responses that were created with 'background' set to true can.";
        return Err(RequestError::invalid(message)
            .about("stream", "invalid_value")
            .into());
    };
    let seal = app.responses.seal(app).await;
    let reading = app.block(move || Replay::read(&found.body, &steps, &seal));
    let Replay {
        response,
        style,
        steps,
        ending,
    } = reading.await??;
    let ended = Live::ended(response, style, steps, ending);
    Ok(of_events(follow(ended.into(), after)))
}

pub(super) async fn delete(
    State(app): State<App>,
    Path(id): Path<String>,
    asker: Asker,
) -> Result<Response, OpenAiError> {
    app.responses
        .history
        .delete_response(&id, &asker.seen)
        .await
        .map_err(RequestError::from)?;
    if let Some(live) = app.responses.runs.find(&id, &asker.seen) {
        live.stop.cancel();
    }
    let deleted = ResponseDeleted {
        id,
        object: "response",
        deleted: true,
    };
    Ok(answer(to_bytes(&deleted)))
}

/// Ends a background response; a response that has ended stays as it is.
pub(super) async fn cancel(
    State(app): State<App>,
    Path(id): Path<String>,
    asker: Asker,
) -> Result<Response, OpenAiError> {
    let found = read(&app, &id, &asker).await?;
    if !found.is_background {
        let error = RequestError::invalid("Cannot cancel a synchronous response.");
        return Err(error.about("id", "invalid_value").into());
    }
    if let Some(live) = app.responses.runs.find(&id, &asker.seen) {
        live.stop.cancel();
        let mut news = live.news.subscribe();
        // It fails only if the response has ended.
        let _ = news.wait_for(|news| news.ending.is_some()).await;
    }
    let found = read(&app, &id, &asker).await?;
    shown(&app, &id, found, &asker).await
}

pub(super) async fn input_items(
    State(app): State<App>,
    Path(id): Path<String>,
    asker: Asker,
    uri: Uri,
) -> Result<Response, OpenAiError> {
    let history = &app.responses.history;
    let page = page(&uri, Order::Descending)?;
    let listed = history.input_items(&id, &asker.seen, page, asker.room(&app));
    item_page(&app, listed.await.map_err(RequestError::from)?).await
}
