//! The input of workers: templates, and subjects to render with them.

use std::sync::Weak;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

use super::wire::{Language, Order, Said, Subject as Content};
use super::{Pool, WorkError, Workers};
use crate::chat::{Message, Think, ToolDefinition};
use crate::protocol::framing;
use crate::renderer::MAX_SOURCE;

/// Owner of all templates that come with requests.
const REQUESTS: u64 = 0;

/// The longest prompt, in bytes: far beyond the context of any model.
const MAX_PROMPT: usize = 64 << 20;

/// How much longer than its subject a prompt may be: fixed texts, and indented JSON.
const MAX_ADDED: usize = 1 << 20;
const MAX_FACTOR: usize = 8;

/// An idle worker does not keep a larger subject.
const LARGE: usize = 4 << 20;

fn next_id() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// A template's text. It is parsed when it is first used.
#[derive(Debug)]
pub struct Template {
    pub(super) id: u64,
    /// Requests of one owner share a queue.
    pub(super) owner: u64,
    language: Language,
    source: String,
    bos_token: String,
    eos_token: String,
}

impl Template {
    /// A GGUF file's template with the texts of its special tokens.
    ///
    /// # Errors
    /// It is too long.
    pub fn jinja(source: &str, bos_token: String, eos_token: String) -> Result<Self, String> {
        check(source)?;
        let id = next_id();
        Ok(Self {
            id,
            owner: id,
            language: Language::Jinja,
            source: source.to_owned(),
            bos_token,
            eos_token,
        })
    }

    /// A model's TEMPLATE.
    pub fn go(source: &str) -> Self {
        let id = next_id();
        Self::new_go(source, id, id)
    }

    /// A TEMPLATE that comes with a request.
    ///
    /// # Errors
    /// It is too long.
    pub fn of_request(source: &str) -> Result<Self, String> {
        check(source)?;
        Ok(Self::new_go(source, next_id(), REQUESTS))
    }

    fn new_go(source: &str, id: u64, owner: u64) -> Self {
        Self {
            id,
            owner,
            language: Language::Go,
            source: source.to_owned(),
            bos_token: String::new(),
            eos_token: String::new(),
        }
    }

    /// Whether it is used only once.
    pub(super) fn is_guest(&self) -> bool {
        self.owner == REQUESTS
    }

    pub(super) fn order(&self, place: usize) -> Order<'_> {
        Order::Template {
            place,
            language: self.language,
            source: self.source.as_str().into(),
            bos_token: self.bos_token.as_str().into(),
            eos_token: self.eos_token.as_str().into(),
        }
    }
}

fn check(source: &str) -> Result<(), String> {
    if source.len() > MAX_SOURCE {
        let length = source.len();
        return Err(format!(
            "chat template: {length} bytes are too long, {MAX_SOURCE} are possible"
        ));
    }
    Ok(())
}

/// A conversation to render.
#[derive(Debug, Clone, Copy, Default)]
pub struct Conversation<'a> {
    pub messages: &'a [Message],
    pub tools: &'a [ToolDefinition],
    pub think: Option<Think>,
}

/// A subject to render, encoded for workers.
#[derive(Debug)]
pub struct Subject {
    pub(super) id: u64,
    pub(super) frame: Bytes,
    pool: Weak<Pool>,
}

impl Workers {
    /// Encodes a conversation. A long one takes milliseconds: do not call it on the async runtime's
    /// threads.
    ///
    /// # Errors
    /// None in practice: conversations arrived as JSON.
    pub fn conversation(&self, conversation: &Conversation<'_>) -> Result<Subject, WorkError> {
        self.subject(Content::Conversation {
            messages: conversation.messages.iter().map(Said::from).collect(),
            tools: conversation.tools.into(),
            think: conversation.think,
        })
    }

    /// Encodes a text and its suffix, for a TEMPLATE.
    ///
    /// # Errors
    /// None in practice.
    pub fn parts(
        &self,
        prompt: &str,
        suffix: &str,
        think: Option<Think>,
    ) -> Result<Subject, WorkError> {
        self.subject(Content::Parts {
            prompt: prompt.into(),
            suffix: suffix.into(),
            think,
        })
    }

    fn subject(&self, content: Content<'_>) -> Result<Subject, WorkError> {
        let frame = framing::encode(&Order::Subject(content));
        Ok(Subject {
            id: next_id(),
            frame: frame.map_err(|_| WorkError::Ended)?,
            pool: std::sync::Arc::downgrade(&self.pool),
        })
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        if self.frame.len() >= LARGE
            && let Some(pool) = self.pool.upgrade()
        {
            pool.forget(self.id);
        }
    }
}

/// One prompt to make.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) template: std::sync::Arc<Template>,
    pub(super) subject: std::sync::Arc<Subject>,
    pub(super) from: usize,
}

impl Job {
    /// The longest prompt of this job, in bytes, so that a line cannot become a gigabyte.
    pub(super) fn max_prompt(&self) -> usize {
        let of_subject = self.subject.frame.len().saturating_mul(MAX_FACTOR);
        of_subject.saturating_add(MAX_ADDED).min(MAX_PROMPT)
    }
}
