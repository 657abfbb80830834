//! The description of all routes, for `GET /openapi.json` and `docs/api.md`.
//!
//! A file for each API says what its routes take and give; the schemas come from the wire types in `crate::api`. A test
//! compares the description with the route table.

mod anthropic;
mod describe;
mod extra;
mod forms;
mod ollama;
mod openai;
mod operation;
mod responses;
mod schemas;
#[cfg(test)]
mod tests;

use std::sync::LazyLock;

use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use serde_json::Value;
use utoipa::openapi::path::Paths;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::tag::TagBuilder;
use utoipa::openapi::{ComponentsBuilder, InfoBuilder, OpenApiBuilder};

use super::access::Need;
use super::router::{Routes, route};
use describe::{Api, KEY};

const ABOUT: &str = "The routes of drover, which takes Ollama's place. Requests and answers may have further fields \
    in later versions. A path with a slash at its end is redirected.";

const KEYS: &str = "An API key; not needed before the first one is made. The scopes are inference, models, metrics \
    and admin.";

/// The document as it is sent.
static DOCUMENT: LazyLock<Bytes> = LazyLock::new(|| document().to_string().into());

/// The routes, for `router.rs` to merge.
pub(super) fn routes() -> Routes {
    route("/openapi.json", "HEAD, GET", openapi)
}

async fn openapi() -> Response {
    (
        [(header::CONTENT_TYPE, "application/json")],
        DOCUMENT.clone(),
    )
        .into_response()
}

fn apis() -> [Api; 6] {
    [
        ollama::routes(),
        openai::routes(),
        responses::routes(),
        anthropic::routes(),
        extra::routes(),
        operation::routes(),
    ]
}

/// Describes all routes.
fn document() -> Value {
    let apis = apis();
    let mut paths = Paths::new();
    let mut components = ComponentsBuilder::new();
    for api in &apis {
        components = components.schemas_from_iter(api.schemas.iter().cloned());
        for route in &api.routes {
            let need = Need::of(route.path);
            paths.add_path_operation(
                route.plain_path(),
                vec![route.method.clone()],
                route.operation(api, need),
            );
        }
    }
    let key = HttpBuilder::new().scheme(HttpAuthScheme::Bearer);
    let key = SecurityScheme::Http(key.description(Some(KEYS)).build());
    let tags = apis.iter().map(|api| {
        let tag = TagBuilder::new().name(api.name);
        tag.description(Some(api.about)).build()
    });
    let info = InfoBuilder::new()
        .title("drover")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(ABOUT));
    let document = OpenApiBuilder::new()
        .info(info)
        .paths(paths)
        .components(Some(components.security_scheme(KEY, key).build()))
        .tags(Some(tags))
        .build();
    let mut document = serde_json::to_value(document).unwrap_or_default();
    let always = apis.iter().flat_map(|api| &api.always);
    schemas::finish(&mut document, always);
    document
}
