//! Routes of other servers: reranking, System One's decisions, and what llama-server and vLLM offer besides chat.
//! Errors are in OpenAI's envelope, as in those servers.

mod infill;
mod rerank;
mod status;
mod system_one;
mod tokens;

use super::router::{Routes, route};

/// The paths of reranking: Jina's and llama-server's, Cohere's, and text-embeddings-inference's.
const RERANK: [&str; 5] = [
    "/v1/rerank",
    "/v1/reranking",
    "/v2/rerank",
    "/rerank",
    "/reranking",
];

/// The routes, for `router.rs` to merge.
pub(super) fn routes() -> Routes {
    let router = RERANK.into_iter().fold(Routes::new(), |router, path| {
        router.merge(route(path, "POST", rerank::rerank))
    });
    router
        .merge(route("/v1/score", "POST", rerank::score))
        .merge(route("/score", "POST", rerank::score))
        .merge(route("/v1/systemone", "POST", system_one::system_one))
        .merge(route("/tokenize", "POST", tokens::tokenize))
        .merge(route("/detokenize", "POST", tokens::detokenize))
        .merge(route("/apply-template", "POST", tokens::apply_template))
        .merge(route("/infill", "POST", infill::infill))
        .merge(route("/props", "GET", status::props))
        .merge(route("/slots", "GET", status::slots))
}
