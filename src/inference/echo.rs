//! A prompt in front of its answer.

use futures_util::stream::{self, StreamExt as _};

use super::error::RequestError;
use super::types::{Chunk, ChunkStream, Echo};

/// Puts a prompt in front of its answer: its text at once, or, with `has_tokens`, when the engine has reported
/// all its tokens.
pub(super) fn echoed(prompt: Option<String>, has_tokens: bool, answer: ChunkStream) -> ChunkStream {
    let Some(text) = prompt else { return answer };
    let echo = Echo {
        text,
        tokens: Vec::new(),
    };
    if has_tokens {
        let state = Some((Some(echo), answer));
        return stream::unfold(state, |state| async { gather(state?).await }).boxed();
    }
    let chunk = Chunk {
        echo: Some(echo),
        ..Chunk::default()
    };
    stream::once(async { Ok(chunk) }).chain(answer).boxed()
}

type State = (Option<Echo>, ChunkStream);

/// The next chunk; until the prompt is sent, the first chunk that has a part of the answer.
async fn gather(
    (mut echo, mut answer): State,
) -> Option<(Result<Chunk, RequestError>, Option<State>)> {
    loop {
        let mut chunk = match answer.next().await? {
            Ok(chunk) => chunk,
            Err(error) => return Some((Err(error), None)),
        };
        if let Some(echo) = &mut echo {
            let more = chunk.echo.take().map(|echo| echo.tokens);
            echo.tokens.extend(more.unwrap_or_default());
            if chunk.is_empty() {
                continue;
            }
        }
        chunk.echo = echo.take();
        return Some((Ok(chunk), Some((None, answer))));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use crate::inference::PromptToken;

    fn told(tokens: &[&str]) -> Chunk {
        let tokens = tokens.iter().map(|token| PromptToken {
            token: (*token).to_owned(),
            logprob: Some(-1.0),
            bytes: token.as_bytes().to_vec(),
            top: Vec::new(),
        });
        Chunk {
            echo: Some(Echo {
                text: String::new(),
                tokens: tokens.collect(),
            }),
            ..Chunk::default()
        }
    }

    fn said(content: &str) -> Chunk {
        Chunk {
            content: content.to_owned(),
            ..Chunk::default()
        }
    }

    /// The output: the prompt's text, its tokens, the answer's text.
    async fn heard(has_tokens: bool, chunks: Vec<Result<Chunk, RequestError>>) -> Vec<String> {
        let answer = stream::iter(chunks).boxed();
        let chunks = echoed(Some("a b".to_owned()), has_tokens, answer);
        let words = chunks.map(|chunk| match chunk {
            Ok(Chunk { echo, content, .. }) => {
                let Echo { text, tokens } = echo.unwrap_or_default();
                let tokens: Vec<String> = tokens.into_iter().map(|token| token.token).collect();
                format!("{text}|{}|{content}", tokens.join(","))
            }
            Err(error) => error.message,
        });
        words.collect().await
    }

    #[tokio::test]
    async fn the_tokens_of_a_prompt_come_together_and_before_the_answer() {
        let both = Chunk {
            content: "c".to_owned(),
            ..told(&[" b"])
        };
        let chunks = vec![Ok(told(&["a"])), Ok(both), Ok(said("d"))];
        assert_eq!(heard(true, chunks).await, ["a b|a, b|c", "||d"]);
        assert_eq!(heard(false, vec![Ok(said("c"))]).await, ["a b||", "||c"]);
        let error = RequestError::new(ErrorKind::Internal, "boom");
        assert_eq!(
            heard(true, vec![Ok(told(&["a"])), Err(error)]).await,
            ["boom"]
        );
    }
}
