//! Messages → prompt text.
//!
//! The GGUF's own Jinja template ([`jinja`]) and the families that Ollama renders in code
//! ([`builtin`]), a file each. Pure: no model, no I/O.

pub mod builtin;
pub mod go;
pub mod images;
pub mod jinja;
pub mod select;

use jiff::ZonedDateTime;

use crate::chat::{Message, Think, ToolDefinition};

pub use go::GoTemplate;
pub use jinja::ChatTemplate;

/// What a prompt is made from.
#[derive(Debug, Clone, Copy, Default)]
pub struct RenderInput<'a> {
    pub messages: &'a [Message],
    pub tools: &'a [ToolDefinition],
    pub think: Option<Think>,
    /// The clock that date functions read; `None` = the system's.
    pub now: Option<&'a ZonedDateTime>,
}

/// The template could not be read or run; the text says where and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("chat template: {0}")]
pub struct RenderError(pub String);
