//! Files that clients upload, and batch jobs over them.
//!
//! The state is a SQLite file, and the bytes of files are next to it. This module knows nothing of HTTP: the server
//! passes in how a request is answered. Times are arguments.
//!
//! *Invariant:* objects whose owner is not visible to a request are treated as if they did not exist. Limits hold for
//! all owners together.

mod batches;
mod error;
mod files;
mod id;
mod schema;

pub use batches::{
    Answer, Answered, Batch, BatchPage, Batches, Counts, ENDPOINTS, Fault, Later, MESSAGES,
    MessageLines, Metadata, NewBatch, Origin, Request, Settings, Status, Times, Usage,
    message_lines, message_result,
};
pub use error::JobsError;
pub use files::{
    Expiry, File, FilePage, Files, Incoming, Joined, NewFile, NewUpload, Order, Part, Upload,
    UploadStatus,
};

use std::path::Path;

use tokio_util::task::TaskTracker;

use crate::database::Database;

/// Limits of files and jobs.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Bytes of all files together.
    pub disk: u64,
    pub settings: Settings,
}

/// The files and the jobs; cheap to clone.
#[derive(Debug, Clone)]
pub struct Jobs {
    /// Files that clients uploaded, and results of jobs.
    pub files: Files,
    /// Batch jobs.
    pub batches: Batches,
}

impl Jobs {
    /// Keeps its state in `folder`. Nothing is created before the first use.
    pub fn new(folder: &Path, limits: &Limits, tasks: &TaskTracker) -> Self {
        let database = Database::new(folder.join("jobs.db"), schema::SCHEMA);
        let path = folder.join("files");
        let files = Files::new(database.clone(), path, limits.disk, tasks.clone());
        let store = batches::Store::new(database, files.clone());
        let batches = Batches::new(store, limits.settings.clone());
        Self { files, batches }
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
