//! The rows of a job's lines.

use rusqlite::params;

use super::Store;
use super::rows::{find, signed, unsigned};
use crate::jobs::JobsError;
use crate::jobs::batches::batch::{Batch, Usage};

/// A waiting request of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::jobs::batches) struct Line {
    /// Its line in the input file, from 1.
    pub(in crate::jobs::batches) number: i64,
    pub(in crate::jobs::batches) custom_id: String,
    /// Its offset in the input file, in bytes.
    pub(in crate::jobs::batches) offset: u64,
    pub(in crate::jobs::batches) length: u64,
    /// Its rank in the order in which requests run.
    pub(in crate::jobs::batches) rank: Vec<u8>,
}

/// The state of a finished line, as in its row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::jobs::batches) enum Mark {
    Completed = 1,
    Failed = 2,
    NotRun = 3,
}

/// Results on disk whose lines are to be marked.
#[derive(Debug, Default)]
pub(in crate::jobs::batches) struct Marks {
    pub(in crate::jobs::batches) lines: Vec<(i64, Mark)>,
    pub(in crate::jobs::batches) usage: Usage,
    /// The lengths of the result files including these results.
    pub(in crate::jobs::batches) output_bytes: u64,
    pub(in crate::jobs::batches) error_bytes: u64,
}

impl Store {
    /// Removes the lines of a job.
    pub(in crate::jobs::batches) async fn clear_lines(&self, seq: i64) -> Result<(), JobsError> {
        let delete = "DELETE FROM line WHERE batch = ?1";
        self.database
            .call(move |db| db.execute(delete, [seq]))
            .await?;
        Ok(())
    }

    /// Adds lines to a job.
    pub(in crate::jobs::batches) async fn add_lines(
        &self,
        seq: i64,
        lines: Vec<Line>,
    ) -> Result<(), JobsError> {
        let insert = "INSERT INTO line (batch, number, custom_id, offset, length, rank)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
        let adding = self.database.call(move |db| {
            let change = db.transaction()?;
            {
                let mut insert = change.prepare_cached(insert)?;
                for line in lines {
                    let (offset, length) = (signed(line.offset), signed(line.length));
                    let values =
                        params![seq, line.number, line.custom_id, offset, length, line.rank];
                    insert.execute(values)?;
                }
            }
            change.commit()
        });
        Ok(adding.await?)
    }

    /// Waiting lines in the order in which they run, after the given one.
    pub(in crate::jobs::batches) async fn waiting(
        &self,
        seq: i64,
        after: Option<(Vec<u8>, i64)>,
        n: usize,
    ) -> Result<Vec<Line>, JobsError> {
        let query = "SELECT number, custom_id, offset, length, rank FROM line
            WHERE batch = ?1 AND state = 0 AND (rank, number) > (?2, ?3) ORDER BY rank, number LIMIT ?4";
        let (rank, number) = after.unwrap_or_default();
        let most = i64::try_from(n).unwrap_or(i64::MAX);
        let waiting = self.database.call(move |db| {
            let mut query = db.prepare_cached(query)?;
            let rows = query.query_map(params![seq, rank, number, most], |row| {
                Ok(Line {
                    number: row.get(0)?,
                    custom_id: row.get(1)?,
                    offset: unsigned(row, 2)?,
                    length: unsigned(row, 3)?,
                    rank: row.get(4)?,
                })
            })?;
            rows.collect::<Result<Vec<_>, _>>()
        });
        Ok(waiting.await?)
    }

    /// Marks lines whose results are on disk; a line that is marked already is not counted again.
    pub(in crate::jobs::batches) async fn mark(
        &self,
        seq: i64,
        marks: Marks,
    ) -> Result<Batch, JobsError> {
        let update = "UPDATE line SET state = ?3 WHERE batch = ?1 AND number = ?2 AND state = 0";
        let marking = self.database.call(move |db| {
            let change = db.transaction()?;
            let Some(mut batch) = find(&change, "seq", &seq)? else {
                return Ok(None);
            };
            {
                let mut update = change.prepare_cached(update)?;
                for (number, mark) in marks.lines {
                    if update.execute(params![seq, number, mark as i64])? == 0 {
                        continue;
                    }
                    match mark {
                        Mark::Completed => batch.counts.completed += 1,
                        Mark::Failed => batch.counts.failed += 1,
                        Mark::NotRun => batch.counts.not_run += 1,
                    }
                }
            }
            batch.usage.input += marks.usage.input;
            batch.usage.cached += marks.usage.cached;
            batch.usage.output += marks.usage.output;
            batch.usage.reasoning += marks.usage.reasoning;
            batch.output_bytes = marks.output_bytes;
            batch.error_bytes = marks.error_bytes;
            batch.save(&change)?;
            change.commit()?;
            Ok(Some(batch))
        });
        let marked = marking.await?;
        marked.ok_or_else(|| JobsError::UnknownBatch(seq.to_string()))
    }
}
