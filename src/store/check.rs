//! Checks a store for what is missing, broken, left over, or another user's, and repairs what needs no
//! download.
//!
//! *Invariants:* a check changes nothing; a repair never touches a manifest, nor an intact blob in use.

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::Serialize;

use super::layout::{explain, names_in, open};
use super::{Store, StoreError};
use crate::model::{Digest, Layer};

const OWNER_READS: u32 = 0o400;
const OWNER_USES_FOLDER: u32 = 0o700;

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "problem", rename_all = "snake_case")]
pub enum Problem {
    /// A manifest that cannot be read; while it exists, nothing is cleaned up.
    BadManifest { model: String, reason: String },
    /// A model names a missing blob.
    MissingBlob { digest: String, models: Vec<String> },
    /// A blob's length is not the one in its models' manifests.
    WrongSize {
        digest: String,
        models: Vec<String>,
        size: u64,
        expected: u64,
    },
    /// A blob's content does not match its digest.
    WrongContent { digest: String, models: Vec<String> },
    /// A second file of the same blob, under a name as in very old versions.
    Duplicate { file: String, size: u64 },
    /// No model names this blob.
    Unused { digest: String, size: u64 },
    /// The leftover of an unfinished download or creation.
    Leftover { file: String, size: u64 },
    /// It belongs to another user than the store's folder.
    WrongOwner {
        path: PathBuf,
        uid: u32,
        expected: u32,
    },
    /// Its owner may not use it.
    WrongMode { path: PathBuf, mode: u32 },
}

/// The result of a check.
#[derive(Debug, Default, Serialize)]
pub struct Checkup {
    pub models: usize,
    pub blobs: usize,
    pub bytes: u64,
    pub problems: Vec<Problem>,
}

/// A blob as the manifests mention it.
#[derive(Debug, Default)]
struct Mention {
    models: Vec<String>,
    size: u64,
}

impl Store {
    /// Checks everything; with `verify` reads every blob to compute its digest, and reports bytes to
    /// `progress`. Blocks, for a long time.
    ///
    /// # Errors
    /// A folder or a blob cannot be read.
    pub fn check(
        &self,
        verify: bool,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Checkup, StoreError> {
        let mut checkup = Checkup::default();
        let mentions = self.mentions(&mut checkup)?;
        self.check_mentioned(&mentions, &mut checkup);
        let now = Timestamp::now();
        for unit in self.units()? {
            let is_old = unit.is_old(now);
            for name in unit.names() {
                let verify: Option<&mut dyn FnMut(u64)> =
                    if verify { Some(&mut *progress) } else { None };
                self.check_file((name, is_old), &mentions, &mut checkup, verify)?;
            }
        }
        self.check_rights(&mut checkup)?;
        Ok(checkup)
    }

    /// Repairs what needs no download; returns the problems that are gone.
    ///
    /// # Errors
    /// A file cannot be removed or changed.
    pub fn repair(&self, checkup: &Checkup) -> Result<Vec<Problem>, StoreError> {
        let _guard = self.lock()?;
        // A blob that was unused at the check may be part of a model by now.
        let references = self.references()?;
        let in_use = |digest: &str| {
            let digest = digest.parse::<Digest>();
            references.unreadable
                || !references.broken.is_empty()
                || digest.is_ok_and(|digest| references.digests.contains(&digest))
        };
        let mut gone = Vec::new();
        for problem in &checkup.problems {
            let mended = match problem {
                Problem::Unused { digest, .. } if !in_use(digest) => self.remove_blob(digest)?,
                // The next pull fetches it again; if it stayed, no pull would.
                Problem::WrongContent { digest, .. } | Problem::WrongSize { digest, .. } => {
                    self.remove_blob(digest)?
                }
                Problem::Duplicate { file, .. } | Problem::Leftover { file, .. } => {
                    let path = self.blobs_dir().join(file);
                    fs_err::remove_file(&path).map_err(|error| explain(&path, error))?;
                    true
                }
                Problem::WrongMode { path, mode } => {
                    let needed = if path.is_dir() {
                        OWNER_USES_FOLDER
                    } else {
                        OWNER_READS
                    };
                    let mode = std::fs::Permissions::from_mode(mode | needed);
                    fs_err::set_permissions(path, mode).map_err(|error| explain(path, error))?;
                    true
                }
                Problem::WrongOwner { path, expected, .. } => {
                    std::os::unix::fs::lchown(path, Some(*expected), None).is_ok()
                }
                _ => false,
            };
            if mended {
                gone.push(problem.clone());
            }
        }
        Ok(gone)
    }

    fn remove_blob(&self, digest: &str) -> Result<bool, StoreError> {
        let Ok(digest) = digest.parse::<Digest>() else {
            return Ok(false);
        };
        let path = self.blob_path(&digest);
        fs_err::remove_file(&path).map_err(|error| explain(&path, error))?;
        Ok(true)
    }

    fn mentions(&self, checkup: &mut Checkup) -> Result<BTreeMap<Digest, Mention>, StoreError> {
        let mut mentions: BTreeMap<Digest, Mention> = BTreeMap::new();
        for name in self.names()? {
            let short = name.short();
            let bad = |reason: String| Problem::BadManifest {
                model: short.clone(),
                reason,
            };
            let manifest = match self.stored(&name) {
                Ok(stored) => stored.manifest,
                Err(error) => {
                    checkup.problems.push(bad(error.to_string()));
                    continue;
                }
            };
            checkup.models += 1;
            for Layer { digest, size, .. } in manifest.blobs() {
                let Ok(digest) = digest.parse() else {
                    checkup
                        .problems
                        .push(bad(format!("a layer has the digest {digest:?}")));
                    continue;
                };
                let mention = mentions.entry(digest).or_default();
                if !mention.models.contains(&short) {
                    mention.models.push(short.clone());
                }
                mention.size = *size;
            }
        }
        Ok(mentions)
    }

    fn check_mentioned(&self, mentions: &BTreeMap<Digest, Mention>, checkup: &mut Checkup) {
        for (digest, mention) in mentions {
            let (digest_text, models) = (digest.to_string(), mention.models.clone());
            match self.blob_path(digest).metadata() {
                Ok(found) if found.is_file() && found.len() != mention.size => {
                    checkup.problems.push(Problem::WrongSize {
                        digest: digest_text,
                        models,
                        size: found.len(),
                        expected: mention.size,
                    });
                }
                Ok(found) if found.is_file() => {}
                _ => checkup.problems.push(Problem::MissingBlob {
                    digest: digest_text,
                    models,
                }),
            }
        }
    }

    /// Checks one file of `blobs` (`is_old` = nothing has written to it recently); reads it completely if there
    /// is a progress callback.
    fn check_file(
        &self,
        (name, is_old): (&str, bool),
        mentions: &BTreeMap<Digest, Mention>,
        checkup: &mut Checkup,
        verify: Option<&mut dyn FnMut(u64)>,
    ) -> Result<(), StoreError> {
        let path = self.blobs_dir().join(name);
        let Ok(metadata) = path.metadata() else {
            return Ok(());
        };
        if !metadata.is_file() {
            return Ok(());
        }
        let size = metadata.len();
        let Ok(digest) = name.parse::<Digest>() else {
            if is_old {
                checkup.problems.push(Problem::Leftover {
                    file: name.to_owned(),
                    size,
                });
            }
            return Ok(());
        };
        if name != digest.file_name() {
            checkup.problems.push(Problem::Duplicate {
                file: name.to_owned(),
                size,
            });
            return Ok(());
        }
        checkup.blobs += 1;
        checkup.bytes += size;
        let mention = mentions.get(&digest);
        if mention.is_none() && is_old {
            checkup.problems.push(Problem::Unused {
                digest: digest.to_string(),
                size,
            });
        }
        let has_right_size = mention.is_none_or(|mention| mention.size == size);
        if let Some(progress) = verify.filter(|_| has_right_size) {
            let found = open(&path)
                .and_then(|mut file| Digest::of_reader(&mut file, progress))
                .map_err(|error| explain(&path, error))?;
            if found != digest {
                checkup.problems.push(Problem::WrongContent {
                    digest: digest.to_string(),
                    models: mention.map_or_else(Vec::new, |mention| mention.models.clone()),
                });
            }
        }
        Ok(())
    }

    /// Checks that everything below the store belongs to its owner, and that the owner may use it.
    fn check_rights(&self, checkup: &mut Checkup) -> Result<(), StoreError> {
        let root = self.root();
        let owner = fs_err::metadata(root)
            .map_err(|error| explain(root, error))?
            .uid();
        for folder in [self.manifests_dir(), self.blobs_dir()] {
            check_rights_below(&folder, owner, &mut checkup.problems)?;
        }
        Ok(())
    }
}

fn check_rights_below(path: &Path, owner: u32, found: &mut Vec<Problem>) -> Result<(), StoreError> {
    // Another process may have removed it.
    let Ok(metadata) = path.symlink_metadata() else {
        return Ok(());
    };
    if metadata.uid() != owner {
        let (path, uid) = (path.to_owned(), metadata.uid());
        found.push(Problem::WrongOwner {
            path,
            uid,
            expected: owner,
        });
    }
    let needed = if metadata.is_dir() {
        OWNER_USES_FOLDER
    } else {
        OWNER_READS
    };
    let mode = metadata.mode() & 0o7777;
    if !metadata.is_symlink() && mode & needed != needed {
        found.push(Problem::WrongMode {
            path: path.to_owned(),
            mode,
        });
    }
    if metadata.is_dir() {
        for name in names_in(path)? {
            check_rights_below(&path.join(name), owner, found)?;
        }
    }
    Ok(())
}
