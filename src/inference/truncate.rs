//! Fitting the context: which messages, or which tokens, are left out (prompt specification §5).

use std::sync::Arc;

use super::answer::Refusal;
use super::prepare::invalid;
use super::voice::{RenderRequest, Voice, render};
use crate::chat::Message;
use crate::model::Options;
use crate::protocol::{PromptPart, Token};
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
    pub(super) voice: &'a Arc<Voice>,
    pub(super) request: &'a Arc<RenderRequest>,
}

/// Renders the longest tail of a history that fits `n_ctx`; the last message always stays.
/// Returns the prompt and the number of messages that were dropped.
///
/// The cut is found by bisection: dropping more messages never makes a prompt longer.
pub(super) async fn fit_history(
    history: &History<'_>,
    lease: &Lease,
    n_ctx: u32,
) -> Result<(String, usize), Refusal> {
    let whole = render(history.voice, history.request, 0).await?;
    let last = history.request.messages.len().saturating_sub(1);
    if last == 0 || fits(&whole, lease, n_ctx).await? {
        return Ok((whole, 0));
    }
    // Invariant: dropping `too_few` does not fit, dropping `enough` does or is the last resort.
    let (mut too_few, mut enough) = (0, last);
    let mut best = render(history.voice, history.request, last).await?;
    while enough - too_few > 1 {
        let middle = usize::midpoint(too_few, enough);
        let prompt = render(history.voice, history.request, middle).await?;
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
async fn fits(prompt: &str, lease: &Lease, n_ctx: u32) -> Result<bool, Refusal> {
    let n_ctx = n_ctx as usize;
    if prompt.len() <= n_ctx {
        return Ok(true);
    }
    let tokens = lease
        .runner()
        .tokenize(vec![prompt.to_owned()], false)
        .await?;
    Ok(tokens.first().is_none_or(|tokens| tokens.len() <= n_ctx))
}

/// A prompt that fits its context.
pub(super) struct Fitted {
    pub(super) part: PromptPart,
    /// The middle was cut out; the part is tokens then, special ones included.
    pub(super) truncated: bool,
}

impl Fitted {
    /// The text as it is.
    pub(super) fn whole(text: String) -> Self {
        Self {
            part: PromptPart::Text(text),
            truncated: false,
        }
    }
}

/// Ollama's words for a prompt that cannot be cut.
const TOO_LONG: &str = "the prompt is longer than the context length currently available to the model; shorten the prompt, adjust the context length in settings, or use a model with a longer context length";

/// Cuts the middle out of a prompt that is as long as the context; refused where the request
/// forbids the context to shift.
pub(super) async fn fit_text(
    text: String,
    lease: &Lease,
    n_ctx: u32,
    (options, shift): (&Options, Option<bool>),
) -> Result<Fitted, Refusal> {
    // A token has at least one byte; BOS and EOS may come on top.
    if text.len() + 2 < n_ctx as usize {
        return Ok(Fitted::whole(text));
    }
    let tokens = lease
        .runner()
        .tokenize(vec![text.clone()], true)
        .await?
        .pop()
        .unwrap_or_default();
    let n_bos = i32::from(lease.info().add_bos);
    let n_keep = match options.num_keep {
        all if all < 0 => all,
        n_keep => n_keep.saturating_add(n_bos),
    };
    let Some(cut) = cut_tokens(&tokens, n_ctx, n_keep) else {
        return Ok(Fitted::whole(text));
    };
    if shift == Some(false) {
        return Err(invalid(TOO_LONG).into());
    }
    tracing::warn!(
        n_prompt = tokens.len(),
        n_kept = cut.len(),
        n_ctx,
        "the prompt was cut to fit the context"
    );
    Ok(Fitted {
        part: PromptPart::Tokens(cut),
        truncated: true,
    })
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
