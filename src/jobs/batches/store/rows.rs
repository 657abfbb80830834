//! A job as a row of the database.

use rusqlite::{Connection, OptionalExtension as _, Row, params};

use crate::jobs::batches::batch::{Batch, Counts, Origin, Status, Times, Usage};
use crate::keys::Owner;

pub(super) const COLUMNS: &str = "seq, id, origin, client, endpoint, input_file, status, model, metadata, errors, \
    created_at, expires_at, in_progress_at, finalizing_at, completed_at, failed_at, expired_at, \
    cancelling_at, cancelled_at, total, completed, failed, not_run, input_tokens, cached_tokens, \
    output_tokens, reasoning_tokens, output_file, error_file, output_bytes, error_bytes, keep_seconds, owner";

impl Batch {
    pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        let origin: String = row.get(2)?;
        let status: String = row.get(6)?;
        Ok(Self {
            seq: row.get(0)?,
            id: row.get(1)?,
            origin: match origin.as_str() {
                "anthropic" => Origin::Anthropic,
                _ => Origin::OpenAi,
            },
            client: row.get(3)?,
            endpoint: row.get(4)?,
            input_file: row.get(5)?,
            status: Status::of(&status).unwrap_or(Status::Failed),
            model: row.get(7)?,
            metadata: json(row, 8)?,
            faults: json(row, 9)?.unwrap_or_default(),
            times: Times {
                created: row.get(10)?,
                expires: row.get(11)?,
                in_progress: row.get(12)?,
                finalizing: row.get(13)?,
                completed: row.get(14)?,
                failed: row.get(15)?,
                expired: row.get(16)?,
                cancelling: row.get(17)?,
                cancelled: row.get(18)?,
            },
            counts: Counts {
                total: unsigned(row, 19)?,
                completed: unsigned(row, 20)?,
                failed: unsigned(row, 21)?,
                not_run: unsigned(row, 22)?,
            },
            usage: Usage {
                input: unsigned(row, 23)?,
                cached: unsigned(row, 24)?,
                output: unsigned(row, 25)?,
                reasoning: unsigned(row, 26)?,
            },
            output_file: row.get(27)?,
            error_file: row.get(28)?,
            output_bytes: unsigned(row, 29)?,
            error_bytes: unsigned(row, 30)?,
            keep: row.get(31)?,
            owner: Owner::stored(row.get(32)?),
        })
    }

    /// Writes all columns that may change.
    pub(super) fn save(&self, db: &Connection) -> rusqlite::Result<()> {
        let update = "UPDATE batch SET status = ?2, model = ?3, errors = ?4, in_progress_at = ?5,
            finalizing_at = ?6, completed_at = ?7, failed_at = ?8, expired_at = ?9, cancelling_at = ?10,
            cancelled_at = ?11, total = ?12, completed = ?13, failed = ?14, not_run = ?15,
            input_tokens = ?16, cached_tokens = ?17, output_tokens = ?18, reasoning_tokens = ?19,
            output_bytes = ?20, error_bytes = ?21 WHERE seq = ?1";
        let (times, counts, usage) = (&self.times, &self.counts, &self.usage);
        let faults = (!self.faults.is_empty()).then(|| to_json(&self.faults));
        db.prepare_cached(update)?.execute(params![
            self.seq,
            self.status.word(),
            self.model,
            faults.flatten(),
            times.in_progress,
            times.finalizing,
            times.completed,
            times.failed,
            times.expired,
            times.cancelling,
            times.cancelled,
            signed(counts.total),
            signed(counts.completed),
            signed(counts.failed),
            signed(counts.not_run),
            signed(usage.input),
            signed(usage.cached),
            signed(usage.output),
            signed(usage.reasoning),
            signed(self.output_bytes),
            signed(self.error_bytes),
        ])?;
        Ok(())
    }
}

pub(super) fn find(
    db: &Connection,
    column: &str,
    value: &dyn rusqlite::ToSql,
) -> rusqlite::Result<Option<Batch>> {
    let query = format!("SELECT {COLUMNS} FROM batch WHERE {column} = ?1");
    let mut query = db.prepare_cached(&query)?;
    query.query_row([value], Batch::read).optional()
}

pub(super) fn unsigned(row: &Row<'_>, index: usize) -> rusqlite::Result<u64> {
    Ok(row.get::<_, i64>(index)?.unsigned_abs())
}

pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A JSON column; an unreadable value counts as missing.
fn json<T: serde::de::DeserializeOwned>(
    row: &Row<'_>,
    index: usize,
) -> rusqlite::Result<Option<T>> {
    let text: Option<String> = row.get(index)?;
    Ok(text.and_then(|text| serde_json::from_str(&text).ok()))
}

pub(super) fn to_json(value: &impl serde::Serialize) -> Option<String> {
    serde_json::to_string(value).ok()
}
