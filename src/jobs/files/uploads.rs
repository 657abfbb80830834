//! Uploads in parts: sent in any order, then joined into one file.

use jiff::Timestamp;
use md5::{Digest as _, Md5};
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::{Expiry, File, Files, Incoming, JobsError, id};
use crate::keys::{Owner, Seen};

/// How many seconds an upload may take.
const PATIENCE: i64 = 3600;

/// The most parts of an upload.
const MAX_PARTS: u32 = 10_000;

/// An upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upload {
    pub id: String,
    pub owner: Owner,
    pub purpose: String,
    pub filename: String,
    /// The announced size.
    pub bytes: u64,
    /// How long the file will be kept.
    pub expiry: Expiry,
    /// Unix seconds.
    pub created_at: i64,
    pub expires_at: i64,
    pub status: UploadStatus,
    /// The id of the file that it became.
    pub file: Option<String>,
}

/// How the parts of an upload are joined.
#[derive(Debug, Clone, Copy)]
pub struct Joined<'a> {
    /// Parts by their ids, in this order.
    pub parts: &'a [String],
    /// The file's MD5 in hexadecimal digits, to be checked.
    pub md5: Option<&'a str>,
}

/// A client's description of an upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewUpload {
    pub owner: Owner,
    pub purpose: String,
    pub filename: String,
    pub bytes: u64,
    pub expiry: Expiry,
}

/// The state of an upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UploadStatus {
    Pending,
    Completed,
    Cancelled,
    Expired,
}

/// A part of an upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    pub id: String,
    pub upload: String,
    pub bytes: u64,
    /// Unix seconds.
    pub created_at: i64,
}

impl UploadStatus {
    const ALL: [Self; 4] = [
        Self::Pending,
        Self::Completed,
        Self::Cancelled,
        Self::Expired,
    ];

    /// The API's word for the state.
    pub fn word(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Completed => "completed",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
        }
    }

    fn of(word: &str) -> Self {
        let mut all = Self::ALL.into_iter();
        all.find(|status| status.word() == word)
            .unwrap_or(Self::Expired)
    }
}

impl Upload {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            id: row.get(0)?,
            purpose: row.get(1)?,
            filename: row.get(2)?,
            bytes: row.get::<_, i64>(3)?.unsigned_abs(),
            expiry: row.get(4)?,
            created_at: row.get(5)?,
            expires_at: row.get(6)?,
            status: UploadStatus::of(&row.get::<_, String>(7)?),
            file: row.get(8)?,
            owner: Owner::stored(row.get(9)?),
        })
    }

    /// # Errors
    /// The upload takes no more parts.
    fn pending(self) -> Result<Self, JobsError> {
        if self.status == UploadStatus::Pending {
            return Ok(self);
        }
        Err(JobsError::UploadIsOver {
            status: self.status.word(),
            id: self.id,
        })
    }
}

impl Files {
    /// Begins an upload in parts.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn begin_upload(&self, new: NewUpload, now: Timestamp) -> Result<Upload, JobsError> {
        let created_at = now.as_second();
        let upload = Upload {
            id: id::new("upload_"),
            owner: new.owner,
            purpose: new.purpose,
            filename: new.filename,
            bytes: new.bytes,
            expiry: new.expiry,
            created_at,
            expires_at: created_at + PATIENCE,
            status: UploadStatus::Pending,
            file: None,
        };
        let row = upload.clone();
        let insert = "INSERT INTO upload (id, purpose, filename, bytes, keep_seconds, created_at,
            expires_at, status, owner) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
        let inserting = self.shared.database.call(move |db| {
            let bytes = i64::try_from(row.bytes).unwrap_or(i64::MAX);
            db.execute(
                insert,
                params![
                    row.id,
                    row.purpose,
                    row.filename,
                    bytes,
                    row.expiry,
                    row.created_at,
                    row.expires_at,
                    row.status.word(),
                    row.owner.as_str()
                ],
            )
        });
        inserting.await?;
        Ok(upload)
    }

    /// Finds an upload.
    ///
    /// # Errors
    /// [`JobsError::UnknownUpload`], also for an upload that is not visible; or an error of the database.
    pub async fn upload(&self, id: &str, seen: &Seen, now: Timestamp) -> Result<Upload, JobsError> {
        let (wanted, seen) = (id.to_owned(), seen.clone());
        let finding = move |db: &mut Connection| find(db, &wanted, &seen);
        let found = self.shared.database.call(finding);
        let mut upload = found
            .await?
            .ok_or_else(|| JobsError::UnknownUpload(id.to_owned()))?;
        if upload.status == UploadStatus::Pending && upload.expires_at <= now.as_second() {
            upload.status = UploadStatus::Expired;
        }
        Ok(upload)
    }

    /// Finds an upload that still takes parts.
    ///
    /// # Errors
    /// The upload is unknown or has ended.
    pub async fn pending_upload(
        &self,
        id: &str,
        seen: &Seen,
        now: Timestamp,
    ) -> Result<Upload, JobsError> {
        self.upload(id, seen, now).await?.pending()
    }

    /// Keeps a part that has arrived.
    ///
    /// # Errors
    /// The upload has ended, or the disk fails.
    pub async fn keep_part(
        &self,
        incoming: Incoming,
        upload: &Upload,
        now: Timestamp,
    ) -> Result<Part, JobsError> {
        let id = id::new("part_");
        let (_, bytes) = incoming.finish(&id).await?;
        let part = Part {
            id,
            upload: upload.id.clone(),
            bytes,
            created_at: now.as_second(),
        };
        let row = part.clone();
        let insert = "INSERT INTO part (id, upload, bytes, created_at)
            SELECT ?1, ?2, ?3, ?4 FROM upload WHERE id = ?2 AND status = 'pending'
            AND (SELECT count(*) FROM part WHERE upload = ?2) < ?5";
        let keeping = self.shared.database.call(move |db| {
            let bytes = i64::try_from(row.bytes).unwrap_or(i64::MAX);
            db.execute(
                insert,
                params![row.id, row.upload, bytes, row.created_at, MAX_PARTS],
            )
        });
        let kept = keeping.await;
        if matches!(kept, Ok(1)) {
            return Ok(part);
        }
        self.remove_bytes(vec![part.id]).await;
        kept?;
        // The upload has ended meanwhile, or has too many parts.
        let seen = Seen::Of(upload.owner.clone());
        let upload = self.pending_upload(&part.upload, &seen, now).await?;
        Err(JobsError::TooLarge(upload.bytes))
    }

    /// Joins parts into the file, in this order.
    ///
    /// # Errors
    /// A part is unknown, the parts do not match the announced size, or the disk fails.
    pub async fn complete(
        &self,
        id: &str,
        seen: &Seen,
        joined: Joined<'_>,
        now: Timestamp,
    ) -> Result<(Upload, File), JobsError> {
        let Joined { parts, md5 } = joined;
        let mut upload = self.pending_upload(id, seen, now).await?;
        self.check_length(&upload, parts).await?;
        let mut incoming = self.begin(upload.bytes).await?;
        for part in parts {
            incoming.append(part).await?;
        }
        let file_id = id::new("file-");
        let (sha256, bytes) = incoming.finish(&file_id).await?;
        if let Some(wanted) = md5 {
            let got = self.md5(&file_id).await;
            if !matches!(&got, Ok(got) if got.eq_ignore_ascii_case(wanted)) {
                self.remove_bytes(vec![file_id]).await;
                return Err(JobsError::WrongChecksum { got: got? });
            }
        }
        let created_at = now.as_second();
        let file = File {
            id: file_id,
            owner: upload.owner.clone(),
            purpose: upload.purpose.clone(),
            filename: upload.filename.clone(),
            bytes,
            sha256,
            created_at,
            expires_at: upload.expiry.map(|seconds| created_at + i64::from(seconds)),
        };
        let (row, upload_id) = (file.clone(), upload.id.clone());
        let completing = self.shared.database.call(move |db| {
            let change = db.transaction()?;
            let update = "UPDATE upload SET status = 'completed', file = ?2
                WHERE id = ?1 AND status = 'pending'";
            if change.execute(update, params![upload_id, row.id])? == 0 {
                return Ok(None);
            }
            row.insert(&change)?;
            let parts = drop_parts(&change, &upload_id)?;
            change.commit()?;
            Ok(Some(parts))
        });
        match completing.await {
            Ok(Some(parts)) => self.remove_bytes(parts).await,
            other => {
                self.remove_bytes(vec![file.id]).await;
                other?;
                // Another request has ended the upload meanwhile.
                let upload = self.pending_upload(id, seen, now).await?;
                return Err(JobsError::UnknownUpload(upload.id));
            }
        }
        upload.status = UploadStatus::Completed;
        upload.file = Some(file.id.clone());
        Ok((upload, file))
    }

    /// Cancels an upload.
    ///
    /// # Errors
    /// The upload is unknown or has ended.
    pub async fn cancel_upload(
        &self,
        id: &str,
        seen: &Seen,
        now: Timestamp,
    ) -> Result<Upload, JobsError> {
        let mut upload = self.pending_upload(id, seen, now).await?;
        let wanted = upload.id.clone();
        let cancelling = self.shared.database.call(move |db| {
            let change = db.transaction()?;
            let update =
                "UPDATE upload SET status = 'cancelled' WHERE id = ?1 AND status = 'pending'";
            change.execute(update, [&wanted])?;
            let parts = drop_parts(&change, &wanted)?;
            change.commit()?;
            Ok(parts)
        });
        let parts = cancelling.await?;
        self.remove_bytes(parts).await;
        upload.status = UploadStatus::Cancelled;
        Ok(upload)
    }

    /// # Errors
    /// A part is unknown, or the parts together have another length.
    async fn check_length(&self, upload: &Upload, parts: &[String]) -> Result<(), JobsError> {
        let (id, wanted) = (upload.id.clone(), parts.to_vec());
        let summing = self.shared.database.call(move |db| {
            let query = "SELECT bytes FROM part WHERE id = ?1 AND upload = ?2";
            let mut query = db.prepare(query)?;
            let mut sum = 0_u64;
            for part in wanted {
                let bytes = query.query_row([&part, &id], |row| row.get::<_, i64>(0));
                match bytes.optional()? {
                    Some(bytes) => sum = sum.saturating_add(bytes.unsigned_abs()),
                    None => return Ok(Err(part)),
                }
            }
            Ok(Ok(sum))
        });
        let got = summing.await?.map_err(JobsError::UnknownPart)?;
        if got == upload.bytes {
            return Ok(());
        }
        let announced = upload.bytes;
        Err(JobsError::WrongLength { got, announced })
    }

    async fn md5(&self, id: &str) -> Result<String, JobsError> {
        let path = self.path(id);
        let summing = self.shared.tasks.spawn_blocking(move || {
            let mut hash = Md5::new();
            std::io::copy(&mut fs_err::File::open(path)?, &mut hash)?;
            Ok::<_, std::io::Error>(crate::jobs::hex(&hash.finalize()))
        });
        Ok(summing.await??)
    }
}

fn find(db: &Connection, id: &str, seen: &Seen) -> rusqlite::Result<Option<Upload>> {
    let query = "SELECT id, purpose, filename, bytes, keep_seconds, created_at, expires_at, status,
        file, owner FROM upload WHERE id = ?1 AND owner = ifnull(?2, owner)";
    db.query_row(query, (id, seen.only()), Upload::read)
        .optional()
}

fn drop_parts(db: &Connection, upload: &str) -> rusqlite::Result<Vec<String>> {
    let mut rows = db.prepare("DELETE FROM part WHERE upload = ?1 RETURNING id")?;
    let ids = rows.query_map([upload], |row| row.get(0))?;
    ids.collect()
}
