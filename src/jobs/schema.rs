//! The tables, version by version.

/// See [`crate::database::Database::new`].
pub(super) const SCHEMA: &[&str] = &[
    "
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
CREATE TABLE batch (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    origin TEXT NOT NULL,
    client TEXT NOT NULL,
    endpoint TEXT NOT NULL,
    input_file TEXT NOT NULL,
    status TEXT NOT NULL,
    model TEXT,
    metadata TEXT,
    errors TEXT,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    in_progress_at INTEGER,
    finalizing_at INTEGER,
    completed_at INTEGER,
    failed_at INTEGER,
    expired_at INTEGER,
    cancelling_at INTEGER,
    cancelled_at INTEGER,
    total INTEGER NOT NULL DEFAULT 0,
    completed INTEGER NOT NULL DEFAULT 0,
    failed INTEGER NOT NULL DEFAULT 0,
    not_run INTEGER NOT NULL DEFAULT 0,
    input_tokens INTEGER NOT NULL DEFAULT 0,
    cached_tokens INTEGER NOT NULL DEFAULT 0,
    output_tokens INTEGER NOT NULL DEFAULT 0,
    reasoning_tokens INTEGER NOT NULL DEFAULT 0,
    output_file TEXT NOT NULL,
    error_file TEXT NOT NULL,
    output_bytes INTEGER NOT NULL DEFAULT 0,
    error_bytes INTEGER NOT NULL DEFAULT 0,
    -- How long the results are kept.
    keep_seconds INTEGER
) STRICT;
CREATE TABLE line (
    batch INTEGER NOT NULL REFERENCES batch (seq),
    number INTEGER NOT NULL,
    custom_id TEXT NOT NULL,
    offset INTEGER NOT NULL,
    length INTEGER NOT NULL,
    rank BLOB NOT NULL,
    -- 0 = waits, otherwise what became of it.
    state INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (batch, number)
) STRICT, WITHOUT ROWID;
CREATE INDEX line_waiting ON line (batch, rank, number) WHERE state = 0;
",
    // The id of an API key; empty = none. The client of an older job names its key, which also owns the files that no
    // other key's job names. Other older rows get no owner.
    "
ALTER TABLE file ADD COLUMN owner TEXT NOT NULL DEFAULT '';
ALTER TABLE upload ADD COLUMN owner TEXT NOT NULL DEFAULT '';
ALTER TABLE batch ADD COLUMN owner TEXT NOT NULL DEFAULT '';
UPDATE batch SET owner = substr(client, 5, instr(client || '/', '/') - 5) WHERE client LIKE 'key-%';
CREATE TEMP TABLE named AS
    SELECT input_file AS id, owner FROM batch UNION
    SELECT output_file, owner FROM batch UNION
    SELECT error_file, owner FROM batch;
CREATE INDEX temp.named_id ON named (id);
UPDATE file SET owner = (SELECT max(owner) FROM named WHERE named.id = file.id)
    WHERE (SELECT count(*) FROM named WHERE named.id = file.id) = 1;
DROP TABLE named;
",
];
