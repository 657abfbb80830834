//! The rows of jobs and of their lines.

mod lines;
mod rows;

use jiff::Timestamp;
use rusqlite::{OptionalExtension as _, params};

use super::batch::{Batch, BatchPage, Event, Fault, NewBatch, Origin};
use crate::database::Database;
use crate::jobs::{Files, JobsError, id};
use crate::keys::Seen;
use rows::{COLUMNS, find, to_json};

pub(super) use lines::{Line, Mark, Marks};

/// How many seconds a job that has ended is remembered.
const REMEMBERED: i64 = 60 * 24 * 3600;

/// The condition for jobs that have not ended.
const ACTIVE: &str = "status NOT IN ('failed', 'completed', 'expired', 'cancelled')";

/// The rows of jobs; cheap to clone.
#[derive(Debug, Clone)]
pub(in crate::jobs) struct Store {
    database: Database,
    pub(super) files: Files,
}

/// Limits on what may wait.
#[derive(Debug, Clone, Copy)]
pub(super) struct Most {
    pub(super) jobs: i64,
    pub(super) lines: i64,
}

/// The terms of new jobs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms {
    /// How long a job may take, in seconds.
    pub(super) window: i64,
    pub(super) most: Most,
}

impl Store {
    pub(in crate::jobs) fn new(database: Database, files: Files) -> Self {
        Self { database, files }
    }

    /// Whether anything was ever stored.
    pub(super) fn exists(&self) -> bool {
        self.database.path().exists()
    }

    /// Adds a job, unless too much is waiting already. One with faults is returned as it was created, and has
    /// failed, as in OpenAI's API.
    pub(super) async fn insert(
        &self,
        new: NewBatch,
        faults: Option<Vec<Fault>>,
        Terms { window, most }: Terms,
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
            created_at, expires_at, output_file, error_file, keep_seconds, owner)
            VALUES (?1, ?2, ?3, ?4, ?5, 'validating', ?6, ?7, ?8, ?9, ?10, ?11, ?12)";
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
            let change = db.transaction()?;
            change.execute(
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
                    new.keep,
                    new.owner.as_str()
                ],
            )?;
            let created = find(&change, "id", &id)?;
            if let Some((mut batch, faults)) = created.clone().zip(faults) {
                // A new job can fail.
                let _ = batch.handle(Event::Invalid(faults), now.as_second());
                batch.save(&change)?;
            }
            change.commit()?;
            Ok(created)
        });
        inserting.await?.ok_or(JobsError::TooManyJobs)
    }

    /// Finds a visible job of an API.
    pub(super) async fn get(
        &self,
        id: &str,
        origin: Origin,
        seen: &Seen,
    ) -> Result<Batch, JobsError> {
        let wanted = id.to_owned();
        let found = self
            .database
            .call(move |db| find(db, "id", &wanted))
            .await?;
        found
            .filter(|batch| batch.origin == origin && seen.has(&batch.owner))
            .ok_or_else(|| JobsError::UnknownBatch(id.to_owned()))
    }

    /// Finds a job by its number.
    pub(super) async fn by_seq(&self, seq: i64) -> Result<Option<Batch>, JobsError> {
        let found = self.database.call(move |db| find(db, "seq", &seq));
        Ok(found.await?)
    }

    /// Lists jobs of an API, newest first, and whether there are more; with `before`, the jobs that are newer than that
    /// one.
    pub(super) async fn list(
        &self,
        origin: Origin,
        seen: &Seen,
        page: BatchPage,
    ) -> Result<(Vec<Batch>, bool), JobsError> {
        let BatchPage {
            after,
            before,
            limit,
        } = page;
        let last = after.clone().or_else(|| before.clone()).unwrap_or_default();
        let seen = seen.clone();
        let listing = self.database.call(move |db| {
            let seq = |id: &str| {
                let query = "SELECT seq FROM batch WHERE id = ?1 AND owner = ifnull(?2, owner)";
                let found = db.query_row(query, (id, seen.only()), |row| row.get::<_, i64>(0));
                found.optional()
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
                 AND owner = ifnull(?5, owner) ORDER BY seq {order} LIMIT ?4"
            );
            let most = i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1);
            let mut query = db.prepare_cached(&query)?;
            let params = params![bounds.0, bounds.1, word, most, seen.only()];
            let rows = query.query_map(params, Batch::read)?;
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

    /// Applies an event to a job.
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

    /// Ends a job: its results become files, its lines are deleted.
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
            // Late events other than a cancel change nothing and are no errors.
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
    pub(super) async fn delete(
        &self,
        id: &str,
        origin: Origin,
        seen: &Seen,
    ) -> Result<(), JobsError> {
        let batch = self.get(id, origin, seen).await?;
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

    /// Deletes jobs that ended long ago.
    pub(super) async fn prune(&self, now: Timestamp) -> Result<(), JobsError> {
        let delete = format!("DELETE FROM batch WHERE NOT ({ACTIVE}) AND expires_at < ?1");
        let long_ago = now.as_second() - REMEMBERED;
        self.database
            .call(move |db| db.execute(&delete, [long_ago]))
            .await?;
        Ok(())
    }
}
