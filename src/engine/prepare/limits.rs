//! Limits on values that no honest request exceeds, and that would cost the engine's thread time at every
//! token. The daemon checks most of them with better messages; this is a second check.

use crate::engine::prompt;
use crate::protocol::{EmbedParams, Failure, FailureKind, GenerateParams, PromptPart};

/// Bytes of a prompt's text: twenty books. More does not fit the longest existing contexts.
const PROMPT_BYTES: usize = 32 << 20;

/// Tokens of a prompt that is given as tokens, for the same reason.
const TOKENS: usize = 8 << 20;

/// The most stop strings, and bytes of all of them: each is searched for at every token.
const STOPS: usize = 256;
const STOP_BYTES: usize = 16 << 10;

/// Special tokens that are output.
const PRESERVED: usize = 1024;

/// The most reported alternatives to a token.
const LOGPROBS: u32 = 128;

/// The most tokens whose log-probabilities a request may ask for by name.
const LOGPROBS_OF: usize = 1024;

/// Inputs of one command; the daemon splits more into several commands.
const INPUTS: usize = 4096;

pub(super) fn check_generation(params: &mut GenerateParams) -> Result<(), Failure> {
    let n_bytes = params.prompt.iter().map(|part| match part {
        PromptPart::Text(text) => text.len(),
        PromptPart::Tokens(_) | PromptPart::Media(_) => 0,
    });
    check_bytes(n_bytes.sum())?;
    let n_tokens = params.prompt.iter().map(|part| match part {
        PromptPart::Tokens(tokens) => tokens.len(),
        PromptPart::Text(_) | PromptPart::Media(_) => 0,
    });
    check_tokens(n_tokens.sum())?;
    let n_bytes: usize = params.stop.iter().map(String::len).sum();
    if params.stop.len() > STOPS || n_bytes > STOP_BYTES {
        return Err(too_many(&format!(
            "more than {STOPS} stop texts, or more than {STOP_BYTES} bytes of them"
        )));
    }
    if params.preserved.len() > PRESERVED {
        return Err(too_many(&format!("more than {PRESERVED} preserved tokens")));
    }
    if params.logprobs_of.len() > LOGPROBS_OF {
        let what = format!("the log-probabilities of more than {LOGPROBS_OF} tokens");
        return Err(too_many(&what));
    }
    params.logprobs = params.logprobs.map(|n| n.min(LOGPROBS));
    Ok(())
}

/// Checks that a request does not ask for too many log-probabilities of prompt tokens.
pub(super) fn check_prompt_logprobs(
    params: &GenerateParams,
    n_tokens: usize,
    has_images: bool,
) -> Result<(), Failure> {
    let Some(n_most) = params.prompt_logprobs else {
        return Ok(());
    };
    if has_images {
        let message = "the log-probabilities of a prompt with images are not known";
        return Err(prompt::failure(FailureKind::Invalid, message));
    }
    let n_top = params.logprobs.unwrap_or(0) as usize;
    let n_entries = n_tokens.saturating_mul(1 + n_top);
    if n_entries <= n_most as usize {
        return Ok(());
    }
    Err(too_many(&format!(
        "more than {n_most} log-probabilities for a prompt ({n_tokens} tokens with {n_top} alternatives each)"
    )))
}

pub(super) fn check_embedding(params: &EmbedParams) -> Result<(), Failure> {
    if params.inputs.len() > INPUTS {
        return Err(too_many(&format!("more than {INPUTS} inputs")));
    }
    Ok(())
}

pub(super) fn check_texts(texts: &[String]) -> Result<(), Failure> {
    check_bytes(texts.iter().map(String::len).sum())
}

pub(super) fn check_tokens(n_tokens: usize) -> Result<(), Failure> {
    if n_tokens > TOKENS {
        return Err(too_many(&format!("more than {TOKENS} tokens")));
    }
    Ok(())
}

fn check_bytes(n_bytes: usize) -> Result<(), Failure> {
    if n_bytes > PROMPT_BYTES {
        return Err(prompt::failure(
            FailureKind::ContextExceeded,
            &format!("the prompt has {n_bytes} bytes of text, more than {PROMPT_BYTES}"),
        ));
    }
    Ok(())
}

fn too_many(what: &str) -> Failure {
    prompt::failure(FailureKind::Invalid, &format!("too much at once: {what}"))
}
