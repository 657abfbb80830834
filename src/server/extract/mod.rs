//! What handlers take from a request: a JSON body read as Ollama reads it, and who asks.
//!
//! The content type is not looked at, only the first JSON value counts, keys match whatever their
//! case, `null` is "not given". *Invariant:* what a request holds in memory (its bytes as they come,
//! what they are decoded into) is bounded for each and over all, before it is there.

mod allowance;
mod body;
mod fault;
mod go_types;
mod held;
mod lenient;
mod memory;
mod surrogates;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicU64, Ordering};

use axum::body::{Body as HttpBody, HttpBody as _};
use axum::extract::{ConnectInfo, FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use http_body_util::BodyExt as _;
use serde::de::{Deserialize as _, IgnoredAny};

use super::error::{ApiError, OllamaError, OpenAiError};
use super::origin::{Origin, Peer};
use super::state::App;
use crate::json::scan;
use crate::model::Digest;
use allowance::{Allowance, MOST, Most};
use fault::Fault;
use lenient::Reader;

pub(crate) use body::{Body, Ignored};
pub(crate) use held::{Held, hold};
pub(crate) use memory::{Memory, Share};

/// Larger bodies (images, long histories) are decoded away from the runtime.
const LARGE_BODY_BYTES: usize = 32 * 1024;

/// Bytes for which room is made on the word of a client.
const BELIEVED: usize = 1 << 20;

/// Bodies with bytes that are no UTF-8 are repaired as in Go, which makes them up to three times as
/// long; images have none.
const REPAIRED: usize = 8 << 20;

/// Levels of lists and objects within each other, as in Go.
const MAX_DEPTH: usize = 10_000;

/// Characters of a message that may repeat what the client sent.
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

/// How a family of routes says what is wrong with a body.
#[derive(Clone, Copy)]
struct Words {
    /// For an empty one.
    missing: &'static str,
    /// For one that is not of the type `root`, with its text and the decoder's words.
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

/// Reads and decodes a body.
async fn read<T: Body>(request: Request, app: &App, words: Words) -> Result<T, ApiError> {
    let held = Held::of(request.extensions());
    let origin = Origin::of_request(request.extensions());
    let most = app.config.max_body_bytes;
    let limit = T::LIMIT.map_or(most, |limit| limit.min(most));
    let mut share = app.memory.share(origin);
    let bytes = collect(request.into_body(), limit, &mut share).await?;
    if bytes.len() < LARGE_BODY_BYTES {
        let value = decode(&bytes, words, &mut share, MOST)?;
        held.keep(share);
        return Ok(value);
    }
    // What it is decoded into is hardly ever larger.
    share.grow(2 * bytes.len()).await?;
    let decoded = app.block(move || {
        let value = decode(&bytes, words, &mut share, MOST)?;
        Ok::<_, ApiError>((value, share))
    });
    let (value, share) = decoded.await??;
    held.keep(share);
    Ok(value)
}

/// Takes a body in. It holds what has come, not what is announced.
async fn collect(mut body: HttpBody, limit: usize, share: &mut Share) -> Result<Vec<u8>, ApiError> {
    let too_large = || {
        let message = format!("request body too large (the limit is {limit} bytes)");
        ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, message)
    };
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

/// Decodes the first JSON value of a body. Afterwards `share` holds what it was decoded into.
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
    let kept = allowance.kept();
    share.shrink(kept);
    Ok(value)
}

/// The text from its first value on, which is looked over before anything is made of it, as in Go.
fn checked(text: &str) -> Result<&str, ApiError> {
    let text = text.trim_ascii_start();
    // A shorter text has no room for so many.
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

/// Decodes a body as routes do, for the fuzz targets; whether it is one.
#[cfg(fuzzing)]
pub fn decode_for_fuzzing<T: Body>(bytes: &[u8]) -> bool {
    let mut share = Memory::new(Some(1 << 30)).share(Origin::LOCAL);
    decode::<T>(bytes, OPENAI, &mut share, MOST).is_ok()
}

/// Who asks, as `ORIGIN/NAME/REQUEST`: clients of one origin share what the origin gets, and the
/// requests of a client what it gets. The name is an API key or a user that a front end names, as
/// anybody could make it up, else the address; the request is a number. Only for comparing: keys and
/// names are hashed, so that they go no further than here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Client(pub(crate) String);

impl<S: Sync> FromRequestParts<S> for Client {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Self::Rejection> {
        let peer = parts.extensions.get::<ConnectInfo<Peer>>();
        Ok(Self::new(&parts.headers, peer.map(|peer| peer.0.0.ip())))
    }
}

/// Requests so far.
static REQUESTS: AtomicU64 = AtomicU64::new(0);

impl Client {
    fn new(headers: &HeaderMap, address: Option<IpAddr>) -> Self {
        let named = [
            "x-openwebui-user-id",
            header::AUTHORIZATION.as_str(),
            "x-api-key",
        ]
        .into_iter()
        .find_map(|name| headers.get(name))
        .map(|name| Digest::of(name.as_bytes()).hex());
        let address = address.unwrap_or(Ipv4Addr::LOCALHOST.into());
        let name = named.unwrap_or_else(|| address.to_string());
        let request = REQUESTS.fetch_add(1, Ordering::Relaxed);
        Self(format!("{}/{name}/{request}", Origin::of(address)))
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use serde_json::json;

    use super::*;
    use crate::api::ollama::{
        ChatRequest, CreateRequest, EmbedRequest, GenerateRequest, StringOrList,
    };
    use crate::api::openai;

    fn share() -> Share {
        Memory::new(Some(1 << 30)).share(Origin::LOCAL)
    }

    fn read<T: Body>(text: &str) -> Result<T, String> {
        decode(text.as_bytes(), OLLAMA, &mut share(), MOST).map_err(|error| {
            assert_eq!(error.status, StatusCode::BAD_REQUEST);
            error.message
        })
    }

    const SMALL: Most = Most {
        text: 1 << 16,
        structure: 1 << 17,
    };

    /// So many times the same text between two others.
    fn many(begin: &str, element: &str, n: usize, end: &str) -> String {
        format!("{begin}{}{end}", vec![element; n].join(","))
    }

    #[track_caller]
    fn check_too_large<T: Body>(text: &str) {
        let refused = decode::<T>(text.as_bytes(), OLLAMA, &mut share(), SMALL);
        let refused = refused.err().unwrap();
        assert_eq!(refused.status, StatusCode::PAYLOAD_TOO_LARGE, "{refused:?}");
    }

    #[test]
    fn strings_may_be_cut_within_a_character() {
        let request: GenerateRequest = read(r#"{"prompt":"a \ud83d b"}"#).unwrap();
        assert_eq!(request.prompt, "a \u{fffd} b");
    }

    #[test]
    fn what_is_made_of_a_body_is_bounded_whatever_it_holds() {
        let n = 3000;
        let part = r#"{"type":"text","text":""}"#;
        check_too_large::<ChatRequest>(&many(r#"{"messages":["#, "{}", n, "]}"));
        check_too_large::<ChatRequest>(&many(r#"{"tools":["#, "{}", n, "]}"));
        check_too_large::<ChatRequest>(&many(r#"{"format":["#, "[]", n, "]}"));
        check_too_large::<ChatRequest>(&many(r#"{"options":{"x":["#, "1", n, "]}}"));
        check_too_large::<GenerateRequest>(&many(r#"{"context":["#, "1", 10 * n, "]}"));
        check_too_large::<GenerateRequest>(&many(r#"{"images":["#, "\"\"", n, "]}"));
        check_too_large::<EmbedRequest>(&many(r#"{"input":["#, "\"\"", n, "]}"));
        check_too_large::<openai::ChatRequest>(&many(r#"{"stop":["#, "\"\"", n, "]}"));
        let parts = many(r#"{"messages":[{"content":["#, part, n, "]}]}");
        check_too_large::<openai::ChatRequest>(&parts);
        let arguments = many("{\"a\":[", "[]", n, "]}");
        let call = json!({"function": {"name": "f", "arguments": arguments}});
        let body = json!({"messages": [{"role": "assistant", "tool_calls": [call]}]});
        check_too_large::<openai::ChatRequest>(&body.to_string());
        let text = "a".repeat(SMALL.text + 1);
        check_too_large::<ChatRequest>(&json!({"messages": [{"content": text}]}).to_string());
        let text = "a".repeat(1 << 10);
        let copies = json!({"n": 128, "messages": [{"role": "user", "content": text}]});
        check_too_large::<openai::ChatRequest>(&copies.to_string());
    }

    #[test]
    fn what_is_not_used_costs_nothing_and_images_are_no_text() {
        let mut held = share();
        let text = many(r#"{"model":"m","x":["#, "[]", 100_000, "],\"\":{}}");
        let request: ChatRequest = decode(text.as_bytes(), OLLAMA, &mut held, SMALL).unwrap();
        assert_eq!(request.model, "m");
        assert!(held.is_empty());
        let image = "AAAA".repeat(SMALL.text);
        let text = json!({"messages": [{"images": [image]}]}).to_string();
        held.try_grow(2 * text.len()).unwrap();
        let request: ChatRequest = decode(text.as_bytes(), OLLAMA, &mut held, SMALL).unwrap();
        assert_eq!(request.messages[0].images[0].0.len(), 3 * SMALL.text);
        assert!(!held.is_empty());
        let url = format!("data:image/png;base64,{image}");
        let part = json!({"type": "image_url", "image_url": {"url": url}});
        let text = json!({"messages": [{"role": "user", "content": [part]}]}).to_string();
        decode::<openai::ChatRequest>(text.as_bytes(), OLLAMA, &mut share(), SMALL).unwrap();
    }

    /// A hundredth of what is meant, with a hundredth of what is allowed.
    #[test]
    fn long_chats_and_thousands_of_tools_pass() {
        let hundredth = Most {
            text: MOST.text / 100,
            structure: MOST.structure / 100,
        };
        let check = |body: &serde_json::Value| {
            let text = body.to_string();
            decode::<ChatRequest>(text.as_bytes(), OLLAMA, &mut share(), hundredth).unwrap()
        };
        let message = json!({"role": "user", "content": "lorem \"ipsum\" dolor\n".repeat(50)});
        let request = check(&json!({"messages": vec![message; 100]}));
        assert_eq!(request.messages.len(), 100);
        let properties = (0..20).map(|n| {
            let property = json!({"type": "string", "description": "what it is"});
            (format!("p{n}"), property)
        });
        let properties: serde_json::Map<_, _> = properties.collect();
        let parameters = json!({"type": "object", "properties": properties});
        let tool = json!({"type": "function", "function": {"name": "f", "parameters": parameters}});
        assert_eq!(check(&json!({"tools": vec![tool; 20]})).tools.len(), 20);
    }

    #[test]
    fn messages_do_not_repeat_what_was_sent() {
        let long = "?".repeat(100_000);
        for body in [
            json!({"top_logprobs": long}),
            json!({"stream": long}),
            json!({"context": [long]}),
            json!({"images": [long]}),
        ] {
            let error = read::<GenerateRequest>(&body.to_string()).unwrap_err();
            assert!(error.len() < 1000, "{error}");
        }
    }

    #[test]
    fn keys_match_in_any_case_on_all_routes() {
        let text =
            r#"{"MODEL":"m","Guided_Regex":"a+","messages":[{"ROLE":"user","Content":"x"}]}"#;
        let mut request: openai::ChatRequest = read(text).unwrap();
        assert_eq!(request.model, "m");
        assert_eq!(request.messages[0].role, "user");
        assert_eq!(request.take_guided().guided_regex, "a+");
    }

    #[test]
    fn keys_match_in_any_case_and_the_last_one_wins() {
        let request: GenerateRequest =
            read(r#"{"MODEL":"a","Model":"b","prompt":"x","PROMPT":null}"#).unwrap();
        assert_eq!(
            (request.model.as_str(), request.prompt.as_str()),
            ("b", "x")
        );
        let text = r#"{"model":"a","Messages":[{"Role":"USER","CONTENT":"hi"}]}"#;
        let request: ChatRequest = read(text).unwrap();
        assert_eq!(request.messages[0].role, "user");
        assert_eq!(request.messages[0].content, "hi");
    }

    #[test]
    fn the_clients_own_keys_keep_their_case() {
        let text = r#"{"options":{"Seed":1,"x":null},"tools":[{"Type":"function","function":
            {"name":"f","parameters":{"Type":"object","b":1,"A":2}}}]}"#;
        let request: ChatRequest = read(text).unwrap();
        assert_eq!(request.options["Seed"], 1);
        assert!(request.options["x"].is_null());
        let keys: Vec<_> = request.tools[0].function.parameters.keys().collect();
        assert_eq!(keys, ["Type", "b", "A"]);
        let text = r#"{"files":{"A.gguf":"d"},"License":["x","y"],"FROM":"m"}"#;
        let request: CreateRequest = read(text).unwrap();
        assert_eq!(request.files["A.gguf"], "d");
        assert_eq!(request.from, "m");
        let two = vec!["x".to_owned(), "y".to_owned()];
        assert_eq!(request.license, Some(StringOrList::Many(two)));
    }

    #[test]
    fn only_the_first_value_counts() {
        let request: GenerateRequest = read("{\"model\":\"a\"}{{{ rubbish").unwrap();
        assert_eq!(request.model, "a");
        assert_eq!(read::<GenerateRequest>("null").unwrap().model, "");
        let nulls = r#"{"model":null,"stream":null,"options":null,"images":null,"format":null}"#;
        assert_eq!(read::<GenerateRequest>(nulls).unwrap().stream, None);
    }

    #[test]
    fn bad_bodies_are_400_with_a_reason() {
        assert_eq!(
            read::<GenerateRequest>(" \n").unwrap_err(),
            "missing request body"
        );
        assert_eq!(
            read::<GenerateRequest>("{\"model\"").unwrap_err(),
            "unexpected EOF"
        );
        for text in [
            "x",
            "[]",
            "\"text\"",
            r#"{"stream":"yes"}"#,
            r#"{"model":1}"#,
            r#"{"context":["a"]}"#,
            r#"{"images":["?"]}"#,
        ] {
            assert!(
                !read::<GenerateRequest>(text).unwrap_err().is_empty(),
                "{text}"
            );
        }
        let parts = r#"{"messages":[{"role":"user","content":[]}]}"#;
        assert!(read::<ChatRequest>(parts).is_err());
        let arguments =
            r#"{"messages":[{"tool_calls":[{"function":{"name":"f","arguments":"{}"}}]}]}"#;
        assert!(read::<ChatRequest>(arguments).is_err());
        let image = read::<GenerateRequest>(r#"{"images":["AAAA?"]}"#).unwrap_err();
        assert_eq!(image, "illegal base64 data at input byte 4");
    }

    #[test]
    fn wrong_types_are_told_in_gos_words() {
        for (body, value, place) in [
            (
                r#"{"messages":"hi"}"#,
                "string",
                "ChatRequest.messages of type []api.Message",
            ),
            (
                r#"{"messages":["hi"]}"#,
                "string",
                "ChatRequest.messages of type api.Message",
            ),
            (
                r#"{"messages":[{"role":"user","content":[]}]}"#,
                "array",
                "ChatRequest.messages.content of type string",
            ),
            (
                r#"{"messages":[{"tool_calls":[{"function":{"name":1}}]}]}"#,
                "number",
                "ChatRequest.messages.tool_calls.function.name of type string",
            ),
            (
                r#"{"model":1}"#,
                "number",
                "ChatRequest.model of type string",
            ),
            (
                r#"{"stream":"yes"}"#,
                "string",
                "ChatRequest.stream of type bool",
            ),
            (
                r#"{"options":[]}"#,
                "array",
                "ChatRequest.options of type map[string]interface {}",
            ),
            (
                r#"{"top_logprobs":1.5}"#,
                "number 1.5",
                "ChatRequest.top_logprobs of type int",
            ),
            (
                r#"{"tools":{}}"#,
                "object",
                "ChatRequest.tools of type api.Tools",
            ),
            (
                r#"{"tools":[true]}"#,
                "bool",
                "ChatRequest.tools of type api.Tool",
            ),
            (
                r#"{"tools":[{"function":{"name":[]}}]}"#,
                "array",
                "ToolFunction.tools.function.name of type string",
            ),
        ] {
            let expected = format!("json: cannot unmarshal {value} into Go struct field {place}");
            assert_eq!(read::<ChatRequest>(body).unwrap_err(), expected);
        }
        let expected = "json: cannot unmarshal string into Go struct field GenerateRequest.context of type int";
        assert_eq!(
            read::<GenerateRequest>(r#"{"context":["a"]}"#).unwrap_err(),
            expected
        );
        let expected = "json: cannot unmarshal array into Go value of type api.GenerateRequest";
        assert_eq!(read::<GenerateRequest>("[1]").unwrap_err(), expected);
        let files = r#"{"files":{"a":1}}"#;
        let expected =
            "json: cannot unmarshal number into Go struct field CreateRequest.files of type string";
        assert_eq!(read::<CreateRequest>(files).unwrap_err(), expected);
    }

    #[test]
    fn wrong_types_are_told_with_their_place_on_openais_routes() {
        let refused = |body: &str| {
            let refused =
                decode::<openai::ChatRequest>(body.as_bytes(), OPENAI, &mut share(), MOST);
            let body = crate::server::error::openai_body(&refused.unwrap_err());
            let error = &body["error"];
            assert_eq!(error["type"], "invalid_request_error");
            let text = |key: &str| error[key].as_str().unwrap_or_default().to_owned();
            (text("param"), text("code"), text("message"))
        };
        for (body, param, message) in [
            (
                r#"{"messages":"hi"}"#,
                "messages",
                "Invalid type for 'messages': expected an array, but got a string instead.",
            ),
            (
                r#"{"messages":[{},{"role":5}]}"#,
                "messages[1].role",
                "Invalid type for 'messages[1].role': expected a string, but got a number instead.",
            ),
            (
                r#"{"temperature":"hot"}"#,
                "temperature",
                "Invalid type for 'temperature': expected a number, but got a string instead.",
            ),
            (
                r#"{"max_tokens":1.5}"#,
                "max_tokens",
                "Invalid type for 'max_tokens': expected an integer, but got a number instead.",
            ),
        ] {
            let expected = (
                param.to_owned(),
                "invalid_type".to_owned(),
                message.to_owned(),
            );
            assert_eq!(refused(body), expected, "{body}");
        }
    }

    #[test]
    fn deep_nesting_is_an_error() {
        let deep = format!("{{\"format\":{}", "[".repeat(100_000));
        assert!(read::<GenerateRequest>(&deep).is_err());
    }

    #[tokio::test]
    async fn large_bodies_are_refused_announced_or_not() {
        for body in [HttpBody::from(vec![b' '; 11]), unannounced()] {
            let error = collect(body, 10, &mut share()).await.unwrap_err();
            assert_eq!(error.status, StatusCode::PAYLOAD_TOO_LARGE);
        }
        let collected = collect(unannounced(), 12, &mut share()).await;
        assert_eq!(collected.unwrap(), b"abcdefghijkl");
    }

    #[tokio::test(start_paused = true)]
    async fn bodies_hold_what_they_have_sent_and_wait_for_each_other() {
        let memory = Memory::new(Some(16 << 20));
        let piece = Bytes::from(vec![b' '; 1 << 20]);
        let sending = |n_mib: usize| {
            let pieces = vec![piece.clone(); n_mib].into_iter();
            let pieces = pieces.map(Ok::<_, std::io::Error>);
            HttpBody::from_stream(futures_util::stream::iter(pieces))
        };
        let mut first = memory.share(Origin::LOCAL);
        collect(sending(8), 1 << 30, &mut first).await.unwrap();
        let mut second = memory.share(Origin::LOCAL);
        let busy = collect(sending(8), 1 << 30, &mut second).await.unwrap_err();
        assert_eq!(busy.status, StatusCode::SERVICE_UNAVAILABLE);
        drop(second);
        let mut usual = memory.share(Origin::LOCAL);
        collect(sending(4), 1 << 30, &mut usual).await.unwrap();
        drop((first, usual));
        let mut second = memory.share(Origin::LOCAL);
        collect(sending(8), 1 << 30, &mut second).await.unwrap();
    }

    fn unannounced() -> HttpBody {
        let pieces = [Ok::<_, std::io::Error>("abcdef"), Ok("ghijkl")];
        HttpBody::from_stream(futures_util::stream::iter(pieces))
    }

    #[test]
    fn clients_are_told_apart_within_their_origin() {
        let client = |headers: &HeaderMap, address: &str| {
            let client = Client::new(headers, Some(address.parse().unwrap())).0;
            let [origin, name, _request] = client.split('/').collect::<Vec<_>>()[..] else {
                panic!("{client}");
            };
            (origin.to_owned(), name.to_owned())
        };
        let twice = [(); 2].map(|()| Client::new(&HeaderMap::new(), None));
        assert_ne!(twice[0], twice[1]);
        let nobody = HeaderMap::new();
        let plain = client(&nobody, "10.0.0.1");
        assert_eq!(plain, ("10.0.0.1".to_owned(), "10.0.0.1".to_owned()));
        let neighbours = ["2001:db8::1", "2001:db8::2"].map(|address| client(&nobody, address));
        assert_eq!(neighbours[0].0, neighbours[1].0);
        assert_ne!(neighbours[0].1, neighbours[1].1);
        let mut headers = HeaderMap::new();
        headers.insert("authorization", "Bearer k".parse().unwrap());
        let key = client(&headers, "10.0.0.1");
        assert!(key.0 == plain.0 && key.1 != plain.1 && !key.1.contains("Bearer"));
        // The same key from elsewhere is somebody else's.
        assert_ne!(client(&headers, "10.0.0.2").0, key.0);
        headers.insert("x-openwebui-user-id", "u1".parse().unwrap());
        assert_ne!(client(&headers, "10.0.0.1"), key);
    }

    #[test]
    fn kept_inputs_of_the_fuzz_target_are_requests_or_refused() {
        const KEPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fuzz/corpus/json");
        fn is<T: Body>(body: &[u8]) -> usize {
            usize::from(decode::<T>(body, OLLAMA, &mut share(), MOST).is_ok())
        }
        let mut n_read = 0;
        for entry in fs_err::read_dir(KEPT).unwrap() {
            let body = fs_err::read(entry.unwrap().path()).unwrap();
            n_read += is::<GenerateRequest>(&body)
                + is::<ChatRequest>(&body)
                + is::<CreateRequest>(&body);
        }
        assert!(n_read > 10, "{n_read}");
    }
}
