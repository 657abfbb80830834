//! Removes bytes without a row, expired files and abandoned uploads.

use std::collections::HashSet;
use std::path::PathBuf;

use jiff::Timestamp;
use rusqlite::{Connection, Params};

use super::{Files, JobsError, unused};

/// Whether the bytes of this id are still needed.
pub(super) const NEEDED: &str = "SELECT 1 FROM file WHERE id = ?1
    UNION ALL SELECT 1 FROM part WHERE id = ?1
    UNION ALL SELECT 1 FROM batch WHERE ?1 IN (input_file, output_file, error_file)
        AND status NOT IN ('failed', 'completed', 'expired', 'cancelled')";

impl Files {
    /// Whether anything was ever stored.
    pub(super) fn exists(&self) -> bool {
        self.shared.database.path().exists()
    }

    /// The bytes of all files and parts.
    pub(super) async fn used(&self) -> Result<u64, JobsError> {
        let query = "SELECT (SELECT coalesce(sum(bytes), 0) FROM file)
            + (SELECT coalesce(sum(bytes), 0) FROM part)
            + (SELECT coalesce(sum(output_bytes + error_bytes), 0) FROM batch
                WHERE status NOT IN ('failed', 'completed', 'expired', 'cancelled'))";
        let used = self
            .shared
            .database
            .call(move |db| db.query_row(query, [], |row| row.get::<_, i64>(0)));
        Ok(used.await?.unsigned_abs())
    }

    /// Removes bytes that a killed daemon left. Only at the start, before any file arrives.
    ///
    /// # Errors
    /// Those of the database and the disk.
    pub async fn sweep(&self) -> Result<usize, JobsError> {
        if !self.exists() {
            return Ok(0);
        }
        let folder = self.shared.folder.clone();
        let names = self.shared.tasks.spawn_blocking(move || names(folder));
        let names = names.await??;
        let orphans = self
            .shared
            .database
            .call(move |db| unused(db, names.into_iter().collect()))
            .await?;
        let n = orphans.len();
        self.remove_bytes(orphans).await;
        Ok(n)
    }

    /// Removes expired files, and the parts of uploads that have ended.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn expire(&self, now: Timestamp) -> Result<usize, JobsError> {
        if !self.exists() {
            return Ok(0);
        }
        let now = now.as_second();
        let expiring = self.shared.database.call(move |db| {
            let change = db.transaction()?;
            let mut gone = ids(&change, "DELETE FROM file WHERE expires_at <= ?1 RETURNING id", [now])?;
            change.execute(
                "UPDATE upload SET status = 'expired' WHERE status = 'pending' AND expires_at <= ?1",
                [now],
            )?;
            let parts = "DELETE FROM part WHERE upload IN
                (SELECT id FROM upload WHERE status != 'pending') RETURNING id";
            gone.extend(ids(&change, parts, [])?);
            // A client may ask for a day how the upload ended.
            change.execute(
                "DELETE FROM upload WHERE status != 'pending' AND expires_at <= ?1 - 86400",
                [now],
            )?;
            let unused = unused(&change, gone)?;
            change.commit()?;
            Ok(unused)
        });
        let unused = expiring.await?;
        let n = unused.len();
        self.remove_bytes(unused).await;
        Ok(n)
    }

    /// Removes the bytes of these ids. Bytes that cannot be removed are orphans, which the next start removes.
    pub(in crate::jobs) async fn remove_bytes(&self, ids: Vec<String>) {
        let paths: Vec<PathBuf> = ids.iter().map(|id| self.path(id)).collect();
        let removing = self.shared.tasks.spawn_blocking(move || {
            for path in paths {
                if let Err(error) = fs_err::remove_file(&path)
                    && error.kind() != std::io::ErrorKind::NotFound
                {
                    tracing::warn!(%error, "could not remove a file");
                }
            }
        });
        // The task does not panic.
        let _ = removing.await;
    }
}

fn names(folder: PathBuf) -> std::io::Result<HashSet<String>> {
    let entries = match fs_err::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(HashSet::new()),
        entries => entries?,
    };
    entries
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect()
}

fn ids(db: &Connection, sql: &str, values: impl Params) -> rusqlite::Result<Vec<String>> {
    let mut rows = db.prepare(sql)?;
    let ids = rows.query_map(values, |row| row.get(0))?;
    ids.collect()
}
