//! What a route takes: how much of it, and how often it is copied.

use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};

use crate::api::ollama::{
    ChatRequest, CopyRequest, CreateRequest, EmbedRequest, EmbeddingsRequest, GenerateRequest,
    ModelRequest, ShowRequest,
};
use crate::api::openai;

/// Bytes of a body that says what is to be done: names, switches, a few options.
const NAMES: usize = 1 << 20;

/// Bytes of a body of texts: eight million tokens.
const TEXTS: usize = 32 << 20;

/// The body of a route.
pub(crate) trait Body: DeserializeOwned + Send + 'static {
    /// Most bytes; `None` = what the settings allow, for routes that take images.
    const LIMIT: Option<usize>;

    /// How often all but its files is in memory once it is understood.
    fn n_copies(&self) -> usize {
        1
    }
}

/// A body at which nobody looks.
#[derive(Debug, Deserialize)]
pub(crate) struct Ignored(IgnoredAny);

macro_rules! bodies {
    ($limit:expr; $($body:ty),*) => {
        $(impl Body for $body {
            const LIMIT: Option<usize> = $limit;
        })*
    };
}

bodies!(Some(NAMES); ShowRequest, CopyRequest, ModelRequest, Ignored);
bodies!(Some(TEXTS); EmbedRequest, EmbeddingsRequest, CreateRequest, openai::EmbeddingRequest);
bodies!(None; ChatRequest, GenerateRequest);

impl Body for openai::ChatRequest {
    const LIMIT: Option<usize> = None;

    fn n_copies(&self) -> usize {
        choices(self.n)
    }
}

impl Body for openai::CompletionRequest {
    const LIMIT: Option<usize> = Some(TEXTS);

    fn n_copies(&self) -> usize {
        choices(self.best_of).max(choices(self.n))
    }
}

/// Each choice is a request of its own.
fn choices(n: Option<i64>) -> usize {
    usize::try_from(n.unwrap_or(1)).unwrap_or(1).max(1)
}
