//! Answers the requests of batch jobs by the same routes as over a connection, behind interactive requests.

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Method, Request as HttpRequest, header};
use bytes::Bytes;
use http_body_util::BodyExt as _;
use jiff::Timestamp;
use tower::ServiceExt as _;

use super::access::Access;
use super::extract::AsJob;
use super::state::App;
use crate::jobs::{Answer, Answered, Later, Request};
use crate::model::ModelName;
use crate::store::StoreError;

/// The routes, in process.
#[derive(Debug)]
pub(super) struct Lines {
    router: Router,
    app: App,
}

impl Lines {
    pub(super) fn new(router: Router, app: App) -> Self {
        Self { router, app }
    }
}

impl Answer for Lines {
    fn answer(&self, request: Request) -> Later<Answered> {
        let router = self.router.clone();
        Box::pin(async move {
            let http = HttpRequest::builder()
                .method(Method::POST)
                .uri(request.url)
                .header(header::CONTENT_TYPE, "application/json")
                .extension(AsJob(request.client))
                .extension(Access::inside(request.owner))
                .body(Body::from(request.body));
            let Ok(http) = http else {
                // The routes of jobs are valid paths.
                return failed("invalid route");
            };
            let Ok(response) = router.oneshot(http).await;
            let status = response.status().as_u16();
            let request_id = id_of(response.headers());
            match response.into_body().collect().await {
                Ok(body) => Answered {
                    status,
                    request_id,
                    body: body.to_bytes(),
                },
                Err(error) => failed(&error.to_string()),
            }
        })
    }

    fn is_allowed(&self, client: &str) -> bool {
        self.app.keys.of_client(client, Timestamp::now()).is_ok()
    }

    fn has_model(&self, model: &str) -> Later<bool> {
        let (app, model) = (self.app.clone(), model.to_owned());
        Box::pin(async move { has_model(&app, &model).await })
    }

    fn places(&self, model: &str) -> Later<Option<usize>> {
        let (app, name) = (self.app.clone(), parsed(model));
        Box::pin(async move {
            let wanted = name?.short().to_lowercase();
            let loaded = app.scheduler.loaded().await;
            let mut loaded = loaded.into_iter();
            let serves = loaded.find(|loaded| loaded.name.short().to_lowercase() == wanted)?;
            let n_slots = serves.info.n_slots as usize;
            Some(if serves.is_going { 0 } else { n_slots })
        })
    }
}

/// Whether the model exists.
pub(super) async fn has_model(app: &App, model: &str) -> bool {
    let Some(name) = parsed(model) else {
        return false;
    };
    let store = app.store.clone();
    let found = app.block(move || store.model(&name)).await;
    !matches!(found, Ok(Err(StoreError::NotFound(_))))
}

fn parsed(model: &str) -> Option<ModelName> {
    let (rest, _) = ModelName::split_source(model).ok()?;
    ModelName::parse(&rest).ok()
}

/// The id that the route gave the request, or a new one.
fn id_of(headers: &HeaderMap) -> String {
    let given = headers.get("request-id").and_then(|id| id.to_str().ok());
    given.map_or_else(
        || format!("req_{:016x}", fastrand::u64(..)),
        ToOwned::to_owned,
    )
}

fn failed(error: &str) -> Answered {
    let body = serde_json::json!({"error": {
        "message": error, "type": "api_error", "param": null, "code": null,
    }});
    Answered {
        status: 500,
        request_id: id_of(&HeaderMap::new()),
        body: Bytes::from(body.to_string()),
    }
}
