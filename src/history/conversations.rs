//! Conversations and their items.

use rusqlite::{OptionalExtension as _, Transaction};

use super::{
    History, HistoryError, Item, MOST, Page, Reserve, Room, Short, add_items, insert_item,
    retention,
};
use crate::keys::{Owner, Seen};

/// A stored conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredConversation {
    pub id: String,
    /// Unix seconds.
    pub created: i64,
    /// JSON.
    pub metadata: String,
}

impl History {
    /// Stores a new conversation.
    ///
    /// # Errors
    /// The file cannot be written.
    pub async fn create_conversation(
        &self,
        new: StoredConversation,
        owner: Owner,
        items: Vec<Item>,
    ) -> Result<(), HistoryError> {
        let max_bytes = self.settings.max_bytes;
        self.call(move |db| {
            let tx = db.transaction()?;
            tx.execute(
                "INSERT INTO conversation (id, created, used, metadata, owner)
                    VALUES (?1, ?2, ?2, ?3, ?4)",
                (&new.id, new.created, &new.metadata, owner.as_str()),
            )?;
            for item in &items {
                insert_item(&tx, item, None, Some(&new.id), false)?;
            }
            retention::make_room(&tx, max_bytes, &new.id)?;
            tx.commit()
        })
        .await
    }

    /// Reads a conversation.
    ///
    /// # Errors
    /// There is no visible conversation with this id.
    pub async fn conversation(
        &self,
        id: &str,
        seen: &Seen,
    ) -> Result<StoredConversation, HistoryError> {
        let (wanted, seen) = (id.to_owned(), seen.clone());
        let found = self.call(move |db| {
            let query = "SELECT id, created, metadata FROM conversation
                WHERE id = ?1 AND owner = ifnull(?2, owner)";
            let read = |row: &rusqlite::Row<'_>| {
                Ok(StoredConversation {
                    id: row.get(0)?,
                    created: row.get(1)?,
                    metadata: row.get(2)?,
                })
            };
            db.query_row(query, (wanted, seen.only()), read).optional()
        });
        let found = found.await?;
        found.ok_or_else(|| HistoryError::NoConversation(id.to_owned()))
    }

    /// Replaces the metadata of a conversation.
    ///
    /// # Errors
    /// There is no visible conversation with this id.
    pub async fn update_conversation(
        &self,
        id: &str,
        seen: &Seen,
        metadata: String,
    ) -> Result<(), HistoryError> {
        let (wanted, seen) = (id.to_owned(), seen.clone());
        let updated = self.call(move |db| {
            let update = "UPDATE conversation SET metadata = ?3
                WHERE id = ?1 AND owner = ifnull(?2, owner)";
            db.execute(update, (wanted, seen.only(), metadata))
        });
        match updated.await? {
            0 => Err(HistoryError::NoConversation(id.to_owned())),
            _ => Ok(()),
        }
    }

    /// Deletes a conversation with its items, except those of responses.
    ///
    /// # Errors
    /// There is no visible conversation with this id.
    pub async fn delete_conversation(&self, id: &str, seen: &Seen) -> Result<(), HistoryError> {
        self.conversation(id, seen).await?;
        let wanted = id.to_owned();
        let deleted = self.call(move |db| {
            let tx = db.transaction()?;
            let n = remove(&tx, &wanted)?;
            tx.commit()?;
            Ok(n)
        });
        match deleted.await? {
            0 => Err(HistoryError::NoConversation(id.to_owned())),
            _ => Ok(()),
        }
    }

    /// Adds items to the end of a conversation.
    ///
    /// # Errors
    /// There is no visible conversation with this id.
    pub async fn add_items(
        &self,
        id: &str,
        seen: &Seen,
        now: i64,
        items: Vec<Item>,
    ) -> Result<(), HistoryError> {
        let max_bytes = self.settings.max_bytes;
        let (wanted, seen) = (id.to_owned(), seen.clone());
        let added = self.call(move |db| {
            let tx = db.transaction()?;
            let note = "UPDATE conversation SET used = ?3
                WHERE id = ?1 AND owner = ifnull(?2, owner)";
            let n = tx.execute(note, (&wanted, seen.only(), now))?;
            if n == 1 {
                for item in &items {
                    insert_item(&tx, item, None, Some(&wanted), false)?;
                }
                retention::make_room(&tx, max_bytes, &wanted)?;
            }
            tx.commit()?;
            Ok(n)
        });
        match added.await? {
            0 => Err(HistoryError::NoConversation(id.to_owned())),
            _ => Ok(()),
        }
    }

    /// A page of a conversation's items, and whether there are more.
    ///
    /// # Errors
    /// There is no such visible conversation, no item to begin after, or no memory.
    pub async fn conversation_items(
        &self,
        id: &str,
        seen: &Seen,
        wanted: Page,
        reserve: Reserve,
    ) -> Result<(Vec<Item>, bool), HistoryError> {
        self.conversation(id, seen).await?;
        self.items_of("conversation", id, wanted, reserve).await
    }

    /// All items of a conversation, oldest first.
    ///
    /// # Errors
    /// There is no such visible conversation, its items are too large together, or there is no memory.
    pub async fn said(
        &self,
        id: &str,
        seen: &Seen,
        reserve: Reserve,
    ) -> Result<Vec<String>, HistoryError> {
        self.conversation(id, seen).await?;
        let wanted = id.to_owned();
        let mut room = Room::new(MOST, reserve);
        let found = self.call(move |db| {
            let mut texts = Vec::new();
            let added = add_items(db, "conversation = ?1", [wanted], &mut texts, &mut room)?;
            Ok(added.map(|()| texts))
        });
        found.await?.map_err(Short::error)
    }

    /// One item of a conversation.
    ///
    /// # Errors
    /// There is no such visible conversation, it has no such item, or there is no memory for it.
    pub async fn conversation_item(
        &self,
        id: &str,
        seen: &Seen,
        item: &str,
        reserve: Reserve,
    ) -> Result<String, HistoryError> {
        self.conversation(id, seen).await?;
        let wanted = (id.to_owned(), item.to_owned());
        let mut room = Room::new(MOST, reserve);
        let found = self.call(move |db| {
            let query = "SELECT body FROM item WHERE conversation = ?1 AND id = ?2
                ORDER BY number DESC LIMIT 1";
            let found = db.query_row(query, wanted, |row| room.text(row, 0));
            found.optional()
        });
        match found.await? {
            None => Err(HistoryError::NoItem(item.to_owned())),
            Some(found) => found.map_err(Short::error),
        }
    }

    /// Removes an item from a conversation.
    ///
    /// # Errors
    /// There is no such visible conversation, or it has no such item.
    pub async fn delete_item(&self, id: &str, seen: &Seen, item: &str) -> Result<(), HistoryError> {
        self.conversation(id, seen).await?;
        let wanted = (id.to_owned(), item.to_owned());
        let deleted = self.call(move |db| {
            let tx = db.transaction()?;
            let gone = "DELETE FROM item
                WHERE conversation = ?1 AND id = ?2 AND response IS NULL";
            let kept = "UPDATE item SET conversation = NULL WHERE conversation = ?1 AND id = ?2";
            let params = (&wanted.0, &wanted.1);
            let n = tx.execute(gone, params)? + tx.execute(kept, params)?;
            tx.commit()?;
            Ok(n)
        });
        match deleted.await? {
            0 => Err(HistoryError::NoItem(item.to_owned())),
            _ => Ok(()),
        }
    }
}

/// Deletes a conversation; returns the number of deleted conversations.
pub(super) fn remove(tx: &Transaction<'_>, id: &str) -> rusqlite::Result<usize> {
    tx.execute(
        "UPDATE item SET conversation = NULL WHERE conversation = ?1 AND response IS NOT NULL",
        [id],
    )?;
    tx.execute("DELETE FROM conversation WHERE id = ?1", [id])
}
