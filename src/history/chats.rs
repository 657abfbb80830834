//! Chat completions that the client asked to store.

use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, named_params};

use super::{History, HistoryError, MOST, Page, Reserve, Room, Short, retention};
use crate::keys::{Owner, Seen};

/// A chat with its answer, to be stored when it has ended.
#[derive(Debug, Clone)]
pub struct NewChat {
    pub id: String,
    pub owner: Owner,
    pub model: String,
    /// Unix seconds.
    pub now: i64,
    /// A JSON object of texts.
    pub metadata: String,
    /// A JSON list.
    pub messages: String,
    pub body: String,
}

/// A stored chat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredChat {
    /// May be newer than the metadata in the body.
    pub metadata: String,
    pub body: String,
}

/// Which chats a list shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChatFilter {
    pub seen: Seen,
    pub model: Option<String>,
    /// A JSON object: the chat's metadata must contain its pairs.
    pub metadata: String,
}

impl History {
    /// Stores a chat.
    ///
    /// # Errors
    /// The file cannot be written.
    pub async fn save_chat(&self, new: NewChat) -> Result<(), HistoryError> {
        let max_bytes = self.settings.max_bytes;
        self.call(move |db| {
            let tx = db.transaction()?;
            tx.execute(
                "INSERT INTO chat (id, owner, model, used, metadata, messages, body)
                    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                (
                    &new.id,
                    new.owner.as_str(),
                    &new.model,
                    new.now,
                    &new.metadata,
                    &new.messages,
                    &new.body,
                ),
            )?;
            retention::make_room(&tx, max_bytes, &new.id)?;
            tx.commit()
        })
        .await
    }

    /// Reads a chat.
    ///
    /// # Errors
    /// There is no visible chat with this id, or no memory for it.
    pub async fn chat(
        &self,
        id: &str,
        seen: &Seen,
        reserve: Reserve,
    ) -> Result<StoredChat, HistoryError> {
        let mut room = Room::new(usize::MAX, reserve);
        let found = self.find_chat(id, seen, "metadata, body", move |row| {
            let metadata: String = row.get(0)?;
            let body = room.text(row, 1)?;
            Ok(body.map(|body| StoredChat { metadata, body }))
        });
        found.await
    }

    /// The messages of a chat's request.
    ///
    /// # Errors
    /// There is no visible chat with this id, or no memory for them.
    pub async fn chat_messages(
        &self,
        id: &str,
        seen: &Seen,
        reserve: Reserve,
    ) -> Result<String, HistoryError> {
        let mut room = Room::new(usize::MAX, reserve);
        let found = self.find_chat(id, seen, "messages", move |row| room.text(row, 0));
        found.await
    }

    async fn find_chat<T: Send + 'static>(
        &self,
        id: &str,
        seen: &Seen,
        columns: &'static str,
        mut read: impl FnMut(&Row<'_>) -> rusqlite::Result<Result<T, Short>> + Send + 'static,
    ) -> Result<T, HistoryError> {
        let (wanted, seen) = (id.to_owned(), seen.clone());
        let found = self.call(move |db| {
            let query =
                format!("SELECT {columns} FROM chat WHERE id = ?1 AND owner = ifnull(?2, owner)");
            db.query_row(&query, (wanted, seen.only()), |row| read(row))
                .optional()
        });
        match found.await? {
            None => Err(HistoryError::NoChat(id.to_owned())),
            Some(found) => found.map_err(Short::error),
        }
    }

    /// A page of chats, and whether there are more.
    ///
    /// # Errors
    /// There is no visible chat to begin after, or no memory.
    pub async fn chats(
        &self,
        filter: ChatFilter,
        wanted: Page,
        reserve: Reserve,
    ) -> Result<(Vec<StoredChat>, bool), HistoryError> {
        let after = wanted.after.clone();
        let room = Room::new(usize::MAX, reserve);
        let found = self.call(move |db| page(db, &filter, &wanted, room));
        let found = found.await?;
        let found = found.ok_or_else(|| HistoryError::NoChat(after.unwrap_or_default()))?;
        found.map_err(Short::error)
    }

    /// Replaces the metadata of a chat.
    ///
    /// # Errors
    /// There is no visible chat with this id.
    pub async fn update_chat(
        &self,
        id: &str,
        seen: &Seen,
        now: i64,
        metadata: String,
    ) -> Result<(), HistoryError> {
        let (wanted, seen) = (id.to_owned(), seen.clone());
        let updated = self.call(move |db| {
            let update = "UPDATE chat SET metadata = ?3, used = ?4
                WHERE id = ?1 AND owner = ifnull(?2, owner)";
            db.execute(update, (wanted, seen.only(), metadata, now))
        });
        some(id, updated.await?)
    }

    /// Deletes a chat.
    ///
    /// # Errors
    /// There is no visible chat with this id.
    pub async fn delete_chat(&self, id: &str, seen: &Seen) -> Result<(), HistoryError> {
        let (wanted, seen) = (id.to_owned(), seen.clone());
        let deleted = self.call(move |db| {
            let delete = "DELETE FROM chat WHERE id = ?1 AND owner = ifnull(?2, owner)";
            db.execute(delete, (wanted, seen.only()))
        });
        some(id, deleted.await?)
    }
}

fn some(id: &str, n: usize) -> Result<(), HistoryError> {
    if n == 0 {
        return Err(HistoryError::NoChat(id.to_owned()));
    }
    Ok(())
}

/// A page of the chats that match, and whether there are more; chats that are too large for one page are left to the
/// next. `None`: there is no chat `after`.
#[expect(
    clippy::type_complexity,
    reason = "a list, and what may be wrong with it"
)]
fn page(
    db: &Connection,
    filter: &ChatFilter,
    page: &Page,
    mut room: Room,
) -> rusqlite::Result<Option<Result<(Vec<StoredChat>, bool), Short>>> {
    let (compare, order, end) = page.direction();
    let start = match &page.after {
        None => end,
        Some(after) => {
            let find = "SELECT number FROM chat WHERE id = ?1 AND owner = ifnull(?2, owner)";
            let found = db.query_row(find, (after, filter.seen.only()), |row| row.get(0));
            match found.optional()? {
                Some(number) => number,
                None => return Ok(None),
            }
        }
    };
    let list = format!(
        "SELECT metadata, body FROM chat
            WHERE number {compare} :start
                AND owner = ifnull(:owner, owner) AND model = ifnull(:model, model)
                AND NOT EXISTS (
                    SELECT 1 FROM json_each(:metadata) AS wanted
                    WHERE NOT EXISTS (
                        SELECT 1 FROM json_each(chat.metadata) AS found
                        WHERE found.key = wanted.key AND found.value = wanted.value))
            ORDER BY number {order}"
    );
    let mut list = db.prepare(&list)?;
    let mut rows = list.query(named_params! {
        ":start": start,
        ":owner": filter.seen.only(),
        ":model": filter.model,
        ":metadata": filter.metadata,
    })?;
    let mut chats = Vec::new();
    let mut n_bytes = 0;
    while let Some(row) = rows.next()? {
        n_bytes += row.get_ref(1)?.as_str()?.len();
        if chats.len() == page.limit || (n_bytes > MOST && !chats.is_empty()) {
            return Ok(Some(Ok((chats, true))));
        }
        match room.text(row, 1)? {
            Ok(body) => chats.push(StoredChat {
                metadata: row.get(0)?,
                body,
            }),
            Err(short) => return Ok(Some(Err(short))),
        }
    }
    Ok(Some(Ok((chats, false))))
}

/// Deletes a chat, whoever owns it.
pub(super) fn remove(tx: &Transaction<'_>, id: &str) -> rusqlite::Result<usize> {
    tx.execute("DELETE FROM chat WHERE id = ?1", [id])
}
