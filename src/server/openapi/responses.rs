//! OpenAI's Responses API.

use super::describe::{Api, delete, get, post};
use crate::api::openai::ErrorBody;
use crate::api::openai::responses::{
    CompactRequest, Compacted, Conversation, ConversationDeleted, ConversationRequest, Event,
    InputTokens, ItemList, NewItems, Response, ResponseDeleted, ResponseRequest,
};

pub(super) fn routes() -> Api {
    let api = Api::new(
        "OpenAI: responses",
        "OpenAI's Responses API and its conversations, see [responses.md](responses.md). They belong to the key of the request.",
    )
    .errors::<ErrorBody>();
    conversations(responses(api))
}

fn responses(api: Api) -> Api {
    api.route(
        post(
            "/v1/responses",
            "Answers, and stores the answer unless `store` is false",
        )
        .takes::<ResponseRequest>()
        .gives::<Response>()
        .events::<Event>(),
    )
    .route(
        get(
            "/v1/responses",
            "Answers 404: agents look for a WebSocket here, then use POST",
        )
        .status("404")
        .gives::<ErrorBody>(),
    )
    .route(
        post(
            "/v1/responses/input_tokens",
            "Counts the tokens of a request",
        )
        .takes::<ResponseRequest>()
        .gives::<InputTokens>(),
    )
    .route(
        post("/v1/responses/compact", "Shortens a conversation")
            .takes::<CompactRequest>()
            .gives::<Compacted>(),
    )
    .route(
        get(
            "/v1/responses/{id}",
            "Shows a stored response, or streams it again",
        )
        .query("stream", "`true`: stream the events")
        .query(
            "starting_after",
            "Number of the event after which the stream begins",
        )
        .gives::<Response>()
        .events::<Event>(),
    )
    .route(delete("/v1/responses/{id}", "Deletes a stored response").gives::<ResponseDeleted>())
    .route(
        post(
            "/v1/responses/{id}/cancel",
            "Ends a response in the background",
        )
        .gives::<Response>(),
    )
    .route(
        get(
            "/v1/responses/{id}/input_items",
            "Lists the items that a response answers",
        )
        .pages()
        .gives::<ItemList>(),
    )
}

fn conversations(api: Api) -> Api {
    api.route(
        post("/v1/conversations", "Creates a conversation")
            .takes::<ConversationRequest>()
            .gives::<Conversation>(),
    )
    .route(get("/v1/conversations/{id}", "Shows a conversation").gives::<Conversation>())
    .route(
        post(
            "/v1/conversations/{id}",
            "Replaces the metadata of a conversation",
        )
        .takes::<ConversationRequest>()
        .gives::<Conversation>(),
    )
    .route(
        delete("/v1/conversations/{id}", "Deletes a conversation").gives::<ConversationDeleted>(),
    )
    .route(
        get(
            "/v1/conversations/{id}/items",
            "Lists the items of a conversation",
        )
        .pages()
        .gives::<ItemList>(),
    )
    .route(
        post(
            "/v1/conversations/{id}/items",
            "Adds items to a conversation",
        )
        .takes::<NewItems>()
        .gives::<ItemList>(),
    )
    .route(get("/v1/conversations/{id}/items/{item}", "Shows an item").gives_any())
    .route(
        delete(
            "/v1/conversations/{id}/items/{item}",
            "Deletes an item; answers with the conversation",
        )
        .gives::<Conversation>(),
    )
}
