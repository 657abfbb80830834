//! Extractors for handlers: a JSON body, decoded as Ollama does, and the client.
//!
//! The content type is ignored, only the first JSON value counts, keys are case-insensitive, `null` means
//! absent. *Invariant:* the memory of a request (its bytes and the decoded form) is limited for each
//! request and in total, before it is allocated.

mod allowance;
mod body;
mod client;
mod coding;
mod fault;
mod form;
mod go_types;
mod held;
mod lenient;
mod memory;
mod surrogates;

use axum::body::{Body as HttpBody, HttpBody as _};
use axum::extract::{FromRequest, Request};
use http_body_util::BodyExt as _;
use serde::de::{Deserialize as _, IgnoredAny};

use super::error::{AnthropicError, ApiError, OllamaError, OpenAiError};
use super::origin::Origin;
use super::state::App;
use crate::error::ErrorKind;
use crate::json::scan;
use allowance::{Allowance, MOST, Most};
use coding::Coding;
use fault::Fault;
use lenient::Reader;

pub(crate) use body::{Body, Ignored};
pub(crate) use client::{AsJob, Client};
pub(crate) use form::{OpenAiForm, spooled};
pub(crate) use held::{Held, hold};
pub(crate) use memory::{Memory, Share};

/// Larger bodies (images, long histories) are decoded on the blocking pool.
const LARGE_BODY_BYTES: usize = 32 * 1024;

/// The most bytes that are allocated on the strength of an announced length.
const BELIEVED: usize = 1 << 20;

/// The largest body that is repaired if it is not valid UTF-8. As in Go, that makes it up to three times as
/// long; base64 images need no repair.
const REPAIRED: usize = 8 << 20;

/// The most nested lists and objects, as in Go.
const MAX_DEPTH: usize = 10_000;

/// The longest error text in characters, since it may repeat what the client sent.
const MAX_MESSAGE: usize = 400;

/// A body of one of Ollama's routes.
#[derive(Debug)]
pub(crate) struct OllamaJson<T>(pub(crate) T);

/// A body of one of OpenAI's routes.
#[derive(Debug)]
pub(crate) struct OpenAiJson<T>(pub(crate) T);

impl<T: Body> FromRequest<App> for OllamaJson<T> {
    type Rejection = OllamaError;

    async fn from_request(request: Request, app: &App) -> Result<Self, OllamaError> {
        Ok(Self(read(request, app, OLLAMA).await?))
    }
}

impl<T: Body> FromRequest<App> for OpenAiJson<T> {
    type Rejection = OpenAiError;

    async fn from_request(request: Request, app: &App) -> Result<Self, OpenAiError> {
        Ok(Self(read(request, app, OPENAI).await?))
    }
}

/// A body of one of Anthropic's routes.
#[derive(Debug)]
pub(crate) struct AnthropicJson<T>(pub(crate) T);

impl<T: Body> FromRequest<App> for AnthropicJson<T> {
    type Rejection = AnthropicError;

    async fn from_request(request: Request, app: &App) -> Result<Self, AnthropicError> {
        Ok(Self(read(request, app, ANTHROPIC).await?))
    }
}

/// The error texts of a group of routes.
#[derive(Clone, Copy)]
struct Words {
    /// For an empty body.
    missing: &'static str,
    /// For a body that does not match the type `root`, with its text and the decoder's error.
    wrong: fn(&Fault, root: &str, text: &str, error: String) -> ApiError,
}

const OLLAMA: Words = Words {
    missing: "missing request body",
    wrong: |fault, root, text, error| {
        let error = fault.in_go(root, text, &error).unwrap_or(error);
        ApiError::invalid(error)
    },
};

const OPENAI: Words = Words {
    missing: "EOF",
    wrong: |fault, _, _, error| fault.in_openai(&error),
};

const ANTHROPIC: Words = Words {
    missing: "the request body is empty",
    wrong: |fault, _, _, error| fault.in_openai(&error),
};

/// Reads and decodes a body.
async fn read<T: Body>(request: Request, app: &App, words: Words) -> Result<T, ApiError> {
    let held = Held::of(request.extensions());
    let origin = Origin::of_request(request.extensions());
    let most = app.config.max_body_bytes;
    let limit = T::LIMIT.map_or(most, |limit| limit.min(most));
    let mut share = app.memory.share(origin);
    let coding = Coding::of(request.headers());
    let mut bytes = collect(request.into_body(), limit, &mut share).await?;
    if let Some(coding) = coding {
        share.grow(coding.n_fixed(&bytes)).await?;
        (bytes, share) = app
            .block(move || coding.decode(&bytes, limit, share))
            .await??;
    }
    if bytes.len() < LARGE_BODY_BYTES {
        let value = decode(&bytes, words, &mut share, MOST)?;
        held.keep(share);
        return Ok(value);
    }
    // The decoded form is hardly ever larger than the body.
    share.grow(2 * bytes.len()).await?;
    let decoded = app.block(move || {
        let value = decode(&bytes, words, &mut share, MOST)?;
        Ok::<_, ApiError>((value, share))
    });
    let (value, share) = decoded.await??;
    held.keep(share);
    Ok(value)
}

fn too_large(limit: usize) -> ApiError {
    let message = format!("request body too large (the limit is {limit} bytes)");
    ApiError::new(ErrorKind::TooLarge, message)
}

/// Reads a body; reserves memory for it and two more times its size, for the decoded form.
pub(crate) async fn read_whole(request: Request, app: &App) -> Result<(Vec<u8>, Share), ApiError> {
    let origin = Origin::of_request(request.extensions());
    let mut share = app.memory.share(origin);
    let bytes = collect(request.into_body(), app.config.max_body_bytes, &mut share).await?;
    share.grow(3 * bytes.len()).await?;
    Ok((bytes, share))
}

/// Reads a body, reserving memory for what has arrived, not for the announced length.
async fn collect(mut body: HttpBody, limit: usize, share: &mut Share) -> Result<Vec<u8>, ApiError> {
    let too_large = || too_large(limit);
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if announced > limit {
        return Err(too_large());
    }
    let mut bytes = Vec::with_capacity(announced.min(BELIEVED));
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| ApiError::body(&error))?;
        let Some(data) = frame.data_ref() else {
            continue;
        };
        let length = bytes.len() + data.len();
        if length > limit {
            return Err(too_large());
        }
        share.grow(length).await?;
        bytes.extend_from_slice(data);
    }
    Ok(bytes)
}

/// Decodes the first JSON value of a body. Afterwards `share` covers what is made of it.
fn decode<T: Body>(
    bytes: &[u8],
    words: Words,
    share: &mut Share,
    most: Most,
) -> Result<T, ApiError> {
    if bytes.trim_ascii().is_empty() {
        return Err(ApiError::invalid(words.missing));
    }
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text.into(),
        Err(_) if bytes.len() <= REPAIRED => String::from_utf8_lossy(bytes),
        Err(error) => return Err(ApiError::invalid(error.to_string())),
    };
    let text = surrogates::mended(text);
    let text = checked(&text)?;
    let allowance = Allowance::new(share, bytes.len(), most);
    let fault = Fault::default();
    let decoded = T::deserialize(&mut Reader::new(text, &allowance, &fault));
    let refused = |()| allowance.refusal().map(ApiError::from);
    let value = decoded.map_err(|error| {
        let root = std::any::type_name::<T>().rsplit("::").next();
        let wrong = |error| (words.wrong)(&fault, root.unwrap_or_default(), text, error);
        refused(()).unwrap_or_else(|| wrong(shortened(error.to_string())))
    })?;
    let n_more = value.n_copies().saturating_sub(1);
    allowance.copies(n_more).map_err(ApiError::from)?;
    let kept = allowance.kept().saturating_mul(T::N_FORMS);
    share.try_grow(kept)?;
    share.shrink(kept);
    Ok(value)
}

/// Checks the syntax of the first value before decoding it, as in Go.
fn checked(text: &str) -> Result<&str, ApiError> {
    let text = text.trim_ascii_start();
    // A shorter text cannot be nested that deeply.
    if text.len() > MAX_DEPTH && scan::is_deeper(text, MAX_DEPTH) {
        return Err(ApiError::invalid("exceeded max depth"));
    }
    let looked = IgnoredAny::deserialize(&mut serde_json::Deserializer::from_str(text));
    match looked {
        Ok(_) => Ok(text),
        Err(error) if error.is_eof() => Err(ApiError::invalid("unexpected EOF")),
        Err(error) => Err(ApiError::invalid(shortened(error.to_string()))),
    }
}

fn shortened(mut message: String) -> String {
    if let Some((end, _)) = message.char_indices().nth(MAX_MESSAGE) {
        message.truncate(end);
        message.push('…');
    }
    message
}

/// For fuzzing: decodes a body as routes do; returns whether it is valid.
#[cfg(fuzzing)]
pub fn decode_for_fuzzing<T: Body>(bytes: &[u8]) -> bool {
    let mut share = Memory::new(Some(1 << 30)).share(Origin::LOCAL);
    decode::<T>(bytes, OPENAI, &mut share, MOST).is_ok()
}

#[cfg(test)]
mod tests;
