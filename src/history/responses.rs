//! Responses: begun, finished, read, continued, deleted.

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension as _, Row, Transaction};

use super::{
    History, HistoryError, Item, MOST, Page, Reserve, Room, Short, add_items, insert_item,
    retention,
};
use crate::keys::{Owner, Seen};

/// The most responses in a chain of continued responses.
const LONGEST_CHAIN: usize = 10_000;

/// The use of a response is recorded once a day.
const NOTED_SECONDS: i64 = 86_400;

/// A response at its beginning.
#[derive(Debug, Clone)]
pub struct NewResponse {
    pub id: String,
    pub owner: Owner,
    /// The response that it continues.
    pub previous: Option<String>,
    /// The conversation that it is added to.
    pub conversation: Option<String>,
    pub is_background: bool,
    /// Unix seconds.
    pub now: i64,
    pub body: String,
    pub input: Vec<Item>,
}

/// How a response ended.
#[derive(Debug, Clone)]
pub struct Outcome {
    pub body: String,
    pub output: Vec<Item>,
    pub steps: Option<String>,
    /// Whether its items become part of its conversation.
    pub joins: bool,
}

/// A stored response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredResponse {
    pub body: String,
    pub is_background: bool,
    pub is_final: bool,
    pub steps: Option<String>,
}

impl History {
    /// Stores the beginning of a response. It is on disk when this returns.
    ///
    /// # Errors
    /// The file cannot be written.
    pub async fn begin(&self, new: NewResponse) -> Result<(), HistoryError> {
        let max_bytes = self.settings.max_bytes;
        self.call(move |db| {
            let tx = db.transaction()?;
            insert(&tx, &new, None)?;
            retention::make_room(&tx, max_bytes, &new.id)?;
            tx.commit()
        })
        .await
    }

    /// Stores the end of a response; does nothing if the response was deleted meanwhile.
    ///
    /// # Errors
    /// The file cannot be written.
    pub async fn finish(&self, id: &str, now: i64, outcome: Outcome) -> Result<(), HistoryError> {
        let (id, max_bytes) = (id.to_owned(), self.settings.max_bytes);
        self.call(move |db| {
            let tx = db.transaction()?;
            let update = "UPDATE response SET is_final = 1, used = ?2, body = ?3, steps = ?4
                WHERE id = ?1 AND is_final = 0";
            let n = tx.execute(update, (&id, now, &outcome.body, &outcome.steps))?;
            if n == 1 {
                add_output(&tx, &id, now, &outcome)?;
                retention::make_room(&tx, max_bytes, &id)?;
            }
            tx.commit()
        })
        .await
    }

    /// Stores the beginning and the end of a response.
    ///
    /// # Errors
    /// The file cannot be written.
    pub async fn save(&self, new: NewResponse, outcome: Outcome) -> Result<(), HistoryError> {
        let max_bytes = self.settings.max_bytes;
        self.call(move |db| {
            let tx = db.transaction()?;
            insert(&tx, &new, Some(&outcome))?;
            add_output(&tx, &new.id, new.now, &outcome)?;
            retention::make_room(&tx, max_bytes, &new.id)?;
            tx.commit()
        })
        .await
    }

    /// Reads a response.
    ///
    /// # Errors
    /// There is no visible response with this id, or no memory for it.
    pub async fn response(
        &self,
        id: &str,
        seen: &Seen,
        reserve: Reserve,
    ) -> Result<StoredResponse, HistoryError> {
        let (wanted, seen) = (id.to_owned(), seen.clone());
        let mut room = Room::new(usize::MAX, reserve);
        let found = self.call(move |db| {
            let query = "SELECT body, steps, is_background, is_final FROM response
                WHERE id = ?1 AND owner = ifnull(?2, owner)";
            let read = |row: &Row<'_>| {
                let steps = match row.get_ref(1)? {
                    ValueRef::Null => None,
                    _ => match room.text(row, 1)? {
                        Ok(steps) => Some(steps),
                        Err(short) => return Ok(Err(short)),
                    },
                };
                let body = match room.text(row, 0)? {
                    Ok(body) => body,
                    Err(short) => return Ok(Err(short)),
                };
                Ok(Ok(StoredResponse {
                    body,
                    is_background: row.get(2)?,
                    is_final: row.get(3)?,
                    steps,
                }))
            };
            db.query_row(query, (wanted, seen.only()), read).optional()
        });
        match found.await? {
            Some(found) => found.map_err(Short::error),
            None => Err(HistoryError::NoResponse(id.to_owned())),
        }
    }

    /// # Errors
    /// There is no visible response with this id.
    async fn check_response(&self, id: &str, seen: &Seen) -> Result<(), HistoryError> {
        let (wanted, seen) = (id.to_owned(), seen.clone());
        let found = self.call(move |db| {
            let query = "SELECT 1 FROM response WHERE id = ?1 AND owner = ifnull(?2, owner)";
            let found = db.query_row(query, (wanted, seen.only()), |_| Ok(()));
            found.optional()
        });
        let found = found.await?;
        found.ok_or_else(|| HistoryError::NoResponse(id.to_owned()))
    }

    /// Deletes a response with its items, except those in a conversation.
    ///
    /// # Errors
    /// There is no visible response with this id.
    pub async fn delete_response(&self, id: &str, seen: &Seen) -> Result<(), HistoryError> {
        self.check_response(id, seen).await?;
        let wanted = id.to_owned();
        let deleted = self.call(move |db| {
            let tx = db.transaction()?;
            let n = remove(&tx, &wanted)?;
            tx.commit()?;
            Ok(n)
        });
        match deleted.await? {
            0 => Err(HistoryError::NoResponse(id.to_owned())),
            _ => Ok(()),
        }
    }

    /// The input items of a response, and whether there are more.
    ///
    /// # Errors
    /// There is no such visible response, no item to begin after, or no memory.
    pub async fn input_items(
        &self,
        id: &str,
        seen: &Seen,
        wanted: Page,
        reserve: Reserve,
    ) -> Result<(Vec<Item>, bool), HistoryError> {
        self.check_response(id, seen).await?;
        self.items_of("response", id, wanted, reserve).await
    }

    /// All items up to the end of a response, oldest first: its own, and those of the responses that it continues.
    /// Records the use of all of them.
    ///
    /// # Errors
    /// A response is not visible or not finished, the items are too large together, or there is no memory.
    pub async fn past(
        &self,
        id: &str,
        seen: &Seen,
        now: i64,
        reserve: Reserve,
    ) -> Result<Vec<String>, HistoryError> {
        let (last, seen) = (id.to_owned(), seen.clone());
        let room = Room::new(MOST, reserve);
        let found = self.call(move |db| chain(db, last, &seen, now, room));
        found.await?
    }

    /// An item by its id; the newest if there are several.
    ///
    /// # Errors
    /// There is no such visible item, or no memory for it.
    pub async fn item(
        &self,
        id: &str,
        seen: &Seen,
        reserve: Reserve,
    ) -> Result<String, HistoryError> {
        let (wanted, seen) = (id.to_owned(), seen.clone());
        let mut room = Room::new(MOST, reserve);
        let found = self.call(move |db| {
            let query = "SELECT body FROM item WHERE id = ?1 AND (
                    EXISTS (SELECT 1 FROM response
                        WHERE id = item.response AND owner = ifnull(?2, owner))
                    OR EXISTS (SELECT 1 FROM conversation
                        WHERE id = item.conversation AND owner = ifnull(?2, owner)))
                ORDER BY number DESC LIMIT 1";
            let params = (wanted, seen.only());
            let found = db.query_row(query, params, |row| room.text(row, 0));
            found.optional()
        });
        match found.await? {
            None => Err(HistoryError::NoItem(id.to_owned())),
            Some(found) => found.map_err(Short::error),
        }
    }
}

fn insert(
    tx: &Transaction<'_>,
    new: &NewResponse,
    outcome: Option<&Outcome>,
) -> rusqlite::Result<()> {
    tx.execute(
        "INSERT INTO response
            (id, previous, conversation, is_background, is_final, used, body, steps, owner)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        (
            &new.id,
            &new.previous,
            &new.conversation,
            new.is_background,
            outcome.is_some(),
            new.now,
            outcome.map_or(&new.body, |outcome| &outcome.body),
            outcome.and_then(|outcome| outcome.steps.as_ref()),
            new.owner.as_str(),
        ),
    )?;
    for item in &new.input {
        insert_item(tx, item, Some(&new.id), None, false)?;
    }
    Ok(())
}

/// Adds the output of a response, and all its items to its conversation, if that still exists.
fn add_output(tx: &Transaction<'_>, id: &str, now: i64, outcome: &Outcome) -> rusqlite::Result<()> {
    let mut conversation = None;
    if outcome.joins {
        let find = "UPDATE conversation SET used = ?2
            WHERE id = (SELECT conversation FROM response WHERE id = ?1) RETURNING id";
        let found = tx.query_row(find, (id, now), |row| row.get::<_, String>(0));
        conversation = found.optional()?;
    }
    if let Some(conversation) = &conversation {
        // After items that others have added since it began, so that question and answer stay together.
        let last: i64 = tx.query_row("SELECT max(number) FROM item", [], |row| {
            Ok(row.get::<_, Option<i64>>(0)?.unwrap_or(0))
        })?;
        tx.execute(
            "INSERT INTO item (id, response, conversation, is_output, body)
                SELECT id, response, ?2, is_output, body FROM item WHERE response = ?1 ORDER BY number",
            (id, conversation),
        )?;
        tx.execute(
            "DELETE FROM item WHERE response = ?1 AND number <= ?2",
            (id, last),
        )?;
    }
    for item in &outcome.output {
        insert_item(tx, item, Some(id), conversation.as_deref(), true)?;
    }
    Ok(())
}

/// Deletes a response; returns the number of deleted responses.
pub(super) fn remove(tx: &Transaction<'_>, id: &str) -> rusqlite::Result<usize> {
    tx.execute(
        "UPDATE item SET response = NULL WHERE response = ?1 AND conversation IS NOT NULL",
        [id],
    )?;
    tx.execute("DELETE FROM response WHERE id = ?1", [id])
}

type Found<T> = rusqlite::Result<Result<T, HistoryError>>;

fn chain(
    db: &mut Connection,
    last: String,
    seen: &Seen,
    now: i64,
    mut room: Room,
) -> Found<Vec<String>> {
    let tx = db.transaction()?;
    let mut ids = Vec::new();
    let mut first_conversation = None;
    let mut next = Some(last);
    while let Some(id) = next {
        let query = "SELECT previous, conversation, is_final FROM response
            WHERE id = ?1 AND owner = ifnull(?2, owner)";
        let row = tx
            .prepare_cached(query)?
            .query_row((&id, seen.only()), |row| {
                let read: (Option<String>, Option<String>, bool) =
                    (row.get(0)?, row.get(1)?, row.get(2)?);
                Ok(read)
            });
        let Some((previous, conversation, is_final)) = row.optional()? else {
            return Ok(Err(HistoryError::NoResponse(id)));
        };
        if !is_final {
            return Ok(Err(HistoryError::Unfinished(id)));
        }
        if ids.len() == LONGEST_CHAIN {
            return Ok(Err(HistoryError::TooLarge(MOST)));
        }
        let note = "UPDATE response SET used = ?2 WHERE id = ?1 AND used < ?2 - ?3";
        tx.prepare_cached(note)?
            .execute((&id, now, NOTED_SECONDS))?;
        first_conversation = conversation;
        ids.push(id);
        next = previous;
    }
    let mut texts = Vec::new();
    if let (Some(first), Some(conversation)) = (ids.last(), first_conversation) {
        // The earlier items of its conversation.
        let filter = "conversation = ?1
            AND number < (SELECT min(number) FROM item WHERE response = ?2)
            AND EXISTS (SELECT 1 FROM conversation WHERE id = ?1 AND owner = ifnull(?3, owner))";
        let params = (conversation, first, seen.only());
        if let Err(short) = add_items(&tx, filter, params, &mut texts, &mut room)? {
            return Ok(Err(short.error()));
        }
    }
    for id in ids.iter().rev() {
        if let Err(short) = add_items(&tx, "response = ?1", [id], &mut texts, &mut room)? {
            return Ok(Err(short.error()));
        }
    }
    tx.commit()?;
    Ok(Ok(texts))
}
