//! Routes of other servers: reranking, decisions, and what llama-server and vLLM offer besides chat.

use super::describe::{Api, get, post};
use crate::api::llama_server::{
    DetokenizeRequest, DetokenizeResponse, InfillRequest, InfillResponse, Props, Slot,
    TemplateResponse, TokenizeRequest, TokenizeResponse,
};
use crate::api::openai::{ChatRequest, ErrorBody};
use crate::api::rerank::{RankedText, RerankRequest, RerankResponse, ScoreRequest, ScoreResponse};
use crate::api::system_one::{SystemOneRequest, SystemOneResponse};

pub(super) fn routes() -> Api {
    let api = Api::new(
        "Other servers",
        "Reranking in its usual forms, vLLM's scores, System One's decisions, and routes of llama-server.",
    )
    .errors::<ErrorBody>();
    let reranking = "Orders documents by their relevance to a query";
    let paths = [
        "/v1/rerank",
        "/v1/reranking",
        "/v2/rerank",
        "/rerank",
        "/reranking",
    ];
    let api = paths.into_iter().fold(api, |api, path| {
        let route = post(path, reranking).takes::<RerankRequest>();
        api.route(route.gives::<RerankResponse>().gives_list::<RankedText>())
    });
    let api = ["/v1/score", "/score"].into_iter().fold(api, |api, path| {
        let route = post(path, "Scores pairs of texts").takes::<ScoreRequest>();
        api.route(route.gives::<ScoreResponse>())
    });
    api.route(
        post(
            "/v1/systemone",
            "Answers typed questions about a state by probabilities",
        )
        .takes::<SystemOneRequest>()
        .gives::<SystemOneResponse>(),
    )
    .route(
        post("/tokenize", "Turns a text into tokens")
            .takes::<TokenizeRequest>()
            .gives::<TokenizeResponse>(),
    )
    .route(
        post("/detokenize", "Turns tokens into a text")
            .takes::<DetokenizeRequest>()
            .gives::<DetokenizeResponse>(),
    )
    .route(
        post(
            "/apply-template",
            "Returns the prompt that a conversation becomes",
        )
        .takes::<ChatRequest>()
        .gives::<TemplateResponse>(),
    )
    .route(
        post("/infill", "Fills a gap in a text, for editors")
            .takes::<InfillRequest>()
            .gives::<InfillResponse>()
            .events::<InfillResponse>(),
    )
    .route(
        get("/props", "Shows the properties of a model")
            .query(
                "model",
                "Name of the model; without it, the only one that is loaded",
            )
            .gives::<Props>(),
    )
    .route(
        get("/slots", "Lists the slots of the loaded models")
            .query("model", "Only the slots of this model")
            .gives_list::<Slot>(),
    )
}
