//! Stored chats: `GET /v1/chat/completions`, `GET`, `POST`, `DELETE /v1/chat/completions/{id}` and
//! `GET /v1/chat/completions/{id}/messages`

use axum::extract::{Path, State};
use axum::http::Uri;
use axum::response::Response;
use serde_json::{Map, Value};

use crate::api::openai::{ChatUpdate, Deleted};
use crate::dialect::openai::chat::shown;
use crate::dialect::openai::responses::{item_list, metadata, stored};
use crate::error::RequestError;
use crate::history::{ChatFilter, HistoryError, StoredChat};
use crate::server::error::OpenAiError;
use crate::server::extract::OpenAiJson;
use crate::server::openai::answer;
use crate::server::openai::responses::{Asker, Order, now, page};
use crate::server::query::{parameter, parameters_of};
use crate::server::state::App;
use crate::server::stream::to_bytes;

pub(super) async fn list(
    State(app): State<App>,
    asker: Asker,
    uri: Uri,
) -> Result<Response, OpenAiError> {
    let pairs = parameters_of(&uri, "metadata");
    let pairs = pairs.map(|(key, value)| (key, Value::String(value)));
    let filter = ChatFilter {
        seen: asker.seen.clone(),
        model: parameter(&uri, "model").filter(|model| !model.is_empty()),
        metadata: Value::Object(pairs.collect::<Map<_, _>>()).to_string(),
    };
    let page = page(&uri, Order::Ascending)?;
    let history = app.responses.history();
    let listed = history.chats(filter, page, asker.room(&app)).await;
    let (chats, has_more) = listed.map_err(|error| match error {
        HistoryError::NoChat(id) => {
            let message = format!("Invalid 'after': there is no chat completion '{id}'.");
            RequestError::invalid(message).about("after", "invalid_value")
        }
        error => error.into(),
    })?;
    let writing = app.block(move || {
        let chats = chats.iter().map(|chat| shown(&chat.body, &chat.metadata));
        let chats = chats.collect::<Result<_, RequestError>>()?;
        Ok::<_, RequestError>(to_bytes(&item_list(chats, has_more)))
    });
    Ok(answer(writing.await??))
}

pub(super) async fn retrieve(
    State(app): State<App>,
    Path(id): Path<String>,
    asker: Asker,
) -> Result<Response, OpenAiError> {
    let history = app.responses.history();
    let found = history.chat(&id, &asker.seen, asker.room(&app)).await;
    show(&app, found.map_err(about_id)?).await
}

pub(super) async fn update(
    State(app): State<App>,
    Path(id): Path<String>,
    asker: Asker,
    OpenAiJson(request): OpenAiJson<ChatUpdate>,
) -> Result<Response, OpenAiError> {
    let metadata = metadata(request.metadata)?.to_string();
    let history = app.responses.history();
    let updated = history.update_chat(&id, &asker.seen, now(), metadata);
    updated.await.map_err(about_id)?;
    let found = history.chat(&id, &asker.seen, asker.room(&app)).await;
    show(&app, found.map_err(about_id)?).await
}

pub(super) async fn delete(
    State(app): State<App>,
    Path(id): Path<String>,
    asker: Asker,
) -> Result<Response, OpenAiError> {
    let history = app.responses.history();
    let deleted = history.delete_chat(&id, &asker.seen).await;
    deleted.map_err(about_id)?;
    let deleted = Deleted {
        id,
        object: "chat.completion.deleted",
        deleted: true,
    };
    Ok(answer(to_bytes(&deleted)))
}

pub(super) async fn messages(
    State(app): State<App>,
    Path(id): Path<String>,
    asker: Asker,
    uri: Uri,
) -> Result<Response, OpenAiError> {
    let page = page(&uri, Order::Ascending)?;
    let history = app.responses.history();
    let found = history.chat_messages(&id, &asker.seen, asker.room(&app));
    let found = found.await.map_err(about_id)?;
    let writing = app.block(move || {
        let Value::Array(mut messages) = stored(&found)? else {
            return Err(RequestError::internal("what was stored cannot be read"));
        };
        if page.is_descending {
            messages.reverse();
        }
        if let Some(after) = &page.after {
            let at = messages.iter().position(|message| message["id"] == **after);
            let at = at.ok_or_else(|| {
                let message = format!("Invalid 'after': there is no message '{after}'.");
                RequestError::invalid(message).about("after", "invalid_value")
            })?;
            messages.drain(..=at);
        }
        let has_more = messages.len() > page.limit;
        messages.truncate(page.limit);
        Ok(to_bytes(&item_list(messages, has_more)))
    });
    Ok(answer(writing.await??))
}

async fn show(app: &App, found: StoredChat) -> Result<Response, OpenAiError> {
    let writing = app.block(move || {
        let chat = shown(&found.body, &found.metadata)?;
        Ok::<_, RequestError>(to_bytes(&chat))
    });
    Ok(answer(writing.await??))
}

fn about_id(error: HistoryError) -> RequestError {
    match error {
        error @ HistoryError::NoChat(_) => {
            RequestError::from(error).about("id", "chat_completion_not_found")
        }
        error => error.into(),
    }
}
