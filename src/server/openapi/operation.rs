//! Routes for operating the server.

use super::describe::{Api, delete, get, post};
use crate::api::drover::{BatchState, DaemonState, Device, ModelState, RequestState};
use crate::api::keys::{KeyCreated, KeyList, KeyRequest};
use crate::api::llama_server::Health;
use crate::api::ollama::ErrorBody;

pub(super) fn routes() -> Api {
    Api::new(
        "Operation",
        "Health, metrics, keys ([keys.md](keys.md)), and this description.",
    )
    .errors::<ErrorBody>()
    .route(get("/health", "Says that the server runs").gives::<Health>())
    .route(
        get(
            "/ready",
            "Says whether to send requests here: 503 while the server stops",
        )
        .gives::<Health>(),
    )
    .route(get("/metrics", "Counters for Prometheus").gives_text("text/plain"))
    .route(
        get(
            "/api/drover/events",
            "The state of the daemon, once a second",
        )
        .events::<DaemonState>(),
    )
    .route(get("/ui", "A page for browsers").gives_text("text/html"))
    .route(get("/ui/{*file}", "A file of the page").gives_file())
    .route(get("/openapi.json", "Describes all routes in OpenAPI's form").gives_any())
    .route(
        get(
            "/api/keys",
            "Lists the API keys, without the keys themselves",
        )
        .gives::<KeyList>(),
    )
    .route(
        post("/api/keys", "Creates an API key, which is shown only once")
            .takes::<KeyRequest>()
            .status("201")
            .gives::<KeyCreated>(),
    )
    .route(
        delete("/api/keys/{name}", "Revokes an API key")
            .query("last", "`true`: also the last one with the scope `admin`")
            .done(),
    )
    .whole::<DaemonState>()
    .whole::<Device>()
    .whole::<ModelState>()
    .whole::<RequestState>()
    .whole::<BatchState>()
}
