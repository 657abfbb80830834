//! `/v1/uploads`: a file in parts.

use axum::extract::{Path, Request, State};
use axum::response::Response;
use jiff::Timestamp;

use super::{answer, files};
use crate::api::openai::{CompleteRequest, FileObject, PartObject, UploadObject, UploadRequest};
use crate::dialect::openai::files as dialect;
use crate::jobs::{Joined, NewUpload, Upload};
use crate::server::access::Access;
use crate::server::error::{ApiError, OpenAiError};
use crate::server::extract::{Body, OpenAiJson, spooled};
use crate::server::origin::Origin;
use crate::server::router::{Routes, route};
use crate::server::state::App;
use crate::server::stream::to_bytes;

pub(super) fn routes() -> Routes {
    Routes::new()
        .merge(route("/v1/uploads", "POST", create))
        .merge(route("/v1/uploads/{id}/parts", "POST", add_part))
        .merge(route("/v1/uploads/{id}/complete", "POST", complete))
        .merge(route("/v1/uploads/{id}/cancel", "POST", cancel))
}

impl Body for UploadRequest {
    const LIMIT: Option<usize> = Some(1 << 20);
}

impl Body for CompleteRequest {
    const LIMIT: Option<usize> = Some(1 << 20);
}

fn object(upload: Upload, file: Option<FileObject>) -> Response {
    answer(to_bytes(&UploadObject {
        id: upload.id,
        object: "upload",
        bytes: upload.bytes,
        created_at: upload.created_at,
        expires_at: upload.expires_at,
        filename: upload.filename,
        purpose: upload.purpose,
        status: upload.status.word(),
        file,
    }))
}

async fn create(
    State(app): State<App>,
    access: Access,
    OpenAiJson(request): OpenAiJson<UploadRequest>,
) -> Result<Response, OpenAiError> {
    let checked = dialect::upload(request)?;
    let new = NewUpload {
        owner: access.owner(),
        purpose: checked.file.purpose,
        filename: checked.file.filename,
        bytes: checked.bytes,
        expiry: checked.file.keep_seconds,
    };
    let upload = app.jobs.files.begin_upload(new, Timestamp::now()).await?;
    Ok(object(upload, None))
}

async fn add_part(
    State(app): State<App>,
    access: Access,
    origin: Origin,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, OpenAiError> {
    let now = Timestamp::now();
    let _pass = app.gates.uploads.enter(origin).await?;
    let files = &app.jobs.files;
    let upload = files.pending_upload(&id, &access.seen(), now).await?;
    let most = dialect::MAX_PART_BYTES.min(upload.bytes);
    let form = spooled(request, files, "data", most).await?;
    let Some((_, incoming)) = form.file else {
        let error = ApiError::invalid("'data' is a required property");
        return Err(error.about("data", "missing_required_parameter").into());
    };
    let part = files.keep_part(incoming, &upload, now).await?;
    Ok(answer(to_bytes(&PartObject {
        id: part.id,
        object: "upload.part",
        created_at: part.created_at,
        upload_id: part.upload,
    })))
}

async fn complete(
    State(app): State<App>,
    access: Access,
    Path(id): Path<String>,
    OpenAiJson(request): OpenAiJson<CompleteRequest>,
) -> Result<Response, OpenAiError> {
    let (parts, md5) = dialect::complete(request)?;
    let (files, seen) = (&app.jobs.files, access.seen());
    let joined = Joined {
        parts: &parts,
        md5: md5.as_deref(),
    };
    let completing = files.complete(&id, &seen, joined, Timestamp::now());
    let (upload, file) = completing.await?;
    Ok(object(upload, Some(files::object(file))))
}

async fn cancel(
    State(app): State<App>,
    access: Access,
    Path(id): Path<String>,
) -> Result<Response, OpenAiError> {
    let (files, seen) = (&app.jobs.files, access.seen());
    let upload = files.cancel_upload(&id, &seen, Timestamp::now()).await?;
    Ok(object(upload, None))
}
