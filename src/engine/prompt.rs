//! From the parts of a prompt to tokens, and the refusals on the way.

use std::collections::HashSet;

use super::backend::{Backend, BackendError};
use crate::protocol::{Failure, FailureKind, PromptPart, Token};

/// Tokenizes a prompt. Special tokens are added to the first part only, and BOS not to a text that
/// begins with it already.
pub(super) fn tokenize<B: Backend>(
    backend: &B,
    parts: &[PromptPart],
    add_special: bool,
) -> Result<Vec<Token>, Failure> {
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
                    "this build cannot read images or sound yet",
                ));
            }
        }
    }
    if tokens.is_empty() {
        return Err(failure(FailureKind::Invalid, "the prompt is empty"));
    }
    Ok(tokens)
}

/// Tokenizes a text with special tokens added, but no second BOS where it has one.
pub(super) fn with_special<B: Backend>(
    backend: &B,
    text: &str,
) -> Result<Vec<Token>, BackendError> {
    let mut tokens = backend.tokenize(text, true, true)?;
    if backend.info().add_bos && tokens.len() > 1 && tokens[0] == tokens[1] {
        tokens.remove(0);
    }
    Ok(tokens)
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
