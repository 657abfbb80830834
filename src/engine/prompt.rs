//! A prompt as the model gets it, and the errors of making it.

use std::collections::HashSet;

use super::backend::{BackendError, Preparer};
pub(super) use super::failure::failure;
use super::media::{MediaSpans, Piece};
use crate::protocol::{Failure, FailureKind, LoadedInfo, Token};

/// A prompt as the model gets it.
#[derive(Debug, Default)]
pub(super) struct Prompt {
    pub(super) tokens: Vec<Token>,
    /// The images in `tokens`.
    pub(super) media: MediaSpans,
}

impl Prompt {
    /// Joins the pieces of a prompt with images; `has_bos` = a BOS was put in front of them.
    pub(super) fn join(mut pieces: Vec<Piece>, has_bos: bool) -> Result<Self, Failure> {
        if let Some(Piece::Tokens(first)) = pieces.first_mut()
            && has_bos
        {
            drop_second_bos(first);
        }
        let mut prompt = Self::default();
        for piece in pieces {
            match piece {
                Piece::Tokens(mut tokens) => prompt.tokens.append(&mut tokens),
                Piece::Media(media) => {
                    let at = prompt.tokens.len();
                    prompt.tokens.extend_from_slice(&media.tokens);
                    prompt.media.push(at, media);
                }
            }
        }
        match prompt.tokens.last() {
            // Only text rows have logits to sample from.
            Some(token) if *token < 0 => Err(failure(
                FailureKind::Invalid,
                "the prompt must not end with an image: some text must follow",
            )),
            Some(_) => Ok(prompt),
            None => Err(failure(FailureKind::Invalid, "the prompt is empty")),
        }
    }

    /// The tokens that stand for text.
    pub(super) fn text(&self) -> Vec<Token> {
        let is_text = |token: &Token| *token >= 0;
        self.tokens.iter().copied().filter(is_text).collect()
    }
}

/// Removes the added BOS if the text already begins with one, as templates write it.
pub(super) fn drop_second_bos(tokens: &mut Vec<Token>) {
    if tokens.len() > 1 && tokens[0] == tokens[1] {
        tokens.remove(0);
    }
}

/// Refuses numbers that are not tokens of this model.
pub(super) fn check(info: &LoadedInfo, tokens: &[Token]) -> Result<(), Failure> {
    let n_vocab = info.n_vocab;
    let is_token = |&token: &Token| u32::try_from(token).is_ok_and(|token| token < n_vocab);
    match tokens.iter().find(|token| !is_token(token)) {
        None => Ok(()),
        Some(token) => Err(failure(
            FailureKind::Invalid,
            &format!("token {token} is not in the model's vocabulary of {n_vocab}"),
        )),
    }
}

/// The tokens of those texts that are a single special token.
pub(super) fn preserved<P: Preparer>(preparer: &P, texts: &[String]) -> HashSet<Token> {
    let token = |text: &String| match preparer.tokenize(text, true).as_deref() {
        Ok(&[token]) => Some(token),
        _ => None,
    };
    texts.iter().filter_map(token).collect()
}

/// Checks that a prompt leaves room in its context.
pub(super) fn check_length(n_tokens: usize, n_ctx: usize) -> Result<(), Failure> {
    if n_tokens < n_ctx {
        return Ok(());
    }
    Err(too_long(&n_tokens.to_string(), n_ctx))
}

/// The error for a prompt of this many tokens that does not fit its context.
pub(super) fn too_long(n_tokens: &str, n_ctx: usize) -> Failure {
    failure(
        FailureKind::ContextExceeded,
        &format!(
            "request ({n_tokens} tokens) exceeds the available context size ({n_ctx} tokens), try increasing it"
        ),
    )
}

/// The error for a request that the library refuses.
pub(super) fn refused(error: &BackendError) -> Failure {
    failure(FailureKind::Invalid, &error.to_string())
}
