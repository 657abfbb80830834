//! Fitting the context: which messages, or which tokens, are left out (prompt specification §5).

use std::sync::Arc;

use super::InferenceError;
use super::answer::engine_error;
use super::prompt::{Extra, render};
use crate::chat::Message;
use crate::protocol::Token;
use crate::renderer::ChatTemplate;
use crate::scheduler::Lease;

/// What is left when everything before `from` is dropped but the system messages.
pub(super) fn keep_from(messages: &[Message], from: usize) -> Vec<Message> {
    messages
        .iter()
        .enumerate()
        .filter(|(index, message)| *index >= from || message.role == "system")
        .map(|(_, message)| message.clone())
        .collect()
}

/// A history that was to be fitted.
pub(super) struct History<'a> {
    pub(super) template: &'a Arc<ChatTemplate>,
    pub(super) messages: &'a Arc<[Message]>,
    pub(super) extra: &'a Arc<Extra>,
}

/// Renders the longest tail of a history that fits `n_ctx`; the last message always stays.
/// Returns the prompt and the number of messages that were dropped.
///
/// The cut is found by bisection: dropping more messages never makes a prompt longer.
pub(super) async fn fit_history(
    history: &History<'_>,
    lease: &Lease,
    n_ctx: u32,
) -> Result<(String, usize), InferenceError> {
    let whole = render(history.template, history.messages, 0, history.extra).await?;
    let last = history.messages.len().saturating_sub(1);
    if last == 0 || fits(&whole, lease, n_ctx).await? {
        return Ok((whole, 0));
    }
    // Invariant: dropping `too_few` does not fit, dropping `enough` does or is the last resort.
    let (mut too_few, mut enough) = (0, last);
    let mut best = render(history.template, history.messages, last, history.extra).await?;
    while enough - too_few > 1 {
        let middle = usize::midpoint(too_few, enough);
        let prompt = render(history.template, history.messages, middle, history.extra).await?;
        if fits(&prompt, lease, n_ctx).await? {
            enough = middle;
            best = prompt;
        } else {
            too_few = middle;
        }
    }
    Ok((best, enough))
}

/// Whether a prompt has at most `n_ctx` tokens (a token has at least one byte).
async fn fits(prompt: &str, lease: &Lease, n_ctx: u32) -> Result<bool, InferenceError> {
    let n_ctx = n_ctx as usize;
    if prompt.len() <= n_ctx {
        return Ok(true);
    }
    let tokens = lease
        .runner()
        .tokenize(vec![prompt.to_owned()], false, true)
        .await
        .map_err(|error| engine_error(&error))?;
    Ok(tokens.first().is_none_or(|tokens| tokens.len() <= n_ctx))
}

/// Cuts a single long prompt as Ollama does: the first `n_keep` tokens and the tail stay.
/// `None` when it fits as it is.
pub(super) fn cut_tokens(tokens: &[Token], n_ctx: u32, n_keep: i32) -> Option<Vec<Token>> {
    let n_ctx = n_ctx as usize;
    if tokens.len() < n_ctx {
        return None;
    }
    let keep = usize::try_from(n_keep)
        .unwrap_or(tokens.len())
        .min(n_ctx.saturating_sub(4));
    let limit = n_ctx - ((n_ctx - keep) / 2).max(1);
    let tail = limit.saturating_sub(keep).min(tokens.len() - keep);
    let mut cut = tokens[..keep].to_vec();
    cut.extend_from_slice(&tokens[tokens.len() - tail..]);
    Some(cut)
}
