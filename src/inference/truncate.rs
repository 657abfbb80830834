//! Fits a conversation into the context by dropping the oldest messages, as Ollama does. If the prompt is still
//! too long, the runner, which has its tokens, cuts out its middle.

use std::sync::Arc;

use super::chat_format::ChatFormat;
use super::error::RequestError;
use super::refusal::Refusal;
use super::render::RenderRequest;
use crate::chat::Message;
use crate::protocol::{PromptPart, Token};
use crate::runner_client::Tokenize;
use crate::scheduler::Lease;
use crate::workers::Workers;

/// Tokens of an image, by Ollama's estimate.
const IMAGE_TOKENS: usize = 768;

/// Tokens of the images from a message on.
pub fn image_tokens(messages: &[Message], from: usize) -> usize {
    let kept = messages.iter().skip(from);
    kept.map(|message| message.images.len() * IMAGE_TOKENS)
        .sum()
}

/// Finds the longest tail of a history that fits, by bisection: dropping more messages does not make a
/// prompt longer. The last message always stays.
#[derive(Debug)]
pub struct Search {
    /// Dropping everything before this message does not fit; `None` = not tried yet.
    too_few: Option<usize>,
    /// Dropping everything before this message fits, or is the last resort.
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

    /// Reports whether the message from [`Self::next`] fits.
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

/// A history to fit.
pub(super) struct History<'a> {
    pub(super) format: &'a ChatFormat,
    pub(super) request: &'a Arc<RenderRequest>,
    pub(super) workers: &'a Workers,
    pub(super) client: &'a str,
}

impl History<'_> {
    /// The prompt of the messages from `from` on.
    pub(super) async fn render(&self, from: usize) -> Result<String, RequestError> {
        self.format.render(self.workers, self.request, from).await
    }
}

/// A prompt that fits, or the last resort.
pub(super) struct Fitted {
    pub(super) prompt: String,
    /// The prompt's tokens, if they had to be counted: it is not tokenized again.
    pub(super) tokens: Option<Vec<Token>>,
    /// Messages that were left out.
    pub(super) n_dropped: usize,
}

impl Fitted {
    /// The whole history.
    pub(super) fn whole(prompt: String) -> Self {
        Self {
            prompt,
            tokens: None,
            n_dropped: 0,
        }
    }
}

/// The parts of a prompt whose tokens are known. The vocabulary's own tokens are put around a prompt only if it
/// begins with a text: an empty one.
pub(super) fn tokenized(tokens: Vec<Token>) -> Vec<PromptPart> {
    vec![PromptPart::Text(String::new()), PromptPart::Tokens(tokens)]
}

/// Renders the longest tail of a history that fits `n_ctx`; the last message always stays.
pub(super) async fn fit_history(
    history: &History<'_>,
    lease: &Lease,
    n_ctx: u32,
) -> Result<Fitted, Refusal> {
    let messages = &history.request.messages;
    let mut search = Search::new(messages);
    let mut best = None;
    while let Some(from) = search.next() {
        let prompt = history.render(from).await?;
        let n_free = (n_ctx as usize).checked_sub(image_tokens(messages, from));
        let fits = match n_free {
            Some(n_free) => fits(&prompt, lease, (n_free, history.client)).await?,
            None => Fits::No,
        };
        search.tell(from, !matches!(fits, Fits::No));
        match fits {
            Fits::Yes(tokens) => best = Some((prompt, tokens)),
            Fits::No => {}
        }
    }
    let n_dropped = search.found();
    let (prompt, tokens) = match best {
        Some(best) => best,
        None => (history.render(n_dropped).await?, None),
    };
    Ok(Fitted {
        prompt,
        tokens,
        n_dropped,
    })
}

/// Whether a prompt fits.
enum Fits {
    /// With its tokens, if they had to be counted.
    Yes(Option<Vec<Token>>),
    No,
}

/// Whether a prompt has at most that many tokens (a token has at least one byte).
async fn fits(
    prompt: &str,
    lease: &Lease,
    (n_free, client): (usize, &str),
) -> Result<Fits, Refusal> {
    if prompt.len() <= n_free {
        return Ok(Fits::Yes(None));
    }
    let question = Tokenize {
        texts: vec![prompt.to_owned()],
        limit: Some(u32::try_from(n_free).unwrap_or(u32::MAX)),
        client: client.to_owned(),
        ..Tokenize::default()
    };
    let tokens = lease.runner().tokenize(question).await?;
    let tokens = tokens.into_iter().next().unwrap_or_default();
    Ok(if tokens.len() <= n_free {
        Fits::Yes(Some(tokens))
    } else {
        Fits::No
    })
}
