//! The bodies of routes: their size limits, and how often they are copied.

use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};

use crate::api::keys::KeyRequest;
use crate::api::llama_server::{DetokenizeRequest, InfillRequest, TokenizeRequest};
use crate::api::ollama::{
    ChatRequest, CopyRequest, CreateRequest, EmbedRequest, EmbeddingsRequest, FitRequest,
    GenerateRequest, ModelRequest, ShowRequest,
};
use crate::api::openai::responses::{
    CompactRequest, ConversationRequest, NewItems, ResponseRequest,
};
use crate::api::rerank::{RerankRequest, ScoreRequest};
use crate::api::system_one::SystemOneRequest;
use crate::api::{anthropic, openai};

/// The limit for bodies with only names, switches and a few options.
const NAMES: usize = 1 << 20;

/// The limit for bodies with text: eight million tokens.
const TEXTS: usize = 32 << 20;

/// The body of a route.
pub(crate) trait Body: DeserializeOwned + Send + 'static {
    /// The most bytes; `None` = the limit from the settings, for routes that take images.
    const LIMIT: Option<usize>;

    /// How many forms of the whole body are in memory while the request is answered.
    const N_FORMS: usize = 1;

    /// How many copies of everything but the files are in memory after decoding.
    fn n_copies(&self) -> usize {
        1
    }
}

/// A body that is ignored.
#[derive(Debug, Deserialize)]
pub(crate) struct Ignored(IgnoredAny);

macro_rules! bodies {
    ($limit:expr; $($body:ty),*) => {
        $(impl Body for $body {
            const LIMIT: Option<usize> = $limit;
        })*
    };
}

bodies!(Some(NAMES); FitRequest, ShowRequest, CopyRequest, ModelRequest, KeyRequest, Ignored);
bodies!(Some(NAMES); openai::ChatUpdate);
bodies!(Some(TEXTS); RerankRequest, ScoreRequest, TokenizeRequest, DetokenizeRequest, InfillRequest);
bodies!(Some(TEXTS); EmbedRequest, EmbeddingsRequest, CreateRequest, openai::EmbeddingRequest);
bodies!(None; ChatRequest, GenerateRequest, anthropic::MessagesRequest, SystemOneRequest);

macro_rules! item_bodies {
    ($($body:ty),*) => {
        $(impl Body for $body {
            const LIMIT: Option<usize> = None;

            /// As JSON, as the model's input, and as what is stored.
            const N_FORMS: usize = 3;
        })*
    };
}

item_bodies!(
    ResponseRequest,
    CompactRequest,
    ConversationRequest,
    NewItems
);

impl Body for openai::ChatRequest {
    const LIMIT: Option<usize> = None;

    /// A stored request has one more copy, and one as text.
    fn n_copies(&self) -> usize {
        choices(self.n) + if self.store { 2 } else { 0 }
    }
}

impl Body for openai::DecisionRequest {
    const LIMIT: Option<usize> = None;

    /// Images arrive as JSON and are decoded from it.
    const N_FORMS: usize = 2;
}

impl Body for openai::CompletionRequest {
    const LIMIT: Option<usize> = Some(TEXTS);

    fn n_copies(&self) -> usize {
        choices(self.best_of).max(choices(self.n))
    }
}

/// Each choice becomes a separate request.
fn choices(n: Option<i64>) -> usize {
    usize::try_from(n.unwrap_or(1)).unwrap_or(1).max(1)
}
