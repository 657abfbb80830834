//! What handlers take from a request: a JSON body read as Ollama reads it, and who asks.
//!
//! The content type is not looked at, only the first JSON value counts, keys match whatever their
//! case, `null` is "not given". Bodies above the limit are refused before they fill the memory.

mod fields;
mod surrogates;

use std::net::{IpAddr, Ipv4Addr};

use axum::body::{Body, HttpBody as _};
use axum::extract::{ConnectInfo, FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use bytes::Bytes;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde::Deserialize as _;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::error::{ApiError, OllamaError, OpenAiError};
use super::origin::{Origin, Peer};
use super::state::App;
use crate::model::Digest;
use fields::{Budget, Lenient};

/// Larger bodies (images, long histories) are decoded away from the runtime.
const LARGE_BODY_BYTES: usize = 32 * 1024;

/// A body of one of Ollama's routes.
#[derive(Debug)]
pub(crate) struct OllamaJson<T>(pub(crate) T);

/// A body of one of OpenAI's routes.
#[derive(Debug)]
pub(crate) struct OpenAiJson<T>(pub(crate) T);

impl<T: DeserializeOwned + Send + 'static> FromRequest<App> for OllamaJson<T> {
    type Rejection = OllamaError;

    async fn from_request(request: Request, app: &App) -> Result<Self, OllamaError> {
        let value = read(request.into_body(), app, "missing request body").await?;
        Ok(Self(value))
    }
}

impl<T: DeserializeOwned + Send + 'static> FromRequest<App> for OpenAiJson<T> {
    type Rejection = OpenAiError;

    async fn from_request(request: Request, app: &App) -> Result<Self, OpenAiError> {
        let value = read(request.into_body(), app, "EOF").await?;
        Ok(Self(value))
    }
}

/// Reads and decodes a body; `missing` is the message for an empty one.
async fn read<T: DeserializeOwned + Send + 'static>(
    body: Body,
    app: &App,
    missing: &'static str,
) -> Result<T, ApiError> {
    let bytes = collect(body, app.config.max_body_bytes).await?;
    if bytes.len() < LARGE_BODY_BYTES {
        return decode(&bytes, missing);
    }
    app.block(move || decode(&bytes, missing)).await?
}

async fn collect(body: Body, limit: usize) -> Result<Bytes, ApiError> {
    let too_large = || {
        let message = format!("request body too large (the limit is {limit} bytes)");
        ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, message)
    };
    let announced = body.size_hint().lower();
    if usize::try_from(announced).is_ok_and(|bytes| bytes <= limit) {
        match Limited::new(body, limit).collect().await {
            Ok(collected) => Ok(collected.to_bytes()),
            Err(error) if error.is::<LengthLimitError>() => Err(too_large()),
            Err(error) => Err(ApiError::body(&*error)),
        }
    } else {
        Err(too_large())
    }
}

/// Decodes the first JSON value of a body.
fn decode<T: DeserializeOwned>(bytes: &[u8], missing: &str) -> Result<T, ApiError> {
    if bytes.trim_ascii().is_empty() {
        return Err(ApiError::invalid(missing));
    }
    let text = surrogates::mended(String::from_utf8_lossy(bytes));
    let value = <&RawValue>::deserialize(&mut serde_json::Deserializer::from_str(&text))
        .map_err(|error| ApiError::invalid(explain(&error)))?;
    let budget = Budget::new();
    T::deserialize(Lenient::new(value, &budget))
        .map_err(|error| ApiError::invalid(fields::explain(&error)))
}

fn explain(error: &serde_json::Error) -> String {
    if error.is_eof() {
        "unexpected EOF".to_owned()
    } else {
        error.to_string()
    }
}

/// Decodes a body as routes do, for the fuzz targets; whether it is one.
#[cfg(fuzzing)]
pub fn decode_for_fuzzing<T: DeserializeOwned>(bytes: &[u8]) -> bool {
    decode::<T>(bytes, "EOF").is_ok()
}

/// Who asks, as `ORIGIN/NAME`: clients of one origin share what the origin gets. The name is an API
/// key or a user that a front end names, as anybody could make it up, else the address. Only for
/// comparing: keys and names are hashed, so that they go no further than here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Client(pub(crate) String);

impl<S: Sync> FromRequestParts<S> for Client {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Self::Rejection> {
        let peer = parts.extensions.get::<ConnectInfo<Peer>>();
        Ok(Self::new(&parts.headers, peer.map(|peer| peer.0.0.ip())))
    }
}

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
        Self(format!("{}/{name}", Origin::of(address)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::ollama::{ChatRequest, CreateRequest, GenerateRequest, StringOrList};

    fn read<T: DeserializeOwned>(text: &str) -> Result<T, String> {
        decode(text.as_bytes(), "missing request body").map_err(|error| {
            assert_eq!(error.status, StatusCode::BAD_REQUEST);
            error.message
        })
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
    fn errors_name_the_field() {
        let error = read::<GenerateRequest>(r#"{"options":{}, "model":1}"#).unwrap_err();
        assert_eq!(error, "model: invalid type: integer `1`, expected a string");
        let text = r#"{"messages":[{"role":"user"},{"content":true}]}"#;
        let error = read::<ChatRequest>(text).unwrap_err();
        assert!(
            error.starts_with("messages.content: invalid type: boolean"),
            "{error}"
        );
        let error = read::<GenerateRequest>("{\"model\": \"x\",}").unwrap_err();
        assert!(error.ends_with(" at line 1 column 15"), "{error}");
    }

    #[test]
    fn depth_and_number_of_values_are_bounded() {
        let nested = |depth: usize| {
            let (open, close) = ("[".repeat(depth), "]".repeat(depth));
            format!("{{\"format\":{{\"x\":{open}{close}}}}}")
        };
        assert!(read::<GenerateRequest>(&nested(200)).is_ok());
        for text in [
            nested(100_000),
            nested(300),
            format!("{{\"format\":{}", "[".repeat(100_000)),
        ] {
            assert!(read::<GenerateRequest>(&text).is_err(), "{text:.40}");
        }
        // What no field asks for costs nothing.
        let many = |field: &str, piece: &str| {
            let count = if piece == "{}" { 130_000 } else { 1_100_000 };
            let list = vec![piece; count].join(",");
            read::<ChatRequest>(&format!("{{\"model\":\"m\",\"{field}\":[{list}]}}"))
        };
        assert_eq!(many("unknown", "[]").unwrap().model, "m");
        for (field, piece) in [
            ("messages", "{}"),
            ("tools", "{}"),
            ("format", "[]"),
            ("format", "{}"),
        ] {
            let error = many(field, piece).unwrap_err();
            assert_eq!(error, "the request has too many values", "{field}");
        }
        let keys: Vec<String> = (0..300_000).map(|key| format!("\"{key}\":0")).collect();
        let error = read::<ChatRequest>(&format!("{{\"options\":{{{}}}}}", keys.join(",")));
        assert_eq!(error.unwrap_err(), "the request has too many values");
        // As many numbers as the longest contexts have.
        let context = vec!["1"; 300_000].join(",");
        let request = read::<GenerateRequest>(&format!("{{\"context\":[{context}]}}"));
        assert_eq!(request.unwrap().context.len(), 300_000);
    }

    #[test]
    fn strings_may_be_cut_within_a_character() {
        let request: GenerateRequest = read(r#"{"prompt":"a \ud83d b"}"#).unwrap();
        assert_eq!(request.prompt, "a \u{fffd} b");
    }

    #[tokio::test]
    async fn large_bodies_are_refused_announced_or_not() {
        for body in [Body::from(vec![b' '; 11]), unannounced()] {
            let error = collect(body, 10).await.unwrap_err();
            assert_eq!(error.status, StatusCode::PAYLOAD_TOO_LARGE);
        }
        assert_eq!(collect(unannounced(), 12).await.unwrap().len(), 12);
    }

    fn unannounced() -> Body {
        let pieces = [Ok::<_, std::io::Error>("abcdef"), Ok("ghijkl")];
        Body::from_stream(futures_util::stream::iter(pieces))
    }

    #[test]
    fn clients_are_told_apart_within_their_origin() {
        let client = |headers: &HeaderMap, address: &str| {
            let client = Client::new(headers, Some(address.parse().unwrap())).0;
            let (origin, name) = client.split_once('/').unwrap();
            (origin.to_owned(), name.to_owned())
        };
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
}
