//! Stores a chat when it has been answered.
//!
//! *Invariant:* the stream ends only after the chat is on disk, so that a client that has seen the end finds it. A chat
//! that fails, or whose client leaves, is not stored.

use futures_util::stream::{self, StreamExt as _};

use crate::dialect::openai::chat::{ChatFold, Kept};
use crate::history::{HistoryError, NewChat};
use crate::inference::Chunk;
use crate::keys::Owner;
use crate::server::openai::choices::Chunks;
use crate::server::state::App;
use crate::server::stream::to_bytes;

/// A chat that will be stored.
pub(super) struct Record {
    app: App,
    owner: Owner,
    fold: ChatFold,
    kept: Kept,
}

impl Record {
    pub(super) fn new(app: App, owner: Owner, fold: ChatFold, kept: Kept) -> Self {
        Self {
            app,
            owner,
            fold,
            kept,
        }
    }

    fn push(&mut self, index: usize, chunk: &Chunk) {
        self.fold.push(index, chunk.clone());
    }

    async fn save(self) {
        let Self {
            app,
            owner,
            fold,
            kept,
        } = self;
        let (chat, messages) = kept.answered(fold.end());
        let id = chat.completion.id.clone();
        let writing = app.block(move || NewChat {
            id: chat.completion.id.clone(),
            owner,
            model: chat.completion.model.clone(),
            now: chat.completion.created,
            metadata: chat.asked.metadata.to_string(),
            messages: text(&messages),
            body: text(&chat),
        });
        let saved = async {
            let new = writing.await.map_err(|error| error.to_string())?;
            let saved = app.responses.history().save_chat(new).await;
            saved.map_err(|error: HistoryError| error.to_string())
        };
        if let Err(error) = saved.await {
            tracing::error!(%error, %id, "a chat cannot be stored");
        }
    }
}

fn text(value: &impl serde::Serialize) -> String {
    String::from_utf8_lossy(&to_bytes(value)).into_owned()
}

/// Passes the chunks on; the record is stored when they have ended.
pub(super) fn recorded(chunks: Chunks, record: Record) -> Chunks {
    let state = (chunks, Some(record));
    let passed = stream::unfold(state, |(mut chunks, mut record)| async move {
        match chunks.next().await {
            Some(Ok((index, chunk))) => {
                if let Some(record) = &mut record {
                    record.push(index, &chunk);
                }
                Some((Ok((index, chunk)), (chunks, record)))
            }
            Some(Err(error)) => Some((Err(error), (chunks, None))),
            None => {
                if let Some(record) = record {
                    record.save().await;
                }
                None
            }
        }
    });
    passed.boxed()
}
