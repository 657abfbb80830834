//! From the parts of a prompt to tokens, and the refusals on the way.

use std::collections::HashSet;

use super::backend::{Backend, BackendError};
use super::media::{Gallery, Piece};
use crate::protocol::{Failure, FailureKind, PromptPart, Token};

/// A prompt as the model gets it.
#[derive(Debug, Default)]
pub(super) struct Prompt {
    pub(super) tokens: Vec<Token>,
    /// The images among them.
    pub(super) gallery: Gallery,
}

impl Prompt {
    /// Puts the pieces of a prompt with images together; `has_bos` = one was put in front of them.
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
                    prompt.gallery.push(at, media);
                }
            }
        }
        match prompt.tokens.last() {
            // Only rows of text have logits to go on from.
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

/// Tokenizes a prompt of text. Special tokens are added to the first part only, and BOS not to a text that
/// begins with it already.
pub(super) fn tokenize<B: Backend>(
    backend: &B,
    parts: &[PromptPart],
    add_special: bool,
) -> Result<Prompt, Failure> {
    let mut tokens = Vec::new();
    for (index, part) in parts.iter().enumerate() {
        match part {
            PromptPart::Text(text) => {
                let first = add_special && index == 0;
                let piece = if first {
                    with_special(backend, text)
                } else {
                    backend.tokenize(text, false, true)
                };
                tokens.append(&mut piece.map_err(|error| refused(&error))?);
            }
            PromptPart::Tokens(piece) => {
                check(backend, piece)?;
                tokens.extend_from_slice(piece);
            }
            PromptPart::Media(_) => {
                return Err(failure(
                    FailureKind::Unsupported,
                    "this model cannot see images",
                ));
            }
        }
    }
    if tokens.is_empty() {
        return Err(failure(FailureKind::Invalid, "the prompt is empty"));
    }
    Ok(Prompt {
        tokens,
        gallery: Gallery::default(),
    })
}

/// Tokenizes a text with special tokens added, but no second BOS where it has one.
pub(super) fn with_special<B: Backend>(
    backend: &B,
    text: &str,
) -> Result<Vec<Token>, BackendError> {
    let mut tokens = backend.tokenize(text, true, true)?;
    if backend.info().add_bos {
        drop_second_bos(&mut tokens);
    }
    Ok(tokens)
}

/// Takes a BOS away that was put in front of a text with one of its own, as templates write it.
fn drop_second_bos(tokens: &mut Vec<Token>) {
    if tokens.len() > 1 && tokens[0] == tokens[1] {
        tokens.remove(0);
    }
}

/// Refuses numbers that are no tokens of this model.
pub(super) fn check<B: Backend>(backend: &B, tokens: &[Token]) -> Result<(), Failure> {
    let n_vocab = backend.info().n_vocab;
    let is_token = |&token: &Token| u32::try_from(token).is_ok_and(|token| token < n_vocab);
    match tokens.iter().find(|token| !is_token(token)) {
        None => Ok(()),
        Some(token) => Err(failure(
            FailureKind::Invalid,
            &format!("token {token} is not in the model's vocabulary of {n_vocab}"),
        )),
    }
}

/// The tokens of texts that are one special token each; other texts have none.
pub(super) fn preserved<B: Backend>(backend: &B, texts: &[String]) -> HashSet<Token> {
    let token = |text: &String| match backend.tokenize(text, false, true).as_deref() {
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
    Err(failure(
        FailureKind::ContextExceeded,
        &format!(
            "request ({n_tokens} tokens) exceeds the available context size ({n_ctx} tokens), try increasing it"
        ),
    ))
}

pub(super) fn failure(kind: FailureKind, message: &str) -> Failure {
    Failure {
        kind,
        message: message.to_owned(),
    }
}

/// The library would not take a request.
pub(super) fn refused(error: &BackendError) -> Failure {
    failure(FailureKind::Invalid, &error.to_string())
}

/// The library failed.
pub(super) fn broken(error: &BackendError) -> Failure {
    failure(FailureKind::Internal, &error.to_string())
}
