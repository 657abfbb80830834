//! Files: their rows in the database, their bytes in a folder.
//!
//! *Invariants:* a row's bytes are complete and on disk before the row is written; bytes without a row are removed, at
//! the latest at the next start. An expired file does not exist for clients.

mod incoming;
mod sweep;
#[cfg(test)]
mod tests;
mod uploads;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use tokio_util::task::TaskTracker;

use super::{JobsError, id};
use crate::database::Database;
use crate::keys::{Owner, Seen};

pub use incoming::Incoming;
pub(in crate::jobs) use incoming::{private_folder, sync_folder};
pub use uploads::{Joined, NewUpload, Part, Upload, UploadStatus};

/// The files; cheap to clone.
#[derive(Debug, Clone)]
pub struct Files {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    database: Database,
    folder: PathBuf,
    /// The most bytes of all files together.
    most: u64,
    /// The bytes of arriving files.
    arriving: AtomicU64,
    tasks: TaskTracker,
}

/// A file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    pub id: String,
    pub owner: Owner,
    pub purpose: String,
    pub filename: String,
    pub bytes: u64,
    /// In hexadecimal digits.
    pub sha256: String,
    /// Unix seconds.
    pub created_at: i64,
    pub expires_at: Option<i64>,
}

/// A client's description of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewFile {
    pub owner: Owner,
    pub purpose: String,
    pub filename: String,
    pub expiry: Expiry,
}

/// How long a file is kept, in seconds; `None` = until it is deleted.
pub type Expiry = Option<u32>;

/// The order of a list.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Order {
    OldestFirst,
    #[default]
    NewestFirst,
}

/// Which part of the list of files is requested.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilePage {
    pub seen: Seen,
    /// The last file of the previous page.
    pub after: Option<String>,
    pub limit: usize,
    pub order: Order,
    pub purpose: Option<String>,
}

/// The purpose of files that no list shows, since they belong to another object.
pub(in crate::jobs) const UNLISTED: &str = "unlisted";

const COLUMNS: &str = "id, purpose, filename, bytes, sha256, created_at, expires_at, owner";

impl File {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            id: row.get(0)?,
            purpose: row.get(1)?,
            filename: row.get(2)?,
            bytes: row.get::<_, i64>(3)?.unsigned_abs(),
            sha256: row.get(4)?,
            created_at: row.get(5)?,
            expires_at: row.get(6)?,
            owner: Owner::stored(row.get(7)?),
        })
    }

    /// Adds the file's row.
    pub(in crate::jobs) fn insert(&self, db: &Connection) -> rusqlite::Result<()> {
        let insert =
            format!("INSERT INTO file ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)");
        let bytes = i64::try_from(self.bytes).unwrap_or(i64::MAX);
        db.execute(
            &insert,
            params![
                self.id,
                self.purpose,
                self.filename,
                bytes,
                self.sha256,
                self.created_at,
                self.expires_at,
                self.owner.as_str()
            ],
        )?;
        Ok(())
    }
}

impl Files {
    pub(super) fn new(database: Database, folder: PathBuf, most: u64, tasks: TaskTracker) -> Self {
        let shared = Shared {
            database,
            folder,
            most,
            arriving: AtomicU64::new(0),
            tasks,
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// The path of a file's bytes. Only for ids from [`id::new`].
    pub(in crate::jobs) fn path(&self, id: &str) -> PathBuf {
        self.shared.folder.join(id)
    }

    /// Keeps a file that has arrived.
    ///
    /// # Errors
    /// The disk is full, or fails.
    pub async fn keep(
        &self,
        incoming: Incoming,
        new: NewFile,
        now: Timestamp,
    ) -> Result<File, JobsError> {
        let id = id::new("file-");
        let (sha256, bytes) = incoming.finish(&id).await?;
        let created_at = now.as_second();
        let file = File {
            id,
            owner: new.owner,
            purpose: new.purpose,
            filename: new.filename,
            bytes,
            sha256,
            created_at,
            expires_at: new.expiry.map(|seconds| created_at + i64::from(seconds)),
        };
        let row = file.clone();
        let kept = self.shared.database.call(move |db| row.insert(db)).await;
        if let Err(error) = kept {
            self.remove_bytes(vec![file.id]).await;
            return Err(error.into());
        }
        Ok(file)
    }

    /// Keeps a file that belongs to another object, which must name it in its row; returns the file's id.
    ///
    /// # Errors
    /// The disk is full, or fails.
    pub async fn keep_unlisted(&self, incoming: Incoming) -> Result<String, JobsError> {
        let id = id::new("file-");
        incoming.finish(&id).await?;
        Ok(id)
    }

    /// Removes such a file, unless something names it.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn remove_unlisted(&self, id: String) -> Result<(), JobsError> {
        self.remove_unused(vec![id]).await
    }

    /// # Errors
    /// The limit on all files leaves no room for this many bytes.
    pub(in crate::jobs) async fn room_for(&self, bytes: u64) -> Result<(), JobsError> {
        let arriving = self.shared.arriving.load(Ordering::Relaxed);
        let used = self.used().await?.saturating_add(arriving);
        if used.saturating_add(bytes) > self.shared.most {
            return Err(JobsError::NoRoom(self.shared.most));
        }
        Ok(())
    }

    /// Removes the bytes of those ids that are no longer needed.
    pub(in crate::jobs) async fn remove_unused(&self, ids: Vec<String>) -> Result<(), JobsError> {
        let unused = self.shared.database.call(move |db| unused(db, ids)).await?;
        self.remove_bytes(unused).await;
        Ok(())
    }

    /// Finds a file.
    ///
    /// # Errors
    /// [`JobsError::UnknownFile`], also for a file that is not visible; or an error of the database.
    pub async fn get(&self, id: &str, seen: &Seen, now: Timestamp) -> Result<File, JobsError> {
        let (wanted, seen, now) = (id.to_owned(), seen.clone(), now.as_second());
        let finding = move |db: &mut Connection| find(db, &wanted, &seen, now);
        let found = self.shared.database.call(finding);
        found
            .await?
            .ok_or_else(|| JobsError::UnknownFile(id.to_owned()))
    }

    /// Opens a file's bytes; they can be read even if the file is deleted meanwhile.
    ///
    /// # Errors
    /// [`JobsError::UnknownFile`], also for a file that is not visible; or an error of the disk.
    pub async fn open(
        &self,
        id: &str,
        seen: &Seen,
        now: Timestamp,
    ) -> Result<(File, tokio::fs::File), JobsError> {
        let file = self.get(id, seen, now).await?;
        match tokio::fs::File::open(self.path(&file.id)).await {
            Ok(bytes) => Ok((file, bytes)),
            // Deleted between the two.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                Err(JobsError::UnknownFile(file.id))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Lists files, and whether there are more.
    ///
    /// # Errors
    /// [`JobsError::UnknownFile`] if the file to start after is not visible.
    pub async fn list(
        &self,
        page: FilePage,
        now: Timestamp,
    ) -> Result<(Vec<File>, bool), JobsError> {
        let now = now.as_second();
        let limit = page.limit;
        let after = page.after.clone();
        let listing = self.shared.database.call(move |db| list(db, &page, now));
        let Some(mut files) = listing.await? else {
            return Err(JobsError::UnknownFile(after.unwrap_or_default()));
        };
        let has_more = files.len() > limit;
        files.truncate(limit);
        Ok((files, has_more))
    }

    /// Deletes a file. A job that reads it keeps its bytes until it ends.
    ///
    /// # Errors
    /// [`JobsError::UnknownFile`], also for a file that is not visible; or an error of the database.
    pub async fn delete(&self, id: &str, seen: &Seen, now: Timestamp) -> Result<(), JobsError> {
        let (wanted, seen, now) = (id.to_owned(), seen.clone(), now.as_second());
        let deleting = self.shared.database.call(move |db| {
            if find(db, &wanted, &seen, now)?.is_none() {
                return Ok(None);
            }
            db.execute("DELETE FROM file WHERE id = ?1", [&wanted])?;
            unused(db, vec![wanted]).map(Some)
        });
        let Some(unused) = deleting.await? else {
            return Err(JobsError::UnknownFile(id.to_owned()));
        };
        self.remove_bytes(unused).await;
        Ok(())
    }
}

fn find(db: &Connection, id: &str, seen: &Seen, now: i64) -> rusqlite::Result<Option<File>> {
    let query = format!(
        "SELECT {COLUMNS} FROM file WHERE id = ?1 AND owner = ifnull(?2, owner)
         AND (expires_at IS NULL OR expires_at > ?3)"
    );
    db.query_row(&query, params![id, seen.only(), now], File::read)
        .optional()
}

/// Returns one file more than the page has; `None` = the file to start after does not exist.
fn list(db: &Connection, page: &FilePage, now: i64) -> rusqlite::Result<Option<Vec<File>>> {
    let (compare, direction, mut from) = match page.order {
        Order::OldestFirst => (">", "ASC", 0),
        Order::NewestFirst => ("<", "DESC", i64::MAX),
    };
    if let Some(after) = &page.after {
        let known = "SELECT seq FROM file WHERE id = ?1 AND owner = ifnull(?2, owner)";
        let known = db.query_row(known, (after, page.seen.only()), |row| row.get(0));
        match known.optional()? {
            Some(seq) => from = seq,
            None => return Ok(None),
        }
    }
    let query = format!(
        "SELECT {COLUMNS} FROM file WHERE seq {compare} ?1 AND purpose != '{UNLISTED}'
         AND owner = ifnull(?5, owner) AND (?2 IS NULL OR purpose = ?2)
         AND (expires_at IS NULL OR expires_at > ?3) ORDER BY seq {direction} LIMIT ?4"
    );
    let limit = i64::try_from(page.limit)
        .unwrap_or(i64::MAX)
        .saturating_add(1);
    let mut rows = db.prepare_cached(&query)?;
    let params = params![from, page.purpose, now, limit, page.seen.only()];
    let files = rows.query_map(params, File::read)?;
    files.collect::<Result<_, _>>().map(Some)
}

/// Returns those ids whose bytes are no longer needed.
fn unused(db: &Connection, ids: Vec<String>) -> rusqlite::Result<Vec<String>> {
    let mut needed = db.prepare_cached(sweep::NEEDED)?;
    let mut unused = Vec::new();
    for id in ids {
        if !needed.exists([&id])? {
            unused.push(id);
        }
    }
    Ok(unused)
}
