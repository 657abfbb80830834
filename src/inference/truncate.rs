//! Fitting the context: which messages, or which tokens, are left out (prompt specification §5).

use std::sync::Arc;

use super::InferenceError;
use super::answer::Refusal;
use super::prepare::invalid;
use super::render::RenderRequest;
use super::voice::Voice;
use crate::chat::Message;
use crate::model::Options;
use crate::protocol::{PromptPart, Token};
use crate::scheduler::Lease;
use crate::workers::Workers;

/// Tokens that an image takes, as Ollama reckons.
const IMAGE_TOKENS: usize = 768;

/// Tokens of the images from a message on.
pub fn image_tokens(messages: &[Message], from: usize) -> usize {
    let kept = messages.iter().skip(from);
    kept.map(|message| message.images.len() * IMAGE_TOKENS)
        .sum()
}

/// Looks for the longest tail of a history that fits, by bisection: dropping more messages does
/// not make a prompt longer. The last message always stays.
#[derive(Debug)]
pub struct Search {
    /// Dropping everything before this message does not fit; `None` = not tried yet.
    too_few: Option<usize>,
    /// Dropping everything before this one does, or is the last resort.
    enough: usize,
}

impl Search {
    pub fn new(messages: &[Message]) -> Self {
        Self {
            too_few: None,
            enough: messages.len().saturating_sub(1),
        }
    }

    /// The message to try as the first one; `None` = found.
    pub fn next(&self) -> Option<usize> {
        match self.too_few {
            None => (self.enough > 0).then_some(0),
            Some(too_few) if self.enough - too_few > 1 => {
                Some(usize::midpoint(too_few, self.enough))
            }
            Some(_) => None,
        }
    }

    /// Whether what [`Self::next`] named fits.
    pub fn tell(&mut self, from: usize, fits: bool) {
        if fits {
            self.enough = from;
        } else {
            self.too_few = Some(from);
        }
    }

    /// The first message that stays.
    pub fn found(&self) -> usize {
        self.enough
    }
}

/// A history that was to be fitted.
pub(super) struct History<'a> {
    pub(super) voice: &'a Voice,
    pub(super) request: &'a Arc<RenderRequest>,
    pub(super) workers: &'a Workers,
}

impl History<'_> {
    /// The prompt of the messages from `from` on.
    pub(super) async fn render(&self, from: usize) -> Result<String, InferenceError> {
        self.voice.render(self.workers, self.request, from).await
    }
}

/// Renders the longest tail of a history that fits `n_ctx`; the last message always stays.
/// Returns the prompt and the number of messages that were dropped.
pub(super) async fn fit_history(
    history: &History<'_>,
    lease: &Lease,
    n_ctx: u32,
) -> Result<(String, usize), Refusal> {
    let messages = &history.request.messages;
    let mut search = Search::new(messages);
    let mut best = None;
    while let Some(from) = search.next() {
        let prompt = history.render(from).await?;
        let n_free = (n_ctx as usize).checked_sub(image_tokens(messages, from));
        let fits = match n_free {
            Some(n_free) => fits(&prompt, lease, n_free).await?,
            None => false,
        };
        search.tell(from, fits);
        if fits {
            best = Some(prompt);
        }
    }
    let from = search.found();
    let prompt = match best {
        Some(prompt) => prompt,
        None => history.render(from).await?,
    };
    Ok((prompt, from))
}

/// Whether a prompt has at most that many tokens (a token has at least one byte).
async fn fits(prompt: &str, lease: &Lease, n_free: usize) -> Result<bool, Refusal> {
    if prompt.len() <= n_free {
        return Ok(true);
    }
    let tokens = lease
        .runner()
        .tokenize(vec![prompt.to_owned()], false)
        .await?;
    Ok(tokens.first().is_none_or(|tokens| tokens.len() <= n_free))
}

/// A prompt that fits its context.
pub(super) struct Fitted {
    pub(super) parts: Vec<PromptPart>,
    /// The middle was cut out; it is tokens then, special ones included.
    pub(super) truncated: bool,
}

impl Fitted {
    /// The text as it is.
    pub(super) fn whole(text: String) -> Self {
        Self::parts(vec![PromptPart::Text(text)])
    }

    /// A prompt with images, which is never cut.
    pub(super) fn parts(parts: Vec<PromptPart>) -> Self {
        Self {
            parts,
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
        parts: vec![PromptPart::Tokens(cut)],
        truncated: true,
    })
}

/// How many tokens a prompt keeps that fills its context: the first `n_keep` and half of the rest.
pub fn prompt_limit(n_ctx: u32, n_keep: usize) -> usize {
    let n_ctx = n_ctx as usize;
    let n_rest = n_ctx.saturating_sub(n_keep);
    n_ctx.saturating_sub((n_rest / 2).max(1))
}

/// Cuts a single long prompt as Ollama does: the first `n_keep` tokens and the tail stay.
/// `None` when it fits as it is.
pub(super) fn cut_tokens(tokens: &[Token], n_ctx: u32, n_keep: i32) -> Option<Vec<Token>> {
    if tokens.len() < n_ctx as usize {
        return None;
    }
    let keep = usize::try_from(n_keep)
        .unwrap_or(tokens.len())
        .min((n_ctx as usize).saturating_sub(4));
    let tail = prompt_limit(n_ctx, keep)
        .saturating_sub(keep)
        .min(tokens.len() - keep);
    let mut cut = tokens[..keep].to_vec();
    cut.extend_from_slice(&tokens[tokens.len() - tail..]);
    Some(cut)
}
