//! Recognises and checks uploaded files, and makes layers of them. File contents are not changed.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::sync::Arc;

use super::parts::Parts;
use super::source::warn_of_layout;
use super::split::{self, Source, Upload};
use super::{CreateError, parse_digest};
use crate::families::layout;
use crate::model::gguf::{FileKind, GgufError, MAGIC, Metadata};
use crate::model::{Digest, manifest as media};
use crate::store::{Store, StoreError};

/// The most bytes of headers in memory at once: enough for a file of a thousand parts.
const MAX_HEADERS: u64 = 64 << 20;

/// What a set of files is uploaded for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    Model,
    Adapter,
    Draft,
}

/// File name → digest.
type Files = BTreeMap<String, String>;

/// Adds the layers of a set of files, in the order of their names.
pub(super) fn add(parts: &mut Parts<'_>, files: &Files, wanted: Wanted) -> Result<(), CreateError> {
    let mut uploads = Vec::new();
    let mut n_bytes: u64 = 0;
    for (name, digest) in gguf_files(parts.store, files, wanted)? {
        parts.report("parsing GGUF");
        let header = checked_header(parts.store, name, &digest)?;
        n_bytes = n_bytes.saturating_add(header.weight());
        if n_bytes > MAX_HEADERS {
            return Err(CreateError::bad(format!(
                "{name}: the headers of these files are too long together"
            )));
        }
        uploads.push(Upload {
            name,
            digest,
            header,
        });
    }
    let sources = split::group(uploads)?;
    check_count(&sources, wanted)?;
    let mut has_model = false;
    for source in sources {
        let first = source.first();
        warn_of_layout(&first.digest, &first.header);
        let media_type = media_type(first, wanted)?;
        if media_type == media::MEDIA_MODEL {
            if has_model {
                return Err(CreateError::bad(format!(
                    "{}: there is another model file already; a model is made of one model file, beside \
                     projectors and adapters",
                    first.name
                )));
            }
            has_model = true;
        }
        push(parts, &source, media_type)?;
    }
    Ok(())
}

fn push(parts: &mut Parts<'_>, source: &Source<'_>, media_type: &str) -> Result<(), CreateError> {
    let first = source.first();
    let (digest, header) = match source {
        Source::Whole(upload) => (upload.digest, Arc::clone(&upload.header)),
        Source::Split(uploads) => split::merge(parts, uploads)?,
    };
    let mut layer = parts.store.existing_layer(media_type, &digest)?;
    // The origin of a projector or an adapter is useful; that of a model layer would be shown as the name
    // of a parent model.
    if media_type != media::MEDIA_MODEL {
        first.name.clone_into(&mut layer.from);
    }
    match source {
        Source::Whole(_) => parts.push(layer, Some(header)),
        Source::Split(_) => parts.push_new(layer, Some(header)),
    }
    Ok(())
}

/// The GGUF files of a set, found as in Ollama: by name, otherwise by the first bytes.
fn gguf_files<'a>(
    store: &Store,
    files: &'a Files,
    wanted: Wanted,
) -> Result<Vec<(&'a str, Digest)>, CreateError> {
    let named = |ending: &str| files.keys().any(|name| name.ends_with(ending));
    if named(".safetensors") {
        return Err(CreateError::bad(no_safetensors(wanted)));
    }
    let by_name = named(".gguf");
    let mut found = Vec::new();
    for (name, digest) in files {
        let digest = parse_digest(digest)?;
        // A folder with a GGUF file often also holds the files that it was converted from.
        if by_name && is_companion(name) {
            continue;
        }
        if by_name || is_gguf(store, &digest)? {
            found.push((name.as_str(), digest));
        }
    }
    if found.is_empty() {
        return Err(CreateError::bad("unknown type"));
    }
    Ok(found)
}

fn check_count(sources: &[Source<'_>], wanted: Wanted) -> Result<(), CreateError> {
    match wanted {
        Wanted::Adapter if sources.len() > 1 => {
            Err(CreateError::bad("only one adapter is currently supported"))
        }
        Wanted::Draft if sources.len() > 1 => Err(CreateError::bad(
            "only one draft model is currently supported",
        )),
        _ => Ok(()),
    }
}

/// The media type of a file's layer. (All keys of a split file are in its first part.)
fn media_type(upload: &Upload<'_>, wanted: Wanted) -> Result<&'static str, CreateError> {
    let name = upload.name;
    match (wanted, upload.header.kind()) {
        (Wanted::Model, FileKind::Model) => Ok(media::MEDIA_MODEL),
        (Wanted::Model, FileKind::Projector) => Ok(media::MEDIA_PROJECTOR),
        (Wanted::Model | Wanted::Adapter, FileKind::Adapter) => Ok(media::MEDIA_ADAPTER),
        (Wanted::Draft, FileKind::Model) => Ok(media::MEDIA_DRAFT),
        (Wanted::Adapter, _) => Err(CreateError::bad(format!(
            "{name}: not a LoRA adapter (`general.type` is not `adapter`)"
        ))),
        (Wanted::Draft, _) => Err(CreateError::bad(format!("{name}: not a draft model"))),
    }
}

/// Reads and checks the header: every tensor must be within the file, numbers that would make llama.cpp abort must be
/// in range, and no token may occur twice.
fn checked_header(
    store: &Store,
    name: &str,
    digest: &Digest,
) -> Result<Arc<Metadata>, CreateError> {
    let named = |error: GgufError| match error {
        GgufError::NotGguf => CreateError::bad(error.to_string()),
        GgufError::Invalid(_) => CreateError::bad(format!("{name}: {error}")),
        GgufError::Io(error) => CreateError::internal(format!("{name}: {error}")),
    };
    if !store.has_blob(digest) {
        return Err(StoreError::BlobNotFound(*digest).into());
    }
    let path = store.blob_path(digest);
    let header = store.gguf(&path).map_err(named)?;
    let file = store.open_file(&path);
    let checked = file
        .map_err(GgufError::Io)
        .and_then(|mut file| layout::check(&path, &mut file));
    checked.map_err(named)?;
    Ok(header)
}

fn no_safetensors(wanted: Wanted) -> &'static str {
    match wanted {
        Wanted::Adapter => {
            "importing safetensors adapters is not supported; convert the adapter with llama.cpp's \
             `convert_lora_to_gguf.py` and use the GGUF file"
        }
        Wanted::Model | Wanted::Draft => {
            "importing safetensors is not supported; convert the model with llama.cpp's \
             `convert_hf_to_gguf.py` and create it from the GGUF file"
        }
    }
}

fn is_companion(name: &str) -> bool {
    name.ends_with(".json") || name.ends_with(".jinja") || name.ends_with("tokenizer.model")
}

fn is_gguf(store: &Store, digest: &Digest) -> Result<bool, CreateError> {
    if !store.has_blob(digest) {
        return Err(StoreError::BlobNotFound(*digest).into());
    }
    let read = || -> std::io::Result<[u8; 4]> {
        let mut start = [0; 4];
        store.open_blob(digest)?.read_exact(&mut start)?;
        Ok(start)
    };
    match read() {
        Ok(start) => Ok(start == MAGIC || start == *b"FUGG"),
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(CreateError::internal(error.to_string())),
    }
}
