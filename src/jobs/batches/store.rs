//! The rows of jobs and of their lines.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::batch::{Batch, Counts, Event, NewBatch, Origin, Status, Times, Usage};
use crate::database::Database;
use crate::jobs::{Files, JobsError, id};

/// Seconds for which a job that has ended is remembered.
const REMEMBERED: i64 = 60 * 24 * 3600;

/// What is asked of all jobs that have not ended.
const ACTIVE: &str = "status NOT IN ('failed', 'completed', 'expired', 'cancelled')";

const COLUMNS: &str = "seq, id, origin, client, endpoint, input_file, status, model, metadata, errors, \
    created_at, expires_at, in_progress_at, finalizing_at, completed_at, failed_at, expired_at, \
    cancelling_at, cancelled_at, total, completed, failed, not_run, input_tokens, cached_tokens, \
    output_tokens, reasoning_tokens, output_file, error_file, output_bytes, error_bytes, keep_seconds";

/// The rows of jobs; cheap to clone.
#[derive(Debug, Clone)]
pub(in crate::jobs) struct Store {
    database: Database,
    pub(super) files: Files,
}

/// A request of a job that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    /// Its line in the input file, from 1.
    pub(super) number: i64,
    pub(super) custom_id: String,
    /// Where it is in the input file, in bytes.
    pub(super) offset: u64,
    pub(super) length: u64,
    /// Its place in the order in which requests run.
    pub(super) rank: Vec<u8>,
}

/// What became of a line, as its row says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    Completed = 1,
    Failed = 2,
    NotRun = 3,
}

/// Results that are on disk, to be marked.
#[derive(Debug, Default)]
pub(super) struct Marks {
    pub(super) lines: Vec<(i64, Mark)>,
    pub(super) usage: Usage,
    /// The lengths that the files of results have with them.
    pub(super) output_bytes: u64,
    pub(super) error_bytes: u64,
}

/// What may wait.
#[derive(Debug, Clone, Copy)]
pub(super) struct Most {
    pub(super) jobs: i64,
    pub(super) lines: i64,
}

fn unsigned(row: &Row<'_>, index: usize) -> rusqlite::Result<u64> {
    Ok(row.get::<_, i64>(index)?.unsigned_abs())
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A JSON column; what cannot be read is as if it were not there.
fn json<T: serde::de::DeserializeOwned>(
    row: &Row<'_>,
    index: usize,
) -> rusqlite::Result<Option<T>> {
    let text: Option<String> = row.get(index)?;
    Ok(text.and_then(|text| serde_json::from_str(&text).ok()))
}

fn to_json(value: &impl serde::Serialize) -> Option<String> {
    serde_json::to_string(value).ok()
}

impl Batch {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
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
        })
    }

    /// Writes everything that changes.
    fn save(&self, db: &Connection) -> rusqlite::Result<()> {
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

fn find(
    db: &Connection,
    column: &str,
    value: &dyn rusqlite::ToSql,
) -> rusqlite::Result<Option<Batch>> {
    let query = format!("SELECT {COLUMNS} FROM batch WHERE {column} = ?1");
    let mut query = db.prepare_cached(&query)?;
    query.query_row([value], Batch::read).optional()
}

impl Store {
    pub(in crate::jobs) fn new(database: Database, files: Files) -> Self {
        Self { database, files }
    }

    /// Whether there was ever anything.
    pub(super) fn exists(&self) -> bool {
        self.database.path().exists()
    }

    /// Adds a job, if not too much waits already.
    pub(super) async fn insert(
        &self,
        new: NewBatch,
        window: i64,
        most: Most,
        now: Timestamp,
    ) -> Result<Batch, JobsError> {
        let prefix = match new.origin {
            Origin::OpenAi => "batch_",
            Origin::Anthropic => "msgbatch_",
        };
        let (id, output, error) = (id::new(prefix), id::new("file-"), id::new("file-"));
        let created = now.as_second();
        let insert =
            "INSERT INTO batch (id, origin, client, endpoint, input_file, status, metadata,
            created_at, expires_at, output_file, error_file, keep_seconds)
            VALUES (?1, ?2, ?3, ?4, ?5, 'validating', ?6, ?7, ?8, ?9, ?10, ?11)";
        let inserting = self.database.call(move |db| {
            let waiting = format!(
                "SELECT count(*), coalesce(sum(total - completed - failed - not_run), 0)
                 FROM batch WHERE {ACTIVE}"
            );
            let (jobs, lines): (i64, i64) =
                db.query_row(&waiting, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
            if jobs >= most.jobs || lines >= most.lines {
                return Ok(None);
            }
            let origin = match new.origin {
                Origin::OpenAi => "openai",
                Origin::Anthropic => "anthropic",
            };
            db.execute(
                insert,
                params![
                    id,
                    origin,
                    new.client,
                    new.endpoint,
                    new.input_file,
                    new.metadata.as_ref().and_then(to_json),
                    created,
                    created + window,
                    output,
                    error,
                    new.keep
                ],
            )?;
            find(db, "id", &id)
        });
        inserting.await?.ok_or(JobsError::TooManyJobs)
    }

    /// Finds a job of an API.
    pub(super) async fn get(&self, id: &str, origin: Origin) -> Result<Batch, JobsError> {
        let wanted = id.to_owned();
        let found = self
            .database
            .call(move |db| find(db, "id", &wanted))
            .await?;
        found
            .filter(|batch| batch.origin == origin)
            .ok_or_else(|| JobsError::UnknownBatch(id.to_owned()))
    }

    /// Finds a job by its number.
    pub(super) async fn by_seq(&self, seq: i64) -> Result<Option<Batch>, JobsError> {
        let found = self.database.call(move |db| find(db, "seq", &seq));
        Ok(found.await?)
    }

    /// Lists jobs of an API, newest first, and says whether there are more; with `before`, those that are
    /// newer than that one.
    pub(super) async fn list(
        &self,
        origin: Origin,
        after: Option<String>,
        before: Option<String>,
        limit: usize,
    ) -> Result<(Vec<Batch>, bool), JobsError> {
        let last = after.clone().or_else(|| before.clone()).unwrap_or_default();
        let listing = self.database.call(move |db| {
            let seq = |id: &str| {
                let query = "SELECT seq FROM batch WHERE id = ?1";
                db.query_row(query, [id], |row| row.get::<_, i64>(0))
                    .optional()
            };
            let word = match origin {
                Origin::OpenAi => "openai",
                Origin::Anthropic => "anthropic",
            };
            let mut bounds = (i64::MIN, i64::MAX);
            if let Some(after) = &after {
                let Some(seq) = seq(after)? else {
                    return Ok(None);
                };
                bounds.1 = seq;
            }
            if let Some(before) = &before {
                let Some(seq) = seq(before)? else {
                    return Ok(None);
                };
                bounds.0 = seq;
            }
            let order = if before.is_some() { "ASC" } else { "DESC" };
            let query = format!(
                "SELECT {COLUMNS} FROM batch WHERE seq > ?1 AND seq < ?2 AND origin = ?3
                 ORDER BY seq {order} LIMIT ?4"
            );
            let most = i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1);
            let mut query = db.prepare_cached(&query)?;
            let rows = query.query_map(params![bounds.0, bounds.1, word, most], Batch::read)?;
            let mut found = rows.collect::<Result<Vec<_>, _>>()?;
            let has_more = found.len() > limit;
            found.truncate(limit);
            if before.is_some() {
                found.reverse();
            }
            Ok(Some((found, has_more)))
        });
        listing.await?.ok_or(JobsError::UnknownBatch(last))
    }

    /// The jobs that have not ended, oldest first.
    pub(super) async fn active(&self) -> Result<Vec<Batch>, JobsError> {
        let query = format!("SELECT {COLUMNS} FROM batch WHERE {ACTIVE} ORDER BY seq");
        let active = self.database.call(move |db| {
            let mut query = db.prepare_cached(&query)?;
            let rows = query.query_map([], Batch::read)?;
            rows.collect::<Result<Vec<_>, _>>()
        });
        Ok(active.await?)
    }

    /// Lets something happen to a job.
    pub(super) async fn change(
        &self,
        id: &str,
        event: Event,
        now: Timestamp,
    ) -> Result<Batch, JobsError> {
        let wanted = id.to_owned();
        let changing = self.database.call(move |db| {
            let Some(mut batch) = find(db, "id", &wanted)? else {
                return Ok(Err(JobsError::UnknownBatch(wanted)));
            };
            if let Err(error) = batch.handle(event, now.as_second()) {
                return Ok(Err(error));
            }
            batch.save(db)?;
            Ok(Ok(batch))
        });
        changing.await?
    }

    /// Removes the lines of a job.
    pub(super) async fn clear_lines(&self, seq: i64) -> Result<(), JobsError> {
        let delete = "DELETE FROM line WHERE batch = ?1";
        self.database
            .call(move |db| db.execute(delete, [seq]))
            .await?;
        Ok(())
    }

    /// Adds lines to a job.
    pub(super) async fn add_lines(&self, seq: i64, lines: Vec<Line>) -> Result<(), JobsError> {
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

    /// Lines that wait, in the order in which they run, from after this one.
    pub(super) async fn waiting(
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

    /// Marks lines whose results are on disk; what was marked already counts once.
    pub(super) async fn mark(&self, seq: i64, marks: Marks) -> Result<Batch, JobsError> {
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

    /// Ends a job: its results become files, its lines are forgotten.
    pub(super) async fn end(
        &self,
        seq: i64,
        results: Vec<crate::jobs::File>,
        now: Timestamp,
    ) -> Result<Batch, JobsError> {
        let ending = self.database.call(move |db| {
            let change = db.transaction()?;
            let Some(mut batch) = find(&change, "seq", &seq)? else {
                return Ok(None);
            };
            // Late events change nothing and are no errors, except a cancel.
            let _ = batch.handle(Event::Written, now.as_second());
            batch.save(&change)?;
            for file in results {
                file.insert(&change)?;
            }
            change.execute("DELETE FROM line WHERE batch = ?1", [seq])?;
            change.commit()?;
            Ok(Some(batch))
        });
        let ended = ending.await?;
        let batch = ended.ok_or_else(|| JobsError::UnknownBatch(seq.to_string()))?;
        self.forget_bytes(&batch).await?;
        Ok(batch)
    }

    /// Removes the bytes that only this job needed, if it has ended.
    pub(super) async fn forget_bytes(&self, batch: &Batch) -> Result<(), JobsError> {
        let names = [&batch.input_file, &batch.output_file, &batch.error_file];
        let names = names.map(Clone::clone).to_vec();
        self.files.remove_unused(names).await
    }

    /// Deletes a job that has ended, and its results.
    pub(super) async fn delete(&self, id: &str, origin: Origin) -> Result<(), JobsError> {
        let batch = self.get(id, origin).await?;
        if !batch.status.is_final() {
            return Err(JobsError::StillRuns(batch.id));
        }
        let (seq, output, error) = (
            batch.seq,
            batch.output_file.clone(),
            batch.error_file.clone(),
        );
        let deleting = self.database.call(move |db| {
            let change = db.transaction()?;
            change.execute("DELETE FROM file WHERE id IN (?1, ?2)", [output, error])?;
            change.execute("DELETE FROM batch WHERE seq = ?1", [seq])?;
            change.commit()
        });
        deleting.await?;
        self.forget_bytes(&batch).await
    }

    /// Forgets jobs that ended long ago.
    pub(super) async fn prune(&self, now: Timestamp) -> Result<(), JobsError> {
        let delete = format!("DELETE FROM batch WHERE NOT ({ACTIVE}) AND expires_at < ?1");
        let long_ago = now.as_second() - REMEMBERED;
        self.database
            .call(move |db| db.execute(&delete, [long_ago]))
            .await?;
        Ok(())
    }
}
