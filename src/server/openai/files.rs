//! `/v1/files`

use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{Uri, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use jiff::Timestamp;

use super::answer;
use super::content::Content;
use crate::api::openai::{Deleted, FileObject, Page};
use crate::dialect::openai::files::{self, FileForm};
use crate::jobs::{File, FilePage, NewFile, Order};
use crate::server::access::Access;
use crate::server::error::OpenAiError;
use crate::server::extract::spooled;
use crate::server::origin::Origin;
use crate::server::router::{Routes, route, route_by_method};
use crate::server::state::App;
use crate::server::stream::to_bytes;

pub(super) fn routes() -> Routes {
    Routes::new()
        .merge(route_by_method(
            "/v1/files",
            "GET, POST",
            get(list).post(create),
        ))
        .merge(route_by_method(
            "/v1/files/{id}",
            "GET, DELETE",
            get(retrieve).delete(delete),
        ))
        .merge(route("/v1/files/{id}/content", "GET", content))
}

/// A file as clients see it.
pub(super) fn object(file: File) -> FileObject {
    FileObject {
        id: file.id,
        object: "file".to_owned(),
        bytes: file.bytes,
        created_at: file.created_at,
        expires_at: file.expires_at,
        filename: file.filename,
        purpose: file.purpose,
        status: "processed".to_owned(),
        status_details: None,
    }
}

async fn create(
    State(app): State<App>,
    access: Access,
    origin: Origin,
    request: Request,
) -> Result<Response, OpenAiError> {
    let _pass = app.gates.uploads.enter(origin).await?;
    let most = files::max_bytes(None);
    let mut form = spooled(request, &app.jobs.files, "file", most).await?;
    let (filename, incoming) = form.file.take().unzip();
    let fields = FileForm {
        filename,
        purpose: form.take("purpose"),
        anchor: form.take("expires_after[anchor]"),
        seconds: form.take("expires_after[seconds]"),
    };
    let bytes = incoming.as_ref().map_or(0, |incoming| incoming.bytes());
    let description = files::description(fields, bytes)?;
    let Some(incoming) = incoming else {
        // `files::description` refuses a request without a file, so this is not reached.
        return Err(files::too_large(0).into());
    };
    let new = NewFile {
        owner: access.owner(),
        purpose: description.purpose,
        filename: description.filename,
        expiry: description.keep_seconds,
    };
    let file = app.jobs.files.keep(incoming, new, Timestamp::now()).await?;
    Ok(answer(to_bytes(&object(file))))
}

async fn list(State(app): State<App>, access: Access, uri: Uri) -> Result<Response, OpenAiError> {
    let query = files::page(uri.query().unwrap_or_default())?;
    let page = FilePage {
        seen: access.seen(),
        after: query.after,
        limit: query.limit,
        order: if query.is_ascending {
            Order::OldestFirst
        } else {
            Order::NewestFirst
        },
        purpose: query.purpose,
    };
    let (files, has_more) = app.jobs.files.list(page, Timestamp::now()).await?;
    Ok(answer(to_bytes(&Page {
        object: "list".to_owned(),
        first_id: files.first().map(|file| file.id.clone()),
        last_id: files.last().map(|file| file.id.clone()),
        data: files.into_iter().map(object).collect(),
        has_more,
    })))
}

async fn retrieve(
    State(app): State<App>,
    access: Access,
    Path(id): Path<String>,
) -> Result<Response, OpenAiError> {
    let (files, seen) = (&app.jobs.files, access.seen());
    let file = files.get(&id, &seen, Timestamp::now()).await?;
    Ok(answer(to_bytes(&object(file))))
}

async fn content(
    State(app): State<App>,
    access: Access,
    Path(id): Path<String>,
) -> Result<Response, OpenAiError> {
    let (files, seen) = (&app.jobs.files, access.seen());
    let (file, bytes) = files.open(&id, &seen, Timestamp::now()).await?;
    let headers = [(header::CONTENT_TYPE, "application/octet-stream")];
    let bytes = Content::new(bytes, file.bytes);
    Ok((headers, Body::new(bytes)).into_response())
}

async fn delete(
    State(app): State<App>,
    access: Access,
    Path(id): Path<String>,
) -> Result<Response, OpenAiError> {
    let (files, seen) = (&app.jobs.files, access.seen());
    files.delete(&id, &seen, Timestamp::now()).await?;
    Ok(answer(to_bytes(&Deleted {
        id,
        object: "file",
        deleted: true,
    })))
}
