//! Checks the values of requests for files: purposes, expiry, pages. Error texts follow OpenAI's.

use super::check::{integer, missing, unknown};
use super::invalid;
use crate::api::openai::{CompleteRequest, ExpiresAfter, UploadRequest};
use crate::error::{ErrorKind, RequestError};

/// Purposes that clients may name.
const PURPOSES: [&str; 6] = [
    "assistants",
    "batch",
    "fine-tune",
    "vision",
    "user_data",
    "evals",
];

/// The purpose of files with requests for a batch job.
pub const BATCH: &str = "batch";

/// The most bytes of a file, and of a file for a batch job.
const MAX_BYTES: u64 = 512 << 20;
const MAX_BATCH_BYTES: u64 = 200 << 20;

/// The most bytes of a part of an upload.
pub const MAX_PART_BYTES: u64 = 64 << 20;

/// The most characters of a name.
const MAX_NAME: usize = 255;

/// How many seconds a file may be kept, and how long a file for a batch job is kept by default.
const KEEP: std::ops::RangeInclusive<i64> = 3600..=2_592_000;
const KEEP_BATCH: u32 = 2_592_000;

/// The most files of a page, which is also the default.
const MAX_PAGE: i64 = 10_000;

/// A checked description of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    pub purpose: String,
    pub filename: String,
    /// How many seconds the file is kept; `None` = until it is deleted.
    pub keep_seconds: Option<u32>,
}

/// A checked upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadDescription {
    pub file: Description,
    pub bytes: u64,
}

/// Fields of a form, and the file's name if there was a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FileForm {
    pub filename: Option<String>,
    pub purpose: Option<String>,
    pub anchor: Option<String>,
    pub seconds: Option<String>,
}

/// Which part of a list the client wants.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PageQuery {
    pub after: Option<String>,
    pub limit: usize,
    pub is_ascending: bool,
    pub purpose: Option<String>,
}

/// The most bytes of a file of this purpose; without a purpose, of any file.
pub fn max_bytes(purpose: Option<&str>) -> u64 {
    match purpose {
        Some(BATCH) => MAX_BATCH_BYTES,
        _ => MAX_BYTES,
    }
}

/// Checks the form of `POST /v1/files`; its file had `bytes` bytes.
///
/// # Errors
/// Names the field that is missing or wrong.
pub fn description(form: FileForm, bytes: u64) -> Result<Description, RequestError> {
    let filename = form.filename.ok_or_else(|| required("file"))?;
    let purpose = purpose(form.purpose)?;
    let expires_after = match (form.anchor, form.seconds) {
        (None, None) => None,
        (anchor, seconds) => {
            let seconds = seconds.map(|text| text.trim().parse::<i64>()).transpose();
            let seconds = seconds.map_err(|_| {
                invalid("Invalid type for 'expires_after.seconds': expected an integer, but got a string instead.")
                    .about("expires_after[seconds]", "invalid_type")
            })?;
            Some(ExpiresAfter {
                anchor: anchor.unwrap_or_default(),
                seconds,
            })
        }
    };
    let keep_seconds = keep(expires_after, &purpose, "expires_after")?;
    check_batch_file(&purpose, &filename, bytes)?;
    Ok(Description {
        purpose,
        filename: shortened(filename),
        keep_seconds,
    })
}

/// Checks the body of `POST /v1/uploads`.
///
/// # Errors
/// See [`description`].
pub fn upload(request: UploadRequest) -> Result<UploadDescription, RequestError> {
    let bytes = request.bytes.ok_or_else(|| missing("bytes"))?;
    let filename = request.filename.ok_or_else(|| missing("filename"))?;
    let purpose = purpose(Some(request.purpose.ok_or_else(|| missing("purpose"))?))?;
    request.mime_type.ok_or_else(|| missing("mime_type"))?;
    let most = i64::try_from(max_bytes(Some(&purpose))).unwrap_or(i64::MAX);
    integer("bytes", Some(bytes), 1..=most)?;
    let keep_seconds = keep(request.expires_after, &purpose, "expires_after")?;
    check_batch_file(&purpose, &filename, bytes.unsigned_abs())?;
    Ok(UploadDescription {
        file: Description {
            purpose,
            filename: shortened(filename),
            keep_seconds,
        },
        bytes: bytes.unsigned_abs(),
    })
}

/// Checks the body of `POST /v1/uploads/{id}/complete`: the parts and the checksum.
///
/// # Errors
/// There are no parts.
pub fn complete(request: CompleteRequest) -> Result<(Vec<String>, Option<String>), RequestError> {
    let parts = request.part_ids.ok_or_else(|| missing("part_ids"))?;
    if parts.is_empty() {
        return Err(
            invalid("Invalid 'part_ids': empty array. Expected at least one part.")
                .about("part_ids", "empty_array"),
        );
    }
    Ok((parts, request.md5.filter(|md5| !md5.is_empty())))
}

/// How many seconds something is kept; files for batch jobs 30 days by default.
///
/// # Errors
/// The anchor or the time is not supported.
pub fn keep(
    asked: Option<ExpiresAfter>,
    purpose: &str,
    param: &'static str,
) -> Result<Option<u32>, RequestError> {
    let Some(asked) = asked else {
        return Ok((purpose == BATCH).then_some(KEEP_BATCH));
    };
    if asked.anchor != "created_at" {
        let param = format!("{param}.anchor");
        return Err(unknown(param, &asked.anchor, "'created_at'"));
    }
    let seconds = asked
        .seconds
        .ok_or_else(|| missing(format!("{param}.seconds")))?;
    let name = match param {
        "output_expires_after" => "output_expires_after.seconds",
        _ => "expires_after.seconds",
    };
    integer(name, Some(seconds), KEEP)?;
    Ok(u32::try_from(seconds).ok())
}

/// Reads the query of a list of files.
///
/// # Errors
/// Names the value that is wrong.
pub fn page(query: &str) -> Result<PageQuery, RequestError> {
    let mut page = pages(query, MAX_PAGE, MAX_PAGE)?;
    // Any other text is a purpose that no file has.
    page.purpose = page.purpose.filter(|purpose| !purpose.is_empty());
    Ok(page)
}

/// Reads the query of a list.
///
/// # Errors
/// Names the value that is wrong.
pub fn pages(query: &str, default: i64, most: i64) -> Result<PageQuery, RequestError> {
    let mut page = PageQuery::default();
    let mut limit = default;
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
        match &*name {
            "after" if !value.is_empty() => page.after = Some(value.into_owned()),
            "purpose" => page.purpose = Some(value.into_owned()),
            "order" => match &*value {
                "asc" => page.is_ascending = true,
                "desc" => page.is_ascending = false,
                other => return Err(unknown("order", other, "'asc' and 'desc'")),
            },
            "limit" => {
                limit = value.parse().map_err(|_| {
                    invalid(
                        "Invalid type for 'limit': expected an integer, but got a string instead.",
                    )
                    .about("limit", "invalid_type")
                })?;
                integer("limit", Some(limit), 1..=most)?;
            }
            _ => {}
        }
    }
    page.limit = usize::try_from(limit).unwrap_or(1);
    Ok(page)
}

fn purpose(given: Option<String>) -> Result<String, RequestError> {
    let given = given.ok_or_else(|| required("purpose"))?;
    if PURPOSES.contains(&given.as_str()) {
        return Ok(given);
    }
    let known = PURPOSES.map(|purpose| format!("'{purpose}'")).join(", ");
    Err(unknown("purpose", &given, &known))
}

fn required(name: &'static str) -> RequestError {
    invalid(format!("'{name}' is a required property")).about(name, "missing_required_parameter")
}

fn check_batch_file(purpose: &str, filename: &str, bytes: u64) -> Result<(), RequestError> {
    if bytes > max_bytes(Some(purpose)) {
        return Err(too_large(max_bytes(Some(purpose))));
    }
    let is_jsonl = filename.to_ascii_lowercase().ends_with(".jsonl");
    if purpose != BATCH || (is_jsonl && bytes > 0) {
        return Ok(());
    }
    let message = if is_jsonl {
        "Invalid file format for Batch API. The file is empty."
    } else {
        "Invalid file format for Batch API. Must be .jsonl"
    };
    Err(invalid(message).about("file", "invalid_file_format"))
}

/// The error for a file of more than `most` bytes.
pub fn too_large(most: u64) -> RequestError {
    let message = format!(
        "The file is too large: at most {} MB are allowed.",
        most >> 20
    );
    RequestError::new(ErrorKind::TooLarge, message).about("file", "file_too_large")
}

/// A name without folders and control characters, cut to the allowed length.
fn shortened(name: String) -> String {
    let name = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let plain = name.chars().filter(|c| !c.is_control());
    plain.take(MAX_NAME).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(filename: &str, purpose: &str) -> FileForm {
        FileForm {
            filename: Some(filename.to_owned()),
            purpose: Some(purpose.to_owned()),
            ..FileForm::default()
        }
    }

    fn expiring(anchor: &str, seconds: &str) -> Result<Description, RequestError> {
        let form = FileForm {
            anchor: Some(anchor.to_owned()),
            seconds: Some(seconds.to_owned()),
            ..form("a.txt", "user_data")
        };
        description(form, 1)
    }

    #[test]
    fn files_for_jobs_expire_and_others_stay() {
        let batch = description(form("../x/i\u{7}n.jsonl", BATCH), 1).unwrap();
        assert_eq!(
            (batch.filename.as_str(), batch.keep_seconds),
            ("in.jsonl", Some(KEEP_BATCH))
        );
        let other = description(form("a.txt", "user_data"), 0).unwrap();
        assert_eq!(other.keep_seconds, None);
        let short = expiring("created_at", "3600").unwrap();
        assert_eq!(short.keep_seconds, Some(3600));
        let long = description(form(&"n".repeat(999), "evals"), 0).unwrap();
        assert_eq!(long.filename.len(), 255);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let empty = FileForm::default();
        let no_purpose = FileForm {
            purpose: None,
            ..form("a", "")
        };
        let large = description(form("a.jsonl", BATCH), MAX_BATCH_BYTES + 1);
        for (result, param, message) in [
            (
                description(empty, 0),
                "file",
                "'file' is a required property",
            ),
            (
                description(no_purpose, 1),
                "purpose",
                "'purpose' is a required property",
            ),
            (
                description(form("a", "batch_output"), 1),
                "purpose",
                "Invalid value: 'batch_output'. Supported values are: 'assistants', 'batch', \
                 'fine-tune', 'vision', 'user_data', 'evals'.",
            ),
            (
                description(form("a.json", BATCH), 1),
                "file",
                "Invalid file format for Batch API. Must be .jsonl",
            ),
            (
                description(form("a.jsonl", BATCH), 0),
                "file",
                "Invalid file format for Batch API. The file is empty.",
            ),
            (
                large,
                "file",
                "The file is too large: at most 200 MB are allowed.",
            ),
            (
                expiring("now", "3600"),
                "expires_after.anchor",
                "Invalid value: 'now'. Supported values are: 'created_at'.",
            ),
            (
                expiring("created_at", "3599"),
                "expires_after.seconds",
                "Invalid 'expires_after.seconds': integer below minimum value. Expected a value >= 3600, \
                 but got 3599 instead.",
            ),
            (
                expiring("created_at", "an hour"),
                "expires_after[seconds]",
                "Invalid type for 'expires_after.seconds': expected an integer, but got a string instead.",
            ),
        ] {
            let error = result.unwrap_err();
            assert_eq!(
                (error.param.as_deref(), error.message.as_str()),
                (Some(param), message)
            );
        }
    }

    #[test]
    fn pages_have_limits() {
        let all = page("").unwrap();
        assert_eq!((all.limit, all.is_ascending), (10_000, false));
        let some = page("after=file-1&limit=2&order=asc&purpose=batch&x=y").unwrap();
        let expected = PageQuery {
            after: Some("file-1".to_owned()),
            limit: 2,
            is_ascending: true,
            purpose: Some(BATCH.to_owned()),
        };
        assert_eq!(some, expected);
        for (query, param) in [
            ("limit=0", "limit"),
            ("limit=10001", "limit"),
            ("limit=x", "limit"),
            ("order=up", "order"),
        ] {
            assert_eq!(
                page(query).unwrap_err().param.as_deref(),
                Some(param),
                "{query}"
            );
        }
    }

    #[test]
    fn an_upload_says_how_large_it_will_be() {
        let whole = UploadRequest {
            bytes: Some(10),
            filename: Some("a.jsonl".to_owned()),
            mime_type: Some("application/jsonl".to_owned()),
            purpose: Some(BATCH.to_owned()),
            expires_after: None,
        };
        assert_eq!(upload(whole.clone()).unwrap().bytes, 10);
        for (request, param) in [
            (
                UploadRequest {
                    bytes: None,
                    ..whole.clone()
                },
                "bytes",
            ),
            (
                UploadRequest {
                    bytes: Some(0),
                    ..whole.clone()
                },
                "bytes",
            ),
            (
                UploadRequest {
                    bytes: Some(201 << 20),
                    ..whole.clone()
                },
                "bytes",
            ),
            (
                UploadRequest {
                    filename: None,
                    ..whole.clone()
                },
                "filename",
            ),
            (
                UploadRequest {
                    purpose: None,
                    ..whole.clone()
                },
                "purpose",
            ),
            (
                UploadRequest {
                    mime_type: None,
                    ..whole
                },
                "mime_type",
            ),
        ] {
            assert_eq!(upload(request).unwrap_err().param.as_deref(), Some(param));
        }
        let none = CompleteRequest::default();
        assert_eq!(
            complete(none).unwrap_err().param.as_deref(),
            Some("part_ids")
        );
    }
}
