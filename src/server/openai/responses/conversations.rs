//! `/v1/conversations` and their items.

use axum::extract::{Path, State};
use axum::http::Uri;
use axum::response::Response;
use serde_json::Value;

use super::known::Asker;
use super::page::{Order, item_page, page};
use super::{new_id, now};
use crate::api::openai::responses::{
    Conversation, ConversationDeleted, ConversationRequest, NewItems,
};
use crate::dialect::openai::responses::{
    check_items, item_list, metadata, stored, stored_items, with_ids,
};
use crate::error::RequestError;
use crate::history::{Item, StoredConversation};
use crate::server::error::OpenAiError;
use crate::server::extract::OpenAiJson;
use crate::server::openai::answer;
use crate::server::state::App;
use crate::server::stream::to_bytes;

/// Refuses to make conversations where storing is switched off.
fn check_storing(app: &App) -> Result<(), RequestError> {
    if app.responses.history.stores() {
        return Ok(());
    }
    let message = "this server stores no conversations (DROVER_RESPONSES_SIZE is 0)";
    Err(RequestError::invalid(message).coded("unsupported"))
}

pub(super) async fn create(
    State(app): State<App>,
    asker: Asker,
    OpenAiJson(request): OpenAiJson<ConversationRequest>,
) -> Result<Response, OpenAiError> {
    check_storing(&app)?;
    let metadata = metadata(request.metadata)?;
    let new = StoredConversation {
        id: new_id("conv_"),
        created: now(),
        metadata: metadata.to_string(),
    };
    let (items, _) = made(&app, request.items).await?;
    let history = &app.responses.history;
    let created = history
        .create_conversation(new.clone(), asker.owner, items)
        .await;
    created.map_err(RequestError::from)?;
    show(new)
}

pub(super) async fn retrieve(
    State(app): State<App>,
    Path(id): Path<String>,
    asker: Asker,
) -> Result<Response, OpenAiError> {
    let history = &app.responses.history;
    let found = history.conversation(&id, &asker.seen).await;
    show(found.map_err(RequestError::from)?)
}

pub(super) async fn update(
    State(app): State<App>,
    Path(id): Path<String>,
    asker: Asker,
    OpenAiJson(request): OpenAiJson<ConversationRequest>,
) -> Result<Response, OpenAiError> {
    let metadata = metadata(request.metadata)?.to_string();
    let history = &app.responses.history;
    let updated = history
        .update_conversation(&id, &asker.seen, metadata)
        .await;
    updated.map_err(RequestError::from)?;
    let found = history.conversation(&id, &asker.seen).await;
    show(found.map_err(RequestError::from)?)
}

pub(super) async fn delete(
    State(app): State<App>,
    Path(id): Path<String>,
    asker: Asker,
) -> Result<Response, OpenAiError> {
    let history = &app.responses.history;
    let deleted = history.delete_conversation(&id, &asker.seen).await;
    deleted.map_err(RequestError::from)?;
    let deleted = ConversationDeleted {
        id,
        object: "conversation.deleted",
        deleted: true,
    };
    Ok(answer(to_bytes(&deleted)))
}

pub(super) async fn items(
    State(app): State<App>,
    Path(id): Path<String>,
    asker: Asker,
    uri: Uri,
) -> Result<Response, OpenAiError> {
    let history = &app.responses.history;
    let page = page(&uri, Order::Descending)?;
    let listed = history.conversation_items(&id, &asker.seen, page, asker.room(&app));
    item_page(&app, listed.await.map_err(RequestError::from)?).await
}

pub(super) async fn add_items(
    State(app): State<App>,
    Path(id): Path<String>,
    asker: Asker,
    OpenAiJson(request): OpenAiJson<NewItems>,
) -> Result<Response, OpenAiError> {
    let (items, shown) = made(&app, request.items).await?;
    let history = &app.responses.history;
    let added = history.add_items(&id, &asker.seen, now(), items).await;
    added.map_err(RequestError::from)?;
    Ok(answer(to_bytes(&item_list(shown, false))))
}

pub(super) async fn item(
    State(app): State<App>,
    Path((id, item)): Path<(String, String)>,
    asker: Asker,
) -> Result<Response, OpenAiError> {
    let history = &app.responses.history;
    let found = history
        .conversation_item(&id, &asker.seen, &item, asker.room(&app))
        .await;
    let mut line = found.map_err(RequestError::from)?;
    line.push('\n');
    Ok(answer(line.into()))
}

/// Deletes an item, and answers with the conversation.
pub(super) async fn delete_item(
    State(app): State<App>,
    Path((id, item)): Path<(String, String)>,
    asker: Asker,
) -> Result<Response, OpenAiError> {
    let history = &app.responses.history;
    let deleted = history.delete_item(&id, &asker.seen, &item).await;
    deleted.map_err(RequestError::from)?;
    let found = history.conversation(&id, &asker.seen).await;
    show(found.map_err(RequestError::from)?)
}

/// Items in the form that is stored, and in the form that clients see.
async fn made(app: &App, items: Vec<Value>) -> Result<(Vec<Item>, Vec<Value>), RequestError> {
    let seal = app.responses.seal(app).await;
    let making = app.block(move || {
        let items = with_ids(items, &new_id("x_"));
        check_items(&items, &seal)?;
        Ok::<_, RequestError>((stored_items(&items), items))
    });
    making.await.map_err(RequestError::from)?
}

fn show(found: StoredConversation) -> Result<Response, OpenAiError> {
    let conversation = Conversation {
        id: found.id,
        object: "conversation",
        created_at: found.created,
        metadata: stored(&found.metadata)?,
    };
    Ok(answer(to_bytes(&conversation)))
}
