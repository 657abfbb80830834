//! `POST /api/copy`, `DELETE /api/delete`.

use axum::extract::State;
use axum::http::StatusCode;

use super::wanted;
use crate::api::ollama::{CopyRequest, ModelRequest};
use crate::model::ModelName;
use crate::model::name::Source;
use crate::server::access::Access;
use crate::server::error::{ApiError, OllamaError};
use crate::server::extract::OllamaJson;
use crate::server::origin::Origin;
use crate::server::state::App;
use crate::store::StoreError;

pub(super) async fn copy(
    State(app): State<App>,
    access: Access,
    origin: Origin,
    OllamaJson(request): OllamaJson<CopyRequest>,
) -> Result<StatusCode, OllamaError> {
    let parse = |text: &str, what: &str| {
        ModelName::parse(text)
            .map_err(|_| ApiError::invalid(format!("{what} \"{text}\" is invalid")))
    };
    let source = parse(&request.source, "source")?;
    let destination = parse(&request.destination, "destination")?;
    access.check(&source)?;
    access.check(&destination)?;
    let store = app.store.clone();
    let pass = app.gates.changes.enter(origin).await?;
    let copied = app.block(move || {
        let _pass = pass;
        store.copy(&source, &destination)
    });
    copied.await?.map_err(|error| match error {
        StoreError::NotFound(_) => {
            ApiError::not_found(format!("model \"{}\" not found", request.source))
        }
        other => other.into(),
    })?;
    Ok(StatusCode::OK)
}

pub(super) async fn delete(
    State(app): State<App>,
    access: Access,
    origin: Origin,
    OllamaJson(request): OllamaJson<ModelRequest>,
) -> Result<StatusCode, OllamaError> {
    let requested = wanted(request.model, request.name);
    if requested.is_empty() {
        return Err(ApiError::invalid("model is required").into());
    }
    let stored = stored_name(&requested)?;
    let name = ModelName::parse(&stored)
        .map_err(|_| ApiError::invalid(format!("name \"{requested}\" is invalid")))?;
    access.check(&name)?;
    let store = app.store.clone();
    let pass = app.gates.changes.enter(origin).await?;
    let deleted = app.block(move || {
        let _pass = pass;
        store.delete(&name)
    });
    deleted.await?.map_err(|error| match error {
        StoreError::NotFound(_) => ApiError::not_found(format!("model '{requested}' not found")),
        other => other.into(),
    })?;
    Ok(StatusCode::OK)
}

/// The stored name of a model with a source suffix: stubs of cloud models can be deleted, and `:local` is
/// dropped.
fn stored_name(requested: &str) -> Result<String, ApiError> {
    let (rest, source) = ModelName::split_source(requested).map_err(ApiError::invalid)?;
    let has_tag = rest
        .rsplit('/')
        .next()
        .is_some_and(|last| last.contains(':'));
    Ok(match source {
        Source::Cloud if has_tag => format!("{rest}-cloud"),
        Source::Cloud => format!("{rest}:cloud"),
        Source::Local | Source::Unspecified => rest,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stubs_are_found_under_their_tag() {
        for (requested, stored) in [
            ("a", "a"),
            ("a:local", "a"),
            ("a:cloud", "a:cloud"),
            ("h:1/n/a:cloud", "h:1/n/a:cloud"),
            ("a:20b-cloud", "a:20b-cloud"),
            ("a:20b:cloud", "a:20b-cloud"),
        ] {
            assert_eq!(stored_name(requested).unwrap(), stored, "{requested}");
        }
        assert!(stored_name("a:cloud:local").is_err());
    }
}
