//! Several concurrent answers to one request.
//!
//! *Invariant:* all running choices are polled concurrently, so that a choice that waits for a slot does
//! not block the others. The first error ends them all.

use axum::response::Response;
use bytes::Bytes;
use futures_util::future::{BoxFuture, Either};
use futures_util::stream::{self, Stream, StreamExt as _, TryStreamExt as _};
use tokio_util::sync::CancellationToken;

use crate::error::RequestError;
use crate::inference::{Chunk, ChunkStream};
use crate::server::error::OpenAiError;
use crate::server::stream::{Items, SSE, looked_at, open, streamed, told};

/// Chunks with the index of their choice.
pub(super) type Chunks = Items<(usize, Chunk), RequestError>;

/// Converts the chunks of a stream to events.
pub(super) trait Spell {
    /// Returns the events for a chunk of the choice `index`.
    fn chunk(&mut self, index: usize, chunk: Chunk) -> Vec<Bytes>;

    /// The events after the last chunk.
    fn end(&mut self) -> Vec<Bytes>;
}

/// A choice that has not started.
pub(super) type Opening = BoxFuture<'static, Result<ChunkStream, RequestError>>;

/// How many choices of a request run concurrently: more than a model has slots, but few enough to leave
/// room for other requests.
const AT_ONCE: usize = 16;

/// Merges the chunks of all choices as they arrive.
pub(super) fn merge(openings: impl Iterator<Item = Opening> + Send + 'static) -> Chunks {
    let choices = openings.enumerate().map(|(index, opening)| {
        stream::once(opening)
            .try_flatten()
            .map_ok(move |chunk| (index, chunk))
            .boxed()
    });
    stream::iter(choices)
        .flatten_unordered(Some(AT_ONCE))
        .boxed()
}

/// Converts a stream to events.
fn frames(
    chunks: Chunks,
    spell: impl Spell + Send + 'static,
) -> impl Stream<Item = Result<Bytes, RequestError>> + Send + 'static {
    stream::unfold(Some((chunks, spell)), |state| async move {
        let (mut chunks, mut spell) = state?;
        match chunks.next().await {
            Some(Ok((index, chunk))) => {
                let events = spell.chunk(index, chunk);
                Some((Ok(events), Some((chunks, spell))))
            }
            Some(Err(error)) => Some((Err(error), None)),
            None => Some((Ok(spell.end()), None)),
        }
    })
    .flat_map(|result| match result {
        Ok(events) => Either::Left(stream::iter(events.into_iter().map(Ok))),
        Err(error) => Either::Right(stream::iter([Err(error)])),
    })
}

/// Answers with the events of a stream.
///
/// # Errors
/// Errors that come before the first piece and early enough to become a status.
pub(super) async fn stream_answer(
    chunks: Chunks,
    spell: impl Spell + Send + 'static,
    cut_off: &CancellationToken,
) -> Result<Response, OpenAiError> {
    let chunks = open(async { Ok::<_, RequestError>(chunks) }).await?;
    let (chunks, is_cut) = looked_at(chunks, |(_, chunk)| chunk.prompt_truncated);
    let frames = frames(chunks.boxed(), spell);
    Ok(told(streamed(SSE, frames, cut_off), is_cut))
}

/// Reads all chunks; returns whether the prompt was cut.
pub(super) async fn collect(
    mut chunks: Chunks,
    mut each: impl FnMut(usize, Chunk),
) -> Result<bool, RequestError> {
    let mut is_cut = false;
    while let Some((index, chunk)) = chunks.try_next().await? {
        is_cut |= chunk.prompt_truncated;
        each(index, chunk);
    }
    Ok(is_cut)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::error::ErrorKind;

    struct Words;

    impl Spell for Words {
        fn chunk(&mut self, index: usize, chunk: Chunk) -> Vec<Bytes> {
            vec![format!("{index}{}", chunk.content).into()]
        }

        fn end(&mut self) -> Vec<Bytes> {
            vec!["usage".into(), "done".into()]
        }
    }

    fn broken() -> RequestError {
        RequestError::new(ErrorKind::Internal, "boom")
    }

    fn words(words: &[Result<&str, ()>]) -> ChunkStream {
        let items: Vec<_> = words
            .iter()
            .map(|word| match word {
                Ok(word) => Ok(Chunk {
                    content: (*word).to_owned(),
                    ..Chunk::default()
                }),
                Err(()) => Err(broken()),
            })
            .collect();
        stream::iter(items).boxed()
    }

    fn ready(opened: Result<ChunkStream, RequestError>) -> Opening {
        Box::pin(std::future::ready(opened))
    }

    async fn spelled(choices: Vec<Result<ChunkStream, RequestError>>) -> Vec<String> {
        let chunks = merge(choices.into_iter().map(ready));
        let frames = frames(chunks, Words).map(|frame| match frame {
            Ok(bytes) => String::from_utf8(bytes.to_vec()).unwrap(),
            Err(error) => format!("error: {error}"),
        });
        frames.collect().await
    }

    #[tokio::test]
    async fn every_choice_keeps_its_index() {
        let mut events = spelled(vec![Ok(words(&[Ok("a"), Ok("b")])), Ok(words(&[Ok("c")]))]).await;
        assert_eq!(events.split_off(3), ["usage", "done"]);
        events.sort();
        assert_eq!(events, ["0a", "0b", "1c"]);
    }

    #[tokio::test]
    async fn an_error_is_the_last_word() {
        let events = spelled(vec![Ok(words(&[Ok("a"), Err(()), Ok("b")]))]).await;
        assert_eq!(events, ["0a", "error: boom"]);
        assert_eq!(spelled(vec![Err(broken())]).await, ["error: boom"]);
    }

    #[tokio::test]
    async fn many_choices_do_not_begin_all_at_once() {
        let begun = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&begun);
        let openings = (0..100).map(move |_| -> Opening {
            let count = Arc::clone(&count);
            Box::pin(async move {
                count.fetch_add(1, Ordering::Relaxed);
                Ok(stream::once(async { Ok(Chunk::default()) }).boxed())
            })
        });
        let mut chunks = merge(openings);
        chunks.next().await.unwrap().unwrap();
        assert!(begun.load(Ordering::Relaxed) <= AT_ONCE);
        let mut seen: Vec<usize> = chunks.map(|chunk| chunk.unwrap().0).collect().await;
        seen.sort_unstable();
        assert_eq!(seen.len(), 99);
    }

    #[tokio::test]
    async fn a_waiting_choice_holds_up_nobody() {
        let endless: ChunkStream = stream::pending().boxed();
        let choices = [endless, words(&[Ok("a")])].map(|words| ready(Ok(words)));
        let mut chunks = merge(choices.into_iter());
        let (index, chunk) = chunks.next().await.unwrap().unwrap();
        assert_eq!((index, chunk.content.as_str()), (1, "a"));
    }
}
