//! `SQLite` files: state that must survive a restart, a kill and a power failure.
//!
//! Each owner has its own file. A file is opened on first use, so an unused feature creates nothing. Queries run on one
//! thread per file, off the runtime's threads.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::Connection;
use rusqlite_migration::{M, Migrations};
use tokio::sync::{OnceCell, Semaphore};

/// How many queries may be queued for a file; further callers wait outside of the queue.
const MOST_WAITING: usize = 256;

/// A `SQLite` file; cloning it increments one counter.
#[derive(Debug, Clone)]
pub struct Database {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    path: PathBuf,
    schema: &'static [&'static str],
    connection: OnceCell<tokio_rusqlite::Connection>,
    waiting: Semaphore,
}

/// Why a query failed.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// The disk, or the user's share of it, is full. Nothing was changed.
    #[error("the disk is full: cannot write `{}`", .0.display())]
    Full(PathBuf),
    #[error("cannot use `{}`: {source}", path.display())]
    Sqlite {
        path: PathBuf,
        source: rusqlite::Error,
    },
    #[error("cannot open `{}`: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("cannot bring `{}` up to date: {source}", path.display())]
    Schema {
        path: PathBuf,
        source: rusqlite_migration::Error,
    },
}

impl Database {
    /// Sets the path of a file; the first [`Self::call`] opens it.
    ///
    /// `schema` holds the SQL of every version, oldest first. To change the schema, append to it.
    pub fn new(path: impl Into<PathBuf>, schema: &'static [&'static str]) -> Self {
        let shared = Shared {
            path: path.into(),
            schema,
            connection: OnceCell::new(),
            waiting: Semaphore::new(MOST_WAITING),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// The path of the file.
    pub fn path(&self) -> &Path {
        &self.shared.path
    }

    /// Runs `query` on the file's thread. When a write transaction has been committed, it is on disk.
    ///
    /// If the caller stops waiting, the query still runs.
    ///
    /// # Errors
    /// The file cannot be opened, or the query failed.
    pub async fn call<T: Send + 'static>(
        &self,
        query: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, DatabaseError> {
        let shared = &self.shared;
        // The semaphore is never closed.
        let _place = shared.waiting.acquire().await;
        let connection = shared
            .connection
            .get_or_try_init(|| open(shared.path.clone(), shared.schema))
            .await?;
        let answer = connection.call(query).await;
        answer.map_err(|error| match error {
            tokio_rusqlite::Error::Error(error) => failure(&shared.path, error),
            // The thread lives as long as this value.
            _ => failure(&shared.path, rusqlite::Error::InvalidQuery),
        })
    }
}

fn failure(path: &Path, source: rusqlite::Error) -> DatabaseError {
    let path = path.to_owned();
    match source.sqlite_error_code() {
        Some(rusqlite::ErrorCode::DiskFull) => DatabaseError::Full(path),
        _ => DatabaseError::Sqlite { path, source },
    }
}

async fn open(
    path: PathBuf,
    schema: &'static [&'static str],
) -> Result<tokio_rusqlite::Connection, DatabaseError> {
    let lock = tokio::task::spawn_blocking(move || prepare(path, schema)).await;
    let prepared = lock.map_err(|error| DatabaseError::Io {
        path: PathBuf::new(),
        source: error.into(),
    })?;
    Ok(tokio_rusqlite::Connection::from(prepared?))
}

/// Opens the file, or replaces a damaged one, and creates or updates its tables.
fn prepare(path: PathBuf, schema: &'static [&'static str]) -> Result<Connection, DatabaseError> {
    if let Some(folder) = path.parent() {
        private_folder(folder).map_err(|source| DatabaseError::Io {
            path: folder.to_owned(),
            source,
        })?;
    }
    let mut connection = match checked(&path) {
        Err(error) if is_damaged(&error) => {
            set_aside(&path, &error).map_err(|source| DatabaseError::Io {
                path: path.clone(),
                source,
            })?;
            checked(&path)
        }
        other => other,
    }
    .map_err(|error| failure(&path, error))?;
    let steps = schema.iter().map(|sql| M::up(sql)).collect();
    match Migrations::new(steps).to_latest(&mut connection) {
        Ok(()) => Ok(connection),
        Err(source) => Err(DatabaseError::Schema { path, source }),
    }
}

/// Makes a folder that only the user can read, since it holds what clients said.
fn private_folder(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
}

fn checked(path: &Path) -> rusqlite::Result<Connection> {
    use fs_err::os::unix::fs::OpenOptionsExt as _;
    // The library creates its files with the mode of the main one.
    let mut options = fs_err::OpenOptions::new();
    let created = options.append(true).create(true).mode(0o600).open(path);
    if let Err(error) = created {
        let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CANTOPEN);
        return Err(rusqlite::Error::SqliteFailure(
            code,
            Some(error.to_string()),
        ));
    }
    let connection = Connection::open(path)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // A commit is on disk before its caller goes on.
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    // The file is data and must not be able to call functions.
    connection.pragma_update(None, "trusted_schema", false)?;
    // Deleted texts are overwritten.
    connection.pragma_update(None, "secure_delete", true)?;
    connection.busy_timeout(std::time::Duration::from_secs(5))?;
    let verdict: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if verdict == "ok" {
        return Ok(connection);
    }
    let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT);
    Err(rusqlite::Error::SqliteFailure(code, Some(verdict)))
}

fn is_damaged(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
    matches!(
        error.sqlite_error_code(),
        Some(DatabaseCorrupt | NotADatabase)
    )
}

/// Renames a damaged file and its log, so that they can be examined and a new one can be created.
fn set_aside(path: &Path, error: &rusqlite::Error) -> io::Result<()> {
    let aside = |suffix: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    };
    let kept = aside(".damaged");
    tracing::error!(path = %path.display(), kept = %kept.display(), %error, "the database is damaged: starting a new one");
    for suffix in ["-wal", "-shm"] {
        match fs_err::rename(aside(suffix), aside(&format!(".damaged{suffix}"))) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    fs_err::rename(path, kept)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    const ONE: &[&str] = &["CREATE TABLE word (word TEXT PRIMARY KEY) STRICT"];
    const TWO: &[&str] = &[ONE[0], "ALTER TABLE word ADD COLUMN n INTEGER"];

    async fn add(database: &Database, word: &'static str) -> Result<usize, DatabaseError> {
        database
            .call(move |db| db.execute("INSERT INTO word (word) VALUES (?1)", [word]))
            .await
    }

    async fn count(database: &Database) -> i64 {
        let query = "SELECT count(*) FROM word";
        let answer = database.call(move |db| db.query_row(query, [], |row| row.get(0)));
        answer.await.unwrap()
    }

    #[tokio::test]
    async fn what_was_written_is_there_after_reopening_with_a_newer_schema() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/words.db");
        let old = Database::new(&path, ONE);
        assert!(!path.exists());
        add(&old, "a").await.unwrap();
        assert!(matches!(
            add(&old, "a").await,
            Err(DatabaseError::Sqlite { .. })
        ));
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        drop(old);
        let new = Database::new(&path, TWO);
        new.call(|db| db.execute("UPDATE word SET n = 1", []))
            .await
            .unwrap();
        assert_eq!(count(&new).await, 1);
        // An older program does not touch a newer file.
        assert!(matches!(
            add(&Database::new(&path, ONE), "b").await,
            Err(DatabaseError::Schema { .. })
        ));
    }

    #[tokio::test]
    async fn a_damaged_file_is_kept_and_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("words.db");
        fs_err::write(&path, [b'x'; 5_000]).unwrap();
        let database = Database::new(&path, ONE);
        add(&database, "a").await.unwrap();
        assert_eq!(count(&database).await, 1);
        let kept = fs_err::read(folder.path().join("words.db.damaged")).unwrap();
        assert_eq!(kept, [b'x'; 5_000]);
    }

    #[tokio::test]
    async fn a_folder_that_cannot_be_used_is_named_and_tried_again() {
        let folder = tempfile::tempdir().unwrap();
        let blocked = folder.path().join("state");
        fs_err::write(&blocked, "").unwrap();
        let database = Database::new(blocked.join("words.db"), ONE);
        let error = add(&database, "a").await.unwrap_err();
        assert!(error.to_string().contains("state"), "{error}");
        fs_err::remove_file(&blocked).unwrap();
        add(&database, "a").await.unwrap();
    }

    #[tokio::test]
    async fn a_full_disk_has_its_own_error_and_loses_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::new(folder.path().join("words.db"), ONE);
        add(&database, "a").await.unwrap();
        database
            .call(|db| db.pragma_update(None, "max_page_count", 4))
            .await
            .unwrap();
        let large = "b".repeat(100_000);
        let full = database
            .call(move |db| db.execute("INSERT INTO word (word) VALUES (?1)", [large]))
            .await;
        assert!(matches!(full, Err(DatabaseError::Full(_))), "{full:?}");
        assert_eq!(count(&database).await, 1);
    }
}
