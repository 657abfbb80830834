//! Anthropic's routes.

use super::describe::{Api, delete, get, post};
use super::forms::MessageBatchRequest;
use crate::api::anthropic::{
    ErrorBody, Event, Message, MessageBatch, MessageBatchDeleted, MessageBatchList,
    MessagesRequest, TokenCount,
};

pub(super) fn routes() -> Api {
    Api::new(
        "Anthropic",
        "Anthropic's API, see [anthropic.md](anthropic.md). `/v1/models` is described at OpenAI's API.",
    )
    .errors::<ErrorBody>()
    .route(
        post("/v1/messages", "Continues a conversation")
            .takes::<MessagesRequest>()
            .gives::<Message>()
            .events::<Event>(),
    )
    .route(
        post("/v1/messages/count_tokens", "Counts the tokens of a request")
            .takes::<MessagesRequest>()
            .gives::<TokenCount>(),
    )
    .route(
        get("/v1/messages/batches", "Lists the batches of messages of the key")
            .query("after_id", "Id of the batch that comes before the page")
            .query("before_id", "Id of the batch that comes after the page")
            .query("limit", "The most batches of the page")
            .gives::<MessageBatchList>(),
    )
    .route(
        post("/v1/messages/batches", "Starts a batch of messages")
            .takes::<MessageBatchRequest>()
            .gives::<MessageBatch>(),
    )
    .route(get("/v1/messages/batches/{id}", "Shows a batch").gives::<MessageBatch>())
    .route(delete("/v1/messages/batches/{id}", "Deletes a batch").gives::<MessageBatchDeleted>())
    .route(post("/v1/messages/batches/{id}/cancel", "Ends a batch; what is done stays").gives::<MessageBatch>())
    .route(
        get("/v1/messages/batches/{id}/results", "Returns the results, a line of JSON for each request")
            .gives_text("application/x-jsonl"),
    )
}
