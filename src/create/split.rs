//! Finds the parts of a split GGUF file among the uploads, checks them against each other and merges them
//! into one blob.

use std::collections::HashMap;
use std::sync::Arc;

use super::parts::Parts;
use super::{CreateError, NO_DIGEST, Status};
use crate::model::Digest;
use crate::model::gguf::split::PartName;
use crate::model::gguf::{GgufError, Merge, Metadata};

/// Bytes between two reports of progress.
const STEP: u64 = 16 << 20;

/// An uploaded GGUF file with a valid header.
#[derive(Debug)]
pub(super) struct Upload<'a> {
    pub(super) name: &'a str,
    pub(super) digest: Digest,
    pub(super) header: Arc<Metadata>,
}

/// The files of one layer.
#[derive(Debug)]
pub(super) enum Source<'a> {
    Whole(Upload<'a>),
    /// All parts of a split file, in order.
    Split(Vec<Upload<'a>>),
}

impl<'a> Source<'a> {
    /// The file, or its first part.
    pub(super) fn first(&self) -> &Upload<'a> {
        match self {
            Self::Whole(upload) => upload,
            Self::Split(uploads) => &uploads[0],
        }
    }
}

/// Groups parts that belong together, in the order of the first of each.
pub(super) fn group(uploads: Vec<Upload<'_>>) -> Result<Vec<Source<'_>>, CreateError> {
    let mut found: Vec<(Option<PartName>, Vec<Upload<'_>>)> = Vec::new();
    for upload in uploads {
        let part = part_name(&upload)?;
        let group = part.as_ref().and_then(|part| {
            let mut groups = found.iter_mut();
            groups.find(|(first, _)| {
                first
                    .as_ref()
                    .is_some_and(|first| first.is_of_same_file(part))
            })
        });
        match group {
            Some((_, group)) => group.push(upload),
            None => found.push((part, vec![upload])),
        }
    }
    found
        .into_iter()
        .map(|(part, mut uploads)| match part {
            None => Ok(Source::Whole(uploads.swap_remove(0))),
            Some(part) => {
                check(&part, &uploads)?;
                Ok(Source::Split(uploads))
            }
        })
        .collect()
}

/// Parses the name of a part, which must agree with its header; `None` for whole files.
fn part_name(upload: &Upload<'_>) -> Result<Option<PartName>, CreateError> {
    let Some(count) = number(&upload.header, "count").filter(|count| *count > 1) else {
        return Ok(None);
    };
    let error = |text: String| Err(bad(upload.name, &text));
    let Some(part) = PartName::parse(upload.name) else {
        return error("must use llama.cpp split filename pattern: NAME-00001-of-00003.gguf".into());
    };
    if part.count != count {
        return error(format!(
            "filename count {} does not match metadata count {count}",
            part.count
        ));
    }
    match number(&upload.header, "no") {
        None => error("is missing split.no metadata".into()),
        Some(index) if index != part.index => error(format!(
            "filename index {} does not match metadata index {index}",
            part.index
        )),
        Some(_) => Ok(Some(part)),
    }
}

/// Checks that these are all parts of one file, in order.
fn check(part: &PartName, uploads: &[Upload<'_>]) -> Result<(), CreateError> {
    let first = &uploads[0];
    // The names are unique and sorted, and their numbers have leading zeros.
    let mut names = uploads.iter().map(|upload| upload.name);
    let mut expected = (0..part.count).map(|index| part.sibling(index));
    if let Some(missing) = expected.find(|name| names.next() != Some(name)) {
        let (have, count) = (uploads.len(), part.count);
        let text = format!("has {have} shards, expected {count}: {missing:?} is missing");
        return Err(bad(first.name, &text));
    }
    let architecture = first.header.architecture();
    let n_tensors = number(&first.header, "tensors.count");
    let mut tensors: HashMap<&str, &str> = HashMap::new();
    for upload in uploads {
        let refuse = |text: String| Err(bad(upload.name, &text));
        if !["", architecture].contains(&upload.header.architecture()) {
            return refuse(format!("architecture does not match {:?}", first.name));
        }
        if number(&upload.header, "tensors.count") != n_tensors {
            return refuse(format!("tensor count does not match {:?}", first.name));
        }
        for tensor in &upload.header.tensors {
            if let Some(other) = tensors.insert(&tensor.name, upload.name) {
                return refuse(format!("has tensor {:?}, as {other:?} has", tensor.name));
            }
        }
    }
    match n_tensors {
        Some(expected) if expected != tensors.len() as u64 => {
            let have = tensors.len();
            Err(bad(
                first.name,
                &format!("has {have} tensors, expected {expected}"),
            ))
        }
        _ => Ok(()),
    }
}

/// Writes the parts into one blob, which is pinned.
pub(super) fn merge(
    parts: &mut Parts<'_>,
    uploads: &[Upload<'_>],
) -> Result<(Digest, Arc<Metadata>), CreateError> {
    let name = uploads[0].name;
    let failed = |error: GgufError| match error {
        GgufError::Io(error) => CreateError::internal(error.to_string()),
        error => bad(name, &error.to_string()),
    };
    let paths = uploads
        .iter()
        .map(|upload| parts.store.blob_path(&upload.digest));
    let merge = Merge::plan(paths.collect()).map_err(failed)?;
    let total = merge.size();
    let mut writer = parts.store.blob_writer()?;
    let mut tell = |completed: u64| {
        parts.tell(Status {
            status: format!("merging {} parts of split GGUF", uploads.len()),
            digest: NO_DIGEST.to_owned(),
            total: Some(total),
            completed: Some(completed),
        });
    };
    tell(0);
    let mut told = 0;
    let written = merge.write(&mut writer, &mut |completed| {
        if completed - told >= STEP {
            told = completed;
            tell(completed);
        }
    });
    written.map_err(|error| failed(error.into()))?;
    tell(total);
    let (digest, _) = writer.finish(None)?;
    parts.pin(digest);
    let path = parts.store.blob_path(&digest);
    let header = parts.store.gguf(&path).map_err(failed)?;
    Ok((digest, header))
}

/// A number among `split.*`; the key may also have the architecture as a prefix.
fn number(header: &Metadata, key: &str) -> Option<u64> {
    let direct = header.number(&format!("split.{key}"));
    direct.or_else(|| header.number(&format!(".split.{key}")))
}

fn bad(name: &str, text: &str) -> CreateError {
    CreateError::bad(format!("split GGUF {name:?} {text}"))
}
