//! Deletes old objects: by age from time to time, and by size at every write.

use rusqlite::Transaction;

use super::{History, HistoryError, chats, conversations, responses};

/// How many objects are deleted in one transaction.
const AT_ONCE: usize = 100;

impl History {
    /// Deletes objects that have been unused for too long; returns how many responses, conversations and chats these
    /// were.
    ///
    /// # Errors
    /// The file cannot be used.
    pub async fn sweep(&self, now: i64) -> Result<usize, HistoryError> {
        let Some(max_age) = self.settings.max_age else {
            return Ok(0);
        };
        let max_age = i64::try_from(max_age.as_secs()).unwrap_or(i64::MAX);
        let before = now.saturating_sub(max_age);
        let mut n_gone = 0;
        // Other queries may run in between.
        loop {
            let swept = self.call(move |db| {
                let tx = db.transaction()?;
                let n = remove_oldest(&tx, before, "", AT_ONCE)?;
                tx.commit()?;
                Ok(n)
            });
            let n = swept.await?;
            n_gone += n;
            if n < AT_ONCE {
                return Ok(n_gone);
            }
        }
    }
}

/// Deletes the least recently used objects until the rest fits; `newest` always stays.
pub(super) fn make_room(
    tx: &Transaction<'_>,
    max_bytes: u64,
    newest: &str,
) -> rusqlite::Result<()> {
    while used_bytes(tx)? > max_bytes {
        if remove_oldest(tx, i64::MAX, newest, 1)? == 0 {
            break;
        }
    }
    Ok(())
}

/// Deletes up to `most` responses, conversations and chats that were last used before a time.
fn remove_oldest(
    tx: &Transaction<'_>,
    before: i64,
    except: &str,
    most: usize,
) -> rusqlite::Result<usize> {
    let mut oldest = tx.prepare_cached(
        "SELECT * FROM (
            SELECT 'response', id, used FROM response WHERE is_final AND used < ?1 AND id <> ?2
            UNION ALL
            SELECT 'conversation', id, used FROM conversation WHERE used < ?1 AND id <> ?2
            UNION ALL
            SELECT 'chat', id, used FROM chat WHERE used < ?1 AND id <> ?2
        ) ORDER BY used LIMIT ?3",
    )?;
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    let found = oldest.query_map((before, except, most), |row| {
        Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?))
    })?;
    let found = found.collect::<rusqlite::Result<Vec<_>>>()?;
    for (kind, id) in &found {
        match kind.as_str() {
            "response" => responses::remove(tx, id)?,
            "conversation" => conversations::remove(tx, id)?,
            _ => chats::remove(tx, id)?,
        };
    }
    Ok(found.len())
}

/// The bytes of all pages in use.
fn used_bytes(tx: &Transaction<'_>) -> rusqlite::Result<u64> {
    let number = |pragma| tx.pragma_query_value(None, pragma, |row| row.get::<_, u32>(0));
    let n_pages = number("page_count")?.saturating_sub(number("freelist_count")?);
    Ok(u64::from(n_pages) * u64::from(number("page_size")?))
}
