//! The tables, version by version.

/// See [`crate::database::Database::new`].
pub(super) const SCHEMA: &[&str] = &["
CREATE TABLE file (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    purpose TEXT NOT NULL,
    filename TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    sha256 TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER
) STRICT;
CREATE TABLE upload (
    id TEXT PRIMARY KEY,
    purpose TEXT NOT NULL,
    filename TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    -- How long the file is kept.
    keep_seconds INTEGER,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    status TEXT NOT NULL,
    file TEXT
) STRICT;
CREATE TABLE part (
    id TEXT PRIMARY KEY,
    upload TEXT NOT NULL REFERENCES upload (id),
    bytes INTEGER NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX part_of_upload ON part (upload);
"];
