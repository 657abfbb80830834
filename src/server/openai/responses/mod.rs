//! `/v1/responses` and `/v1/conversations`, and what is stored of them.

mod background;
mod compact;
mod conversations;
mod create;
mod known;
mod live;
mod page;
mod run;
mod stored;

use std::sync::Arc;
use std::time::Duration;

use axum::http::{Method, Uri};
use axum::response::Response;
use axum::routing::{any, get};
use jiff::Timestamp;
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::history::{History, Settings};
use crate::seal::Seal;
use crate::server::router::{Routes, not_found, route, route_by_method};
use crate::server::state::App;
use live::Runs;

pub(super) use known::Asker;
pub(super) use page::{Order, page};

/// How often expired responses are looked for.
const SWEEP: Duration = Duration::from_secs(3600);

/// The end of a response that was interrupted when the daemon was killed, as a merge patch.
const INTERRUPTED: &str = r#"{"status":"failed","error":{"code":"server_error","message":"the server stopped before the response was finished"}}"#;

/// The state behind the routes.
#[derive(Debug)]
pub(crate) struct Responses {
    history: History,
    runs: Runs,
    seal: OnceCell<Seal>,
}

impl Responses {
    /// Makes the state; files are opened when they are first used.
    pub(crate) fn new(config: &Config) -> Self {
        let settings = Settings {
            max_age: config.responses_age,
            max_bytes: config.responses_size,
            interrupted: INTERRUPTED.to_owned(),
        };
        Self {
            history: History::new(config.state_dir.join("responses.db"), settings),
            runs: Runs::new(config.responses_background),
            seal: OnceCell::new(),
        }
    }

    /// The stored history.
    pub(super) fn history(&self) -> &History {
        &self.history
    }

    /// Waits until no response is running in the background.
    pub(crate) async fn settled(&self) {
        self.runs.settled().await;
    }

    /// The key that seals data which clients keep for us. If it cannot be stored on disk, a random one lasts until
    /// the daemon stops.
    async fn seal(&self, app: &App) -> Seal {
        let load = || async {
            let path = app.config.state_dir.join("seal.key");
            let loaded = app.block(move || Seal::load_or_create(&path)).await;
            match loaded {
                Ok(Ok(seal)) => seal,
                Ok(Err(error)) => {
                    tracing::warn!(%error, "reasoning that clients keep for us will not be known after a restart");
                    Seal::random()
                }
                Err(_) => Seal::random(),
            }
        };
        self.seal.get_or_init(load).await.clone()
    }
}

/// Deletes expired responses from time to time, until the daemon stops.
pub(crate) async fn sweep(app: App, stopping: CancellationToken) {
    let mut tick = tokio::time::interval(SWEEP);
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            () = stopping.cancelled() => return,
        }
        let history = &app.responses.history;
        // An unused feature creates no file.
        if !matches!(tokio::fs::try_exists(history.path()).await, Ok(true)) {
            continue;
        }
        match history.sweep(now()).await {
            Ok(0) => {}
            Ok(n) => tracing::info!(n, "old responses, conversations and chats were deleted"),
            Err(error) => tracing::warn!(%error, "old responses cannot be deleted"),
        }
    }
}

/// The routes.
pub(super) fn routes() -> Routes {
    let create = get(no_socket).post(create::create);
    let response = get(stored::retrieve).delete(stored::delete);
    let conversation = get(conversations::retrieve)
        .post(conversations::update)
        .delete(conversations::delete);
    let items = get(conversations::items).post(conversations::add_items);
    let item = get(conversations::item).delete(conversations::delete_item);
    Routes::new()
        .merge(route_by_method("/v1/responses", "GET, POST", create))
        .merge(route(
            "/v1/responses/input_tokens",
            "POST",
            create::input_tokens,
        ))
        .merge(route("/v1/responses/compact", "POST", compact::compact))
        .merge(route_by_method(
            "/v1/responses/{id}",
            "GET, DELETE",
            response,
        ))
        .merge(route("/v1/responses/{id}/cancel", "POST", stored::cancel))
        .merge(route(
            "/v1/responses/{id}/input_items",
            "GET",
            stored::input_items,
        ))
        .merge(route_by_method(
            "/v1/conversations",
            "POST",
            any(conversations::create),
        ))
        .merge(route_by_method(
            "/v1/conversations/{id}",
            "GET, POST, DELETE",
            conversation,
        ))
        .merge(route_by_method(
            "/v1/conversations/{id}/items",
            "GET, POST",
            items,
        ))
        .merge(route_by_method(
            "/v1/conversations/{id}/items/{item}",
            "GET, DELETE",
            item,
        ))
}

/// Agents try a `WebSocket` here first, and use POST after a 404.
async fn no_socket(method: Method, uri: Uri) -> Response {
    not_found(&method, &uri)
}

/// Unix seconds.
pub(super) fn now() -> i64 {
    Timestamp::now().as_second()
}

/// A new id.
fn new_id(prefix: &str) -> String {
    super::head(prefix, "").id
}

type Shared = Arc<live::Live>;
