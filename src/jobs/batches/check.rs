//! Checks a line of an input file. Pure.

use std::borrow::Cow;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::ops::Range;

use serde::de::IgnoredAny;

use super::batch::Fault;
use crate::json::scan;

/// The routes that the requests of a job may name.
pub const ENDPOINTS: &[&str] = &[
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/embeddings",
    "/v1/responses",
    "/v1/messages",
];

/// The most characters of a `custom_id`.
const MAX_ID: usize = 512;

/// Lengths in bytes at which prefixes of prompts are compared: prompts that share longer prefixes run closer together.
const HEADS: [usize; 7] = [256, 512, 1024, 2048, 4096, 8192, 16_384];

/// A valid line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Checked {
    pub(super) custom_id: String,
    pub(super) model: String,
    /// Hashes of prefixes of the prompt, shortest first.
    pub(super) heads: Vec<u32>,
    /// The number of inputs, for an embeddings request.
    pub(super) n_inputs: u64,
}

/// Checks a line for a job with requests for `endpoint`. A line of white space is `Ok(None)`.
///
/// # Errors
/// Everything that is wrong with the line.
pub(super) fn check(
    line: &[u8],
    endpoint: &str,
    number: u64,
) -> Result<Option<Checked>, Vec<Fault>> {
    let line = line.trim_ascii();
    if line.is_empty() {
        return Ok(None);
    }
    let fault = |code: &str, message: String, param: &str| {
        Fault::new(code, message, Some(param), Some(number))
    };
    let Some(text) = object(line) else {
        let message = "This line is not parseable as valid JSON.";
        return Err(vec![Fault::new(
            "invalid_json_line",
            message,
            None,
            Some(number),
        )]);
    };
    let mut faults = Vec::new();
    let [mut custom_id, mut method, mut url, mut body] = [None; 4];
    for (key, value) in entries(text) {
        match &*key {
            "custom_id" => custom_id = Some(value),
            "method" => method = Some(value),
            "url" => url = Some(value),
            "body" => body = Some(value),
            _ => {}
        }
    }
    let missing = |name: &str| {
        let message = format!("Missing required parameter: '{name}'.");
        fault("missing_required_parameter", message, name)
    };
    let custom_id = match custom_id.map(string) {
        None => Err(missing("custom_id")),
        Some(Some(id)) if id.chars().count() <= MAX_ID && !id.is_empty() => Ok(id),
        Some(_) => Err(fault(
            "invalid_custom_id",
            format!("The custom_id must be a string of 1 to {MAX_ID} characters."),
            "custom_id",
        )),
    };
    let custom_id = custom_id.map_err(|fault| faults.push(fault));
    match method.map(string) {
        None => faults.push(missing("method")),
        Some(Some(method)) if method == "POST" => {}
        Some(_) => faults.push(fault(
            "invalid_method",
            "The method of this request must be 'POST'.".to_owned(),
            "method",
        )),
    }
    match url.map(string) {
        None => faults.push(missing("url")),
        Some(Some(url)) if url == endpoint => {}
        Some(_) => faults.push(fault(
            "invalid_url",
            "The URL provided for this request does not match the batch endpoint.".to_owned(),
            "url",
        )),
    }
    let mut checked = Checked {
        custom_id: custom_id.unwrap_or_default().into_owned(),
        model: String::new(),
        heads: Vec::new(),
        n_inputs: 0,
    };
    match body {
        None => faults.push(missing("body")),
        Some(body) if body.starts_with('{') => {
            check_body(body, endpoint, &mut checked, &mut |code, message, param| {
                faults.push(fault(code, message, param));
            });
        }
        Some(_) => faults.push(fault(
            "invalid_type",
            "Invalid type for 'body': expected an object.".to_owned(),
            "body",
        )),
    }
    if faults.is_empty() {
        Ok(Some(checked))
    } else {
        Err(faults)
    }
}

/// Checks a request as far as possible without its route.
fn check_body(
    body: &str,
    endpoint: &str,
    checked: &mut Checked,
    wrong: &mut dyn FnMut(&str, String, &str),
) {
    let (question, name) = match endpoint {
        "/v1/chat/completions" | "/v1/messages" => ("messages", "Messages"),
        "/v1/completions" => ("prompt", "Prompt"),
        _ => ("input", "Input"),
    };
    let (mut model, mut asked) = (None, None);
    let mut head: Vec<&str> = Vec::new();
    for (key, value) in entries(body) {
        // Routes ignore the case of keys.
        match key.to_ascii_lowercase().as_str() {
            "model" => model = string(value).filter(|model| !model.is_empty()),
            "stream" if value == "true" => {
                let route = match endpoint {
                    "/v1/chat/completions" => "Chat Completions",
                    "/v1/completions" => "Completions",
                    "/v1/responses" => "Responses",
                    "/v1/messages" => "Messages",
                    _ => "Embeddings",
                };
                let message = format!("{route}: Streaming is not supported in the Batch API.");
                wrong("streaming_unsupported", message, "body.stream");
            }
            // The answer would only say that the response has begun.
            "background" if value == "true" => wrong(
                "invalid_request",
                "Responses: `background` is not supported in the Batch API.".to_owned(),
                "body.background",
            ),
            key if key == question => asked = Some(value).filter(|value| *value != "null"),
            "tools" | "instructions" | "system" => head.push(value),
            _ => {}
        }
    }
    match model {
        Some(model) => checked.model = model.into_owned(),
        None => wrong(
            "invalid_request",
            "Model parameter is required.".to_owned(),
            "body.model",
        ),
    }
    match asked {
        None => wrong(
            "invalid_request",
            format!("{name} parameter is required."),
            &format!("body.{question}"),
        ),
        Some(value) => {
            if endpoint == "/v1/embeddings" {
                checked.n_inputs = n_inputs(value);
            }
            head.push(value);
        }
    }
    checked.heads = heads(&head);
}

/// The range of the body in a request's line.
pub(super) fn body_of(line: &[u8]) -> Option<Range<usize>> {
    let text = std::str::from_utf8(line).ok()?;
    let mut found = None;
    for (key, value) in entries(text.trim_ascii_start()) {
        if key == "body" {
            let start = value.as_ptr().addr() - line.as_ptr().addr();
            found = Some(start..start + value.len());
        }
    }
    found
}

/// The text of a JSON object; `None` for anything else.
pub(super) fn object(line: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(line).ok()?;
    serde_json::from_str::<IgnoredAny>(text).ok()?;
    text.starts_with('{').then_some(text)
}

/// The entries of an object that is known to be valid JSON: decoded keys, and values as they are written.
pub(super) fn entries(text: &str) -> impl Iterator<Item = (Cow<'_, str>, &str)> {
    let mut rest = text.get(1..).unwrap_or_default();
    std::iter::from_fn(move || {
        rest = rest.trim_start_matches([' ', '\t', '\r', '\n', ',']);
        if !rest.starts_with('"') {
            return None;
        }
        let (key, after) = rest.split_at_checked(scan::value_len(rest))?;
        let after = after.trim_start_matches([' ', '\t', '\r', '\n', ':']);
        let (value, after) = after.split_at_checked(scan::value_len(after))?;
        rest = after;
        Some((string(key)?, value))
    })
}

/// A JSON string's text; `None` for other values.
pub(super) fn string(value: &str) -> Option<Cow<'_, str>> {
    let inner = value.strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('\\') {
        serde_json::from_str(value).ok().map(Cow::Owned)
    } else {
        Some(Cow::Borrowed(inner))
    }
}

/// The elements of a list that is known to be valid JSON, as they are written.
pub(super) fn elements(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text.get(1..).unwrap_or_default();
    std::iter::from_fn(move || {
        rest = rest.trim_start_matches([' ', '\t', '\r', '\n', ',']);
        if rest.is_empty() || rest.starts_with(']') {
            return None;
        }
        let (element, after) = rest.split_at_checked(scan::value_len(rest))?;
        rest = after;
        (!element.is_empty()).then_some(element)
    })
}

/// The number of texts or lists of tokens in an embeddings request.
fn n_inputs(input: &str) -> u64 {
    if !input.starts_with('[') {
        return 1;
    }
    let mut elements = elements(input).peekable();
    match elements.peek() {
        Some(first) if !first.starts_with(['"', '[', '{']) => 1,
        _ => elements.count() as u64,
    }
}

fn heads(texts: &[&str]) -> Vec<u32> {
    let mut bytes = texts.iter().flat_map(|text| text.bytes());
    let mut hasher = DefaultHasher::new();
    let mut heads = Vec::new();
    let mut seen = 0;
    for end in HEADS {
        for _ in seen..end {
            let Some(byte) = bytes.next() else {
                return heads;
            };
            byte.hash(&mut hasher);
        }
        seen = end;
        // Half of the hash is enough to tell prefixes apart.
        #[expect(clippy::cast_possible_truncation, reason = "the lower half")]
        heads.push(hasher.finish() as u32);
    }
    heads
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    const CHAT: &str = "/v1/chat/completions";

    fn line() -> Value {
        json!({
            "custom_id": "a", "method": "POST", "url": CHAT,
            "body": {"model": "m", "messages": [{"role": "user", "content": "hi"}]},
        })
    }

    fn faults(line: &str) -> Vec<(String, Option<String>)> {
        let faults = check(line.as_bytes(), CHAT, 7).unwrap_err();
        assert!(faults.iter().all(|fault| fault.line == Some(7)));
        faults
            .into_iter()
            .map(|fault| (fault.code, fault.param))
            .collect()
    }

    #[test]
    fn a_good_line_says_what_it_is() {
        let mut good = line();
        good["custom_id"] = json!("a\"\u{e9}");
        let checked = check(format!(" {good}\r\n").as_bytes(), CHAT, 1)
            .unwrap()
            .unwrap();
        assert_eq!(
            (checked.custom_id.as_str(), checked.model.as_str()),
            ("a\"\u{e9}", "m")
        );
        assert_eq!(check(b" \t\r\n", CHAT, 1), Ok(None));
    }

    #[test]
    fn every_fault_has_its_code() {
        let without = |name: &str| {
            let mut line = line();
            line.as_object_mut().unwrap().remove(name);
            line.to_string()
        };
        let with = |pointer: &str, value: Value| {
            let mut line = line();
            let (parent, key) = pointer.rsplit_once('/').unwrap();
            line.pointer_mut(parent).unwrap()[key] = value;
            line.to_string()
        };
        for (line, code, param) in [
            ("{".to_owned(), "invalid_json_line", None),
            ("[1]".to_owned(), "invalid_json_line", None),
            ("{} x".to_owned(), "invalid_json_line", None),
            (
                without("custom_id"),
                "missing_required_parameter",
                Some("custom_id"),
            ),
            (
                without("method"),
                "missing_required_parameter",
                Some("method"),
            ),
            (without("url"), "missing_required_parameter", Some("url")),
            (without("body"), "missing_required_parameter", Some("body")),
            (
                with("/custom_id", json!(1)),
                "invalid_custom_id",
                Some("custom_id"),
            ),
            (
                with("/custom_id", json!("")),
                "invalid_custom_id",
                Some("custom_id"),
            ),
            (
                with("/method", json!("GET")),
                "invalid_method",
                Some("method"),
            ),
            (
                with("/url", json!("/v1/embeddings")),
                "invalid_url",
                Some("url"),
            ),
            (with("/body", json!([])), "invalid_type", Some("body")),
            (
                with("/body/stream", json!(true)),
                "streaming_unsupported",
                Some("body.stream"),
            ),
            (
                with("/body/STREAM", json!(true)),
                "streaming_unsupported",
                Some("body.stream"),
            ),
            (
                with("/body/model", json!("")),
                "invalid_request",
                Some("body.model"),
            ),
            (
                with("/body/model", json!(null)),
                "invalid_request",
                Some("body.model"),
            ),
            (
                with("/body/messages", json!(null)),
                "invalid_request",
                Some("body.messages"),
            ),
        ] {
            let expected = (code.to_owned(), param.map(str::to_owned));
            assert_eq!(faults(&line), [expected], "{line}");
        }
        assert_eq!(faults("{}").len(), 4);
        assert_eq!(faults("\u{fffd}\\").len(), 1);
    }

    #[test]
    fn inputs_are_texts_or_lists_of_tokens() {
        for (input, n) in [
            ("\"a\"", 1),
            ("[\"a\", \"b,c\"]", 2),
            ("[1,2,3]", 1),
            ("[[1,2],[3]]", 2),
            ("[]", 0),
        ] {
            assert_eq!(n_inputs(input), n, "{input}");
        }
    }

    #[test]
    fn what_begins_alike_has_like_heads() {
        let text = |n: usize, end: &str| "x".repeat(n) + end;
        let (a, b, c) = (text(1100, "a"), text(1100, "b"), text(300, "c"));
        let (a, b, c) = (heads(&[&a]), heads(&[&b]), heads(&[&c]));
        assert_eq!((a.len(), b.len(), c.len()), (3, 3, 1));
        assert_eq!(a, b);
        assert_eq!(c, a[..1]);
        assert_ne!(heads(&[&text(255, "d")]), a[..1]);
    }

    proptest! {
        #[test]
        fn bodies_are_found_as_they_were_written(
            id in "\\PC{1,20}",
            text in "[\\PC\"\\\\{}\\[\\]]{0,40}",
            blank in "[ \t\r\n]{0,3}",
        ) {
            let body = json!({"model": "m", "messages": [text], "body": {"body": 1}});
            let mut line = line();
            line["custom_id"] = json!(id);
            line["body"] = body.clone();
            let line = format!("{blank}{line}{blank}");
            let checked = check(line.as_bytes(), CHAT, 1).unwrap().unwrap();
            prop_assert_eq!(checked.custom_id, id);
            let range = body_of(line.as_bytes()).unwrap();
            prop_assert_eq!(&line[range], body.to_string());
        }

        #[test]
        fn nothing_panics(line in prop::collection::vec(any::<u8>(), 0..60), text in "[{}\\[\\]\",:\\\\a-c 1]*") {
            let _ = check(&line, CHAT, 1);
            let _ = check(text.as_bytes(), CHAT, 1);
            let _ = (body_of(&line), body_of(text.as_bytes()));
        }
    }
}
