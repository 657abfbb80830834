//! Bodies as clients send them, good and bad.

use bytes::Bytes;
use serde_json::json;

use super::*;
use crate::api::ollama::{ChatRequest, CreateRequest, EmbedRequest, GenerateRequest, StringOrList};
use crate::api::openai;
use crate::api::openai::responses::ResponseRequest;

fn share() -> Share {
    Memory::new(Some(1 << 30)).share(Origin::LOCAL)
}

fn read<T: Body>(text: &str) -> Result<T, String> {
    decode(text.as_bytes(), OLLAMA, &mut share(), MOST).map_err(|error| {
        assert_eq!(error.kind, ErrorKind::Invalid);
        error.message
    })
}

const SMALL: Most = Most {
    text: 1 << 16,
    structure: 1 << 17,
};

/// Repeats an element between two texts.
fn many(begin: &str, element: &str, n: usize, end: &str) -> String {
    format!("{begin}{}{end}", vec![element; n].join(","))
}

#[track_caller]
fn check_too_large<T: Body>(text: &str) {
    let refused = decode::<T>(text.as_bytes(), OLLAMA, &mut share(), SMALL);
    let refused = refused.err().unwrap();
    assert_eq!(refused.kind, ErrorKind::TooLarge, "{refused:?}");
}

#[test]
fn the_forms_of_a_request_are_counted_in_the_memory_of_all_not_in_its_own_limit() {
    let text = format!(r#"{{"input":"{}"}}"#, "x".repeat(20 << 20));
    for (memory, is_fine) in [(1 << 30, true), (64 << 20, false)] {
        let mut share = Memory::new(Some(memory)).share(Origin::LOCAL);
        let request = decode::<ResponseRequest>(text.as_bytes(), OPENAI, &mut share, MOST);
        assert_eq!(request.is_ok(), is_fine, "{memory}");
    }
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

/// The real sizes and limits, divided by a hundred.
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
    let text = r#"{"MODEL":"m","Guided_Regex":"a+","messages":[{"ROLE":"user","Content":"x"}]}"#;
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
    let arguments = r#"{"messages":[{"tool_calls":[{"function":{"name":"f","arguments":"{}"}}]}]}"#;
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
    let expected =
        "json: cannot unmarshal string into Go struct field GenerateRequest.context of type int";
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
        let refused = decode::<openai::ChatRequest>(body.as_bytes(), OPENAI, &mut share(), MOST);
        let body = crate::dialect::openai::error_body(&refused.unwrap_err());
        let body = serde_json::to_value(body).unwrap();
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
        assert_eq!(error.kind, ErrorKind::TooLarge);
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
    assert_eq!(busy.kind, ErrorKind::Overloaded);
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
fn kept_inputs_of_the_fuzz_target_are_requests_or_refused() {
    const KEPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fuzz/corpus/json");
    fn is<T: Body>(body: &[u8]) -> usize {
        usize::from(decode::<T>(body, OLLAMA, &mut share(), MOST).is_ok())
    }
    let mut n_read = 0;
    for entry in fs_err::read_dir(KEPT).unwrap() {
        let body = fs_err::read(entry.unwrap().path()).unwrap();
        n_read +=
            is::<GenerateRequest>(&body) + is::<ChatRequest>(&body) + is::<CreateRequest>(&body);
    }
    assert!(n_read > 10, "{n_read}");
}
