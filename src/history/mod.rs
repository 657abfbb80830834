//! Responses, conversations and chats that clients can come back to (`responses.db` in the state folder).
//!
//! Bodies and items are JSON texts that mean nothing here. *Invariants:* a response and its items are written in one
//! transaction, so that what was announced as stored is complete after a kill; a response that was interrupted by a
//! kill is marked before the file is used again; the stored bytes stay under a limit; objects whose owner is not
//! visible to a request are treated as if they did not exist. (Items have no owner: they are visible with their
//! response or their conversation.)

mod chats;
mod conversations;
mod responses;
mod retention;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, Row};
use tokio::sync::OnceCell;

use crate::database::{Database, DatabaseError};
use crate::error::{ErrorKind, RequestError};

pub use chats::{ChatFilter, NewChat, StoredChat};
pub use conversations::StoredConversation;
pub use responses::{NewResponse, Outcome, StoredResponse};

/// The versions of the tables.
const SCHEMA: &[&str] = &[
    "
CREATE TABLE response (
    id TEXT PRIMARY KEY,
    previous TEXT,
    conversation TEXT,
    is_background INTEGER NOT NULL,
    -- Nothing more will be written.
    is_final INTEGER NOT NULL,
    -- When it was last used, in Unix seconds.
    used INTEGER NOT NULL,
    body TEXT NOT NULL,
    -- What a stream of it consists of; only of one in the background.
    steps TEXT
) STRICT;
CREATE INDEX response_used ON response (used);
CREATE TABLE conversation (
    id TEXT PRIMARY KEY,
    created INTEGER NOT NULL,
    used INTEGER NOT NULL,
    metadata TEXT NOT NULL
) STRICT;
CREATE INDEX conversation_used ON conversation (used);
-- An item belongs to a response, a conversation, or both, and goes with the last of them.
CREATE TABLE item (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL,
    response TEXT REFERENCES response (id) ON DELETE CASCADE,
    conversation TEXT REFERENCES conversation (id) ON DELETE CASCADE,
    is_output INTEGER NOT NULL,
    body TEXT NOT NULL
) STRICT;
CREATE INDEX item_response ON item (response, number);
CREATE INDEX item_conversation ON item (conversation, number);
CREATE INDEX item_id ON item (id, number);
",
    "
CREATE TABLE chat (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    -- The id of an API key; empty = none.
    owner TEXT NOT NULL,
    model TEXT NOT NULL,
    used INTEGER NOT NULL,
    metadata TEXT NOT NULL,
    messages TEXT NOT NULL,
    body TEXT NOT NULL
) STRICT;
CREATE INDEX chat_used ON chat (used);
",
    // Older rows get an empty owner: at that time keys owned nothing.
    "
ALTER TABLE response ADD COLUMN owner TEXT NOT NULL DEFAULT '';
ALTER TABLE conversation ADD COLUMN owner TEXT NOT NULL DEFAULT '';
",
];

/// The most bytes that are read for one request.
const MOST: usize = 32 << 20;

/// How long objects are kept.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The longest time since their last use; `None` = forever.
    pub max_age: Option<Duration>,
    /// The most bytes of all objects; 0 = nothing is stored.
    pub max_bytes: u64,
    /// A JSON merge patch (RFC 7396) for the bodies of responses that were interrupted by a kill.
    pub interrupted: String,
}

/// An item: its id, and the JSON object with that id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    pub id: String,
    pub body: String,
}

/// Which items a list shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Begins after this item.
    pub after: Option<String>,
    pub limit: usize,
    /// Whether the newest come first.
    pub is_descending: bool,
}

impl Page {
    /// How the numbers of a page's items compare with that of the item before the page, their order, and the number
    /// before the first page.
    fn direction(&self) -> (&'static str, &'static str, i64) {
        if self.is_descending {
            ("<", "DESC", i64::MAX)
        } else {
            (">", "ASC", 0)
        }
    }
}

/// Called before a text is read into memory: whether there is room for so many more bytes.
pub type Reserve = Box<dyn FnMut(usize) -> bool + Send>;

/// Why a request to the history failed.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    #[error(transparent)]
    Database(#[from] DatabaseError),
    #[error("Response with id '{0}' not found.")]
    NoResponse(String),
    #[error("Conversation with id '{0}' not found.")]
    NoConversation(String),
    #[error("Chat completion with id '{0}' not found.")]
    NoChat(String),
    #[error("Item with id '{0}' not found.")]
    NoItem(String),
    /// The response is still in progress, so it cannot be continued.
    #[error("Response with id '{0}' is not finished.")]
    Unfinished(String),
    #[error("the stored conversation takes more than {0} bytes")]
    TooLarge(usize),
    #[error("server busy, please try again: other requests hold the memory that requests may take")]
    Busy,
}

impl Short {
    fn error(self) -> HistoryError {
        match self {
            Self::TooLarge => HistoryError::TooLarge(MOST),
            Self::Busy => HistoryError::Busy,
        }
    }
}

impl From<HistoryError> for RequestError {
    fn from(error: HistoryError) -> Self {
        let kind = match &error {
            HistoryError::Database(_) => ErrorKind::Internal,
            HistoryError::NoResponse(_)
            | HistoryError::NoConversation(_)
            | HistoryError::NoChat(_)
            | HistoryError::NoItem(_) => ErrorKind::NotFound,
            HistoryError::Unfinished(_) => ErrorKind::Invalid,
            HistoryError::TooLarge(_) => ErrorKind::TooLarge,
            HistoryError::Busy => ErrorKind::Overloaded,
        };
        Self::new(kind, error.to_string())
    }
}

/// The history; cheap to clone.
#[derive(Debug, Clone)]
pub struct History {
    database: Database,
    settings: Arc<Settings>,
    is_ready: Arc<OnceCell<()>>,
}

impl History {
    /// Sets the path of the file, which is opened on first use.
    pub fn new(path: PathBuf, settings: Settings) -> Self {
        Self {
            database: Database::new(path, SCHEMA),
            settings: Arc::new(settings),
            is_ready: Arc::default(),
        }
    }

    /// Whether anything is stored at all.
    pub fn stores(&self) -> bool {
        self.settings.max_bytes > 0
    }

    /// The path of the file.
    pub fn path(&self) -> &Path {
        self.database.path()
    }

    /// Runs a query, after responses that an earlier process left unfinished have been marked.
    async fn call<T: Send + 'static>(
        &self,
        query: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, HistoryError> {
        let patch = &self.settings.interrupted;
        let mark = || async {
            let patch = patch.clone();
            let marked = self.database.call(move |db| {
                let mark = "UPDATE response SET is_final = 1, body = json_patch(body, ?1)
                    WHERE is_final = 0";
                db.execute(mark, [patch])
            });
            match marked.await {
                Ok(0) => Ok(()),
                Ok(n) => {
                    tracing::warn!(n, "responses were interrupted when the server stopped");
                    Ok(())
                }
                Err(error) => Err(error),
            }
        };
        self.is_ready.get_or_try_init(mark).await?;
        Ok(self.database.call(query).await?)
    }

    /// A page of the items of a `response` or a `conversation`, and whether there are more.
    async fn items_of(
        &self,
        column: &'static str,
        id: &str,
        wanted: Page,
        reserve: Reserve,
    ) -> Result<(Vec<Item>, bool), HistoryError> {
        let (owner, after) = (id.to_owned(), wanted.after.clone());
        let room = Room::new(MOST, reserve);
        let found = self.call(move |db| page(db, column, &owner, &wanted, room));
        let found = found.await?;
        let found = found.ok_or_else(|| HistoryError::NoItem(after.unwrap_or_default()))?;
        found.map_err(Short::error)
    }
}

fn insert_item(
    db: &Connection,
    item: &Item,
    response: Option<&str>,
    conversation: Option<&str>,
    is_output: bool,
) -> rusqlite::Result<()> {
    let mut insert = db.prepare_cached(
        "INSERT INTO item (id, response, conversation, is_output, body)
            VALUES (?1, ?2, ?3, ?4, ?5)",
    )?;
    insert.execute((&item.id, response, conversation, is_output, &item.body))?;
    Ok(())
}

/// Why a text was not read.
enum Short {
    TooLarge,
    Busy,
}

/// The memory that is left for reading.
struct Room {
    n_left: usize,
    reserve: Reserve,
}

impl Room {
    fn new(most: usize, reserve: Reserve) -> Self {
        Self {
            n_left: most,
            reserve,
        }
    }

    /// Takes room for a text, if there is enough.
    fn take(&mut self, n_bytes: usize) -> Result<(), Short> {
        let rest = self.n_left.checked_sub(n_bytes);
        self.n_left = rest.ok_or(Short::TooLarge)?;
        if (self.reserve)(n_bytes) {
            Ok(())
        } else {
            Err(Short::Busy)
        }
    }

    /// Reads a text of a row, if there is room.
    fn text(&mut self, row: &Row<'_>, column: usize) -> rusqlite::Result<Result<String, Short>> {
        // Checked before it is copied.
        let text = row.get_ref(column)?.as_str()?;
        Ok(self.take(text.len()).map(|()| text.to_owned()))
    }
}

/// A page of the items of an owner, and whether there are more; items that are too large for one page are left to the
/// next. `None`: there is no item `after`.
#[expect(
    clippy::type_complexity,
    reason = "a list, and what may be wrong with it"
)]
fn page(
    db: &Connection,
    owner: &'static str,
    id: &str,
    page: &Page,
    mut room: Room,
) -> rusqlite::Result<Option<Result<(Vec<Item>, bool), Short>>> {
    let filter = match owner {
        "response" => "response = ?1 AND is_output = 0",
        _ => "conversation = ?1",
    };
    let (compare, order, end) = page.direction();
    let start = match &page.after {
        None => end,
        Some(after) => {
            let find = format!("SELECT max(number) FROM item WHERE {filter} AND id = ?2");
            let found = db.query_row(&find, (id, after), |row| row.get::<_, Option<i64>>(0))?;
            match found {
                Some(number) => number,
                None => return Ok(None),
            }
        }
    };
    let list = format!(
        "SELECT id, body FROM item WHERE {filter} AND number {compare} ?2 ORDER BY number {order}"
    );
    let mut list = db.prepare(&list)?;
    let mut rows = list.query((id, start))?;
    let mut items = Vec::new();
    while let Some(row) = rows.next()? {
        if items.len() == page.limit {
            return Ok(Some(Ok((items, true))));
        }
        match room.text(row, 1)? {
            Ok(body) => items.push(Item {
                id: row.get(0)?,
                body,
            }),
            Err(Short::TooLarge) if !items.is_empty() => return Ok(Some(Ok((items, true)))),
            Err(short) => return Ok(Some(Err(short))),
        }
    }
    Ok(Some(Ok((items, false))))
}

/// Adds the texts of items in order, as long as there is room.
fn add_items(
    db: &Connection,
    filter: &str,
    params: impl rusqlite::Params,
    texts: &mut Vec<String>,
    room: &mut Room,
) -> rusqlite::Result<Result<(), Short>> {
    let query = format!("SELECT body FROM item WHERE {filter} ORDER BY number");
    let mut list = db.prepare_cached(&query)?;
    let mut rows = list.query(params)?;
    while let Some(row) = rows.next()? {
        match room.text(row, 0)? {
            Ok(text) => texts.push(text),
            Err(short) => return Ok(Err(short)),
        }
    }
    Ok(Ok(()))
}
