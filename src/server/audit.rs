//! The audit log: who changed what, and how it ended. One JSON object per line.
//!
//! *Invariants:* the log contains no keys and nothing of what users ask; it does not grow without bound; an act is not
//! refused because it cannot be logged.

use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use axum::http::{Method, StatusCode};
use jiff::Timestamp;
use serde::Serialize;
use tokio_util::task::TaskTracker;

use super::watched::Watch;

/// When the file has this size, the next act begins a new file; one old file is kept.
const MAX_BYTES: u64 = 16 << 20;

/// The most names that are logged for one act.
const MAX_OBJECTS: usize = 8;

/// The log.
#[derive(Debug, Clone)]
pub(crate) struct Audit(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// `None` = acts are only in the daemon's log.
    path: Option<PathBuf>,
    file: Mutex<Option<std::fs::File>>,
    tasks: TaskTracker,
}

/// One act.
#[derive(Debug, Clone, Serialize)]
struct Entry {
    time: Timestamp,
    /// The name of the key, or `local`; `-` where there are no keys.
    by: String,
    address: String,
    method: String,
    path: &'static str,
    /// The names that the act concerns.
    objects: Vec<String>,
    status: u16,
    /// Why it failed, if that came after the status.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// An act in progress: what it concerns, and how it failed, if it did.
#[derive(Debug, Clone, Default)]
pub(crate) struct Act(Arc<Mutex<Known>>);

#[derive(Debug, Default)]
struct Known {
    objects: Vec<String>,
    error: Option<String>,
}

impl Act {
    /// Notes a name that the act concerns.
    pub(crate) fn about(&self, object: &str) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = !known.objects.iter().any(|known| known == object);
        if is_new && known.objects.len() < MAX_OBJECTS {
            known.objects.push(object.to_owned());
        }
    }

    /// Notes that the act failed after its answer had begun.
    pub(crate) fn failed(&self, error: &str) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.error = Some(error.to_owned());
    }
}

/// The record of an act, which is written when it is dropped: at the end of the answer.
#[derive(Debug)]
pub(crate) struct Record {
    audit: Audit,
    act: Act,
    entry: Entry,
}

impl Record {
    /// Notes the status of the answer.
    pub(crate) fn answered(&mut self, status: StatusCode) {
        self.entry.status = status.as_u16();
    }
}

impl Watch for Record {}

impl Drop for Record {
    fn drop(&mut self) {
        let mut known = self.act.0.lock().unwrap_or_else(PoisonError::into_inner);
        self.entry.objects = std::mem::take(&mut known.objects);
        self.entry.error = known.error.take();
        self.audit.write(self.entry.clone());
    }
}

impl Audit {
    pub(crate) fn new(path: Option<PathBuf>, tasks: &TaskTracker) -> Self {
        Self(Arc::new(Inner {
            path,
            file: Mutex::default(),
            tasks: tasks.clone(),
        }))
    }

    /// Begins the record of an act. If there is no answer, the client has left.
    pub(crate) fn begin(
        &self,
        act: Act,
        by: &str,
        address: String,
        (method, path): (&Method, &'static str),
    ) -> Record {
        Record {
            audit: self.clone(),
            act,
            entry: Entry {
                time: Timestamp::now(),
                by: by.to_owned(),
                address,
                method: method.to_string(),
                path,
                objects: Vec::new(),
                status: 499,
                error: None,
            },
        }
    }

    /// Opens the file anew at the next act, since somebody may have moved it.
    pub(crate) fn reopen(&self) {
        *self.0.file.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn write(&self, entry: Entry) {
        let Entry {
            by, path, status, ..
        } = &entry;
        let objects = entry.objects.join(" ");
        tracing::info!(target: "audit", by, method = entry.method, path, objects, status, error = entry.error, "an administrative act");
        if self.0.path.is_none() {
            return;
        }
        let inner = Arc::clone(&self.0);
        self.0.tasks.spawn_blocking(move || {
            if let Err(error) = inner.append(&entry) {
                tracing::error!(%error, "the audit log cannot be written");
            }
        });
    }
}

impl Inner {
    /// Writes a line. Blocks.
    fn append(&self, entry: &Entry) -> io::Result<()> {
        let Some(path) = &self.path else {
            return Ok(());
        };
        let mut line = serde_json::to_vec(entry)?;
        line.push(b'\n');
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let is_full = |file: &std::fs::File| {
            let length = file.metadata().map_or(0, |metadata| metadata.len());
            length > MAX_BYTES
        };
        if file.as_ref().is_some_and(is_full) {
            *file = None;
            let mut old = path.clone().into_os_string();
            old.push(".1");
            fs_err::rename(path, old)?;
        }
        let file = match &mut *file {
            Some(file) => file,
            closed => closed.insert(open(path)?),
        };
        file.write_all(&line)
    }
}

fn open(path: &Path) -> io::Result<std::fs::File> {
    if let Some(folder) = path.parent() {
        fs_err::create_dir_all(folder)?;
    }
    let mut options = std::fs::OpenOptions::new();
    options.append(true).create(true).mode(0o600);
    options.open(path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    async fn write(audit: &Audit, tasks: &TaskTracker, object: &str) {
        let act = Act::default();
        act.about(object);
        let line = (&Method::POST, "/api/pull");
        let mut record = audit.begin(act.clone(), "boss", "192.0.2.1".to_owned(), line);
        record.answered(StatusCode::OK);
        act.failed("no room");
        drop(record);
        tasks.close();
        tasks.wait().await;
    }

    #[tokio::test]
    async fn acts_are_lines_that_only_the_owner_reads() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state/audit.jsonl");
        let tasks = TaskTracker::new();
        let audit = Audit::new(Some(path.clone()), &tasks);
        write(&audit, &tasks, "one\ntwo").await;
        // Moved by logrotate.
        fs_err::rename(&path, folder.path().join("old")).unwrap();
        audit.reopen();
        write(&audit, &tasks, "three").await;
        let old = fs_err::read_to_string(folder.path().join("old")).unwrap();
        assert_eq!(old.lines().count(), 1);
        let line: serde_json::Value = serde_json::from_str(&old).unwrap();
        assert_eq!(line["objects"], serde_json::json!(["one\ntwo"]));
        assert_eq!(
            (&line["by"], &line["status"]),
            (&"boss".into(), &200.into())
        );
        assert_eq!(line["error"], "no room");
        let new = fs_err::read_to_string(&path).unwrap();
        assert!(new.contains("three") && !new.contains("one"), "{new}");
        let mode = fs_err::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[tokio::test]
    async fn a_full_file_makes_room() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        let tasks = TaskTracker::new();
        let audit = Audit::new(Some(path.clone()), &tasks);
        write(&audit, &tasks, "one").await;
        let file = std::fs::OpenOptions::new()
            .append(true)
            .open(&path)
            .unwrap();
        file.set_len(MAX_BYTES + 1).unwrap();
        write(&audit, &tasks, "two").await;
        assert!(fs_err::metadata(&path).unwrap().len() < 1000);
        assert!(folder.path().join("audit.jsonl.1").exists());
    }
}
