//! Prompts and their answers: templates, renderers, tool calls, thinking.

use serde_json::{Value, json};

use crate::support::TestServer;
use crate::support::models::fake;

/// ChatML with tools, calls and thinking.
pub(crate) const TEMPLATE: &str = "{{ if .Tools }}<|im_start|>system\n{{ range .Tools }}{{ . }}\n{{ end }}<|im_end|>\n{{ end }}\
    {{- range .Messages }}<|im_start|>{{ .Role }}\n{{ if .Thinking }}<think>{{ .Thinking }}</think>{{ end }}{{ .Content }}\
    {{ if .ToolCalls }}{{ range .ToolCalls }}<tool_call>{\"name\": \"{{ .Function.Name }}\", \"arguments\": {{ .Function.Arguments }}}</tool_call>{{ end }}{{ end }}\
    <|im_end|>\n{{ end }}<|im_start|>assistant\n";

/// A server with a model `m` that has these fields.
async fn server(fields: Value) -> TestServer {
    let server = TestServer::start().await;
    server.create("m", fake().build(), fields).await.ok();
    server
}

fn tools() -> Value {
    json!([{"type": "function", "function": {
        "name": "weather",
        "description": "What the sky does",
        "parameters": {"type": "object", "required": ["city"], "properties": {
            "city": {"type": "string"},
            "days": {"type": "integer"}
        }}
    }}])
}

fn question(text: &str) -> Value {
    json!([{"role": "user", "content": text}])
}

/// A streamed and a whole answer, each as its pieces.
async fn both(server: &TestServer, path: &str, body: &Value) -> [Vec<Value>; 2] {
    let mut body = body.clone();
    body["model"] = "m".into();
    body["stream"] = true.into();
    let streamed = server.post(path, &body).await.ok();
    let streamed = if path.starts_with("/v1/") {
        streamed.events()
    } else {
        streamed.lines()
    };
    body["stream"] = false.into();
    let whole = server.post(path, &body).await.ok().json();
    [streamed, vec![whole]]
}

/// The texts at a JSON pointer, joined.
fn joined(pieces: &[Value], pointer: &str) -> String {
    let texts = pieces.iter().filter_map(|piece| piece.pointer(pointer));
    texts.filter_map(Value::as_str).collect()
}

/// The lists at a JSON pointer, as one list.
fn listed<'a>(pieces: &'a [Value], pointer: &str) -> Vec<&'a Value> {
    let lists = pieces.iter().filter_map(|piece| piece.pointer(pointer));
    lists.filter_map(Value::as_array).flatten().collect()
}

/// The calls in OpenAI's pieces; the arguments of a call come in parts.
pub(crate) fn calls_of(pieces: &[Value], place: &str) -> Vec<Value> {
    let mut calls: Vec<Value> = Vec::new();
    for part in listed(pieces, &format!("/choices/0/{place}/tool_calls")) {
        let index = usize::try_from(part["index"].as_u64().unwrap()).unwrap();
        if index == calls.len() {
            calls.push(part.clone());
            continue;
        }
        let fields: Vec<_> = part.as_object().unwrap().keys().collect();
        assert_eq!(fields, ["index", "function"], "{part}");
        let arguments = &mut calls[index]["function"]["arguments"];
        let more = part["function"]["arguments"].as_str().unwrap();
        *arguments = (arguments.as_str().unwrap().to_owned() + more).into();
    }
    calls
}

#[tokio::test]
async fn a_call_in_the_words_of_the_template_is_told_as_a_call() {
    let server = server(json!({"template": TEMPLATE})).await;
    let call = r#"Let me see.<tool_call>{"name": "weather", "arguments": {"city": "Ulm", "days": 2}}</tool_call>"#;
    let body = json!({"messages": question(&format!("[[say {call}]]")), "tools": tools()});
    for pieces in both(&server, "/api/chat", &body).await {
        assert_eq!(joined(&pieces, "/message/content"), "Let me see.");
        let calls = listed(&pieces, "/message/tool_calls");
        assert_eq!(calls.len(), 1, "{pieces:?}");
        assert_eq!(calls[0]["function"]["name"], "weather");
        let arguments = json!({"city": "Ulm", "days": 2});
        assert_eq!(calls[0]["function"]["arguments"], arguments);
        assert!(calls[0]["id"].as_str().unwrap().starts_with("call_"));
        let last = pieces.last().unwrap();
        assert_eq!(
            (&last["done"], &last["done_reason"]),
            (&json!(true), &json!("stop"))
        );
    }
}

#[tokio::test]
async fn openais_clients_get_calls_in_their_shape() {
    let server = server(json!({"template": TEMPLATE})).await;
    let call = r#"<tool_call>{"name": "weather", "arguments": {"city": "Ulm"}}</tool_call>"#;
    let body = json!({"messages": question(&format!("[[say {call}]]")), "tools": tools()});
    let [streamed, whole] = both(&server, "/v1/chat/completions", &body).await;
    for (pieces, place) in [(&streamed, "delta"), (&whole, "message")] {
        let calls = calls_of(pieces, place);
        assert_eq!(calls.len(), 1, "{pieces:?}");
        assert_eq!(
            (&calls[0]["type"], &calls[0]["index"]),
            (&json!("function"), &json!(0))
        );
        assert_eq!(calls[0]["function"]["name"], "weather");
        let arguments = calls[0]["function"]["arguments"].as_str().unwrap();
        let arguments: Value = serde_json::from_str(arguments).unwrap();
        assert_eq!(arguments, json!({"city": "Ulm"}));
        assert_eq!(joined(pieces, "/choices/0/finish_reason"), "tool_calls");
    }
}

#[tokio::test]
async fn a_client_that_takes_one_call_gets_one() {
    let server = server(json!({"template": TEMPLATE})).await;
    let call = |city: &str| {
        format!(
            r#"<tool_call>{{"name": "weather", "arguments": {{"city": "{city}"}}}}</tool_call>"#
        )
    };
    let said = call("Ulm") + &call("Aalen");
    let messages = question(&format!("[[say {said}]]"));
    let mut body = json!({"messages": messages, "tools": tools()});
    for (parallel, n_calls) in [(json!(false), 1), (json!(true), 2), (json!(null), 2)] {
        body["parallel_tool_calls"] = parallel;
        let [streamed, whole] = both(&server, "/v1/chat/completions", &body).await;
        for (pieces, place) in [(&streamed, "delta"), (&whole, "message")] {
            let calls = calls_of(pieces, place);
            assert_eq!(calls.len(), n_calls, "{pieces:?}");
            assert_eq!(calls[0]["function"]["arguments"], r#"{"city":"Ulm"}"#);
            assert_eq!(joined(pieces, "/choices/0/finish_reason"), "tool_calls");
        }
    }
}

/// Nothing of a call that is cut off by a limit is shown, and it is not an error, with every parser.
#[tokio::test]
async fn a_call_that_the_limit_cuts_off_is_not_shown() {
    let json_call = r#"{"name": "weather", "arguments": {"city": "Ulm"}}"#;
    let in_tags = format!("Well.<tool_call>{json_call}</tool_call>");
    let glm = "</think>Well.<tool_call>weather<arg_key>city</arg_key><arg_value>Ulm</arg_value></tool_call>";
    let cases = [
        (json!({"template": TEMPLATE}), in_tags.as_str(), 22, "Well."),
        (json!({"template": TEMPLATE}), in_tags.as_str(), 50, "Well."),
        (
            json!({"renderer": "glm-4.7", "parser": "glm-4.7"}),
            glm,
            40,
            "Well.",
        ),
        (
            json!({"renderer": "glm-4.7", "parser": "glm-4.7"}),
            glm,
            70,
            "Well.",
        ),
    ];
    for (fields, said, limit, content) in cases {
        let server = server(fields).await;
        let messages = question(&format!("[[say {said}]]"));
        let body = json!({"messages": messages, "tools": tools(), "max_tokens": limit});
        for pieces in both(&server, "/v1/chat/completions", &body).await {
            let text = joined(&pieces, "/choices/0/delta/content")
                + &joined(&pieces, "/choices/0/message/content");
            assert_eq!(text, content, "{said} {limit}");
            assert_eq!(joined(&pieces, "/choices/0/finish_reason"), "length");
        }
        let body =
            json!({"messages": messages, "tools": tools(), "options": {"num_predict": limit}});
        for pieces in both(&server, "/api/chat", &body).await {
            assert_eq!(joined(&pieces, "/message/content"), content);
            assert_eq!(pieces.last().unwrap()["done_reason"], "length");
        }
    }
    let server = server(json!({"template": TEMPLATE})).await;
    let body = json!({"messages": question(&format!("[[say {json_call}]]")), "tools": tools(),
        "tool_choice": "required", "max_tokens": 20});
    for pieces in both(&server, "/v1/chat/completions", &body).await {
        let text = joined(&pieces, "/choices/0/delta/content")
            + &joined(&pieces, "/choices/0/message/content");
        assert_eq!(text, "");
        assert_eq!(joined(&pieces, "/choices/0/finish_reason"), "length");
    }
}

#[tokio::test]
async fn thinking_is_counted() {
    let server = server(json!({"template": TEMPLATE})).await;
    let mut body = json!({"messages": question("[[say <think>abc</think>defgh]]")});
    let counted = |pieces: &[Value]| {
        let usage = pieces.iter().find_map(|piece| piece["usage"].as_object());
        usage.unwrap()["completion_tokens_details"]["reasoning_tokens"].clone()
    };
    body["stream_options"] = json!({"include_usage": true});
    let path = "/v1/chat/completions";
    // A token of the fake model is a byte: the thinking with its tags, without the answer.
    for pieces in both(&server, path, &body).await {
        let n_thinking = counted(&pieces).as_u64().unwrap();
        assert!((3..=18).contains(&n_thinking), "{n_thinking}");
    }
    body["messages"] = question("[[say defgh]]");
    for pieces in both(&server, path, &body).await {
        assert_eq!(counted(&pieces), 0);
    }
}

#[tokio::test]
async fn a_required_call_is_taken_from_json_without_any_tags() {
    let server = server(json!({"template": TEMPLATE})).await;
    let call = r#"{"name": "weather", "arguments": {"city": "Ulm"}}"#;
    let mut body = json!({"messages": question(&format!("[[say {call}]]")), "tools": tools()});
    for choice in [
        json!("required"),
        json!({"type": "function", "function": {"name": "weather"}}),
    ] {
        body["tool_choice"] = choice;
        let [streamed, whole] = both(&server, "/v1/chat/completions", &body).await;
        for (pieces, place) in [(&streamed, "delta"), (&whole, "message")] {
            let calls = calls_of(pieces, place);
            assert_eq!(calls.len(), 1, "{pieces:?}");
            assert_eq!(calls[0]["function"]["arguments"], r#"{"city":"Ulm"}"#);
            let content = joined(pieces, &format!("/choices/0/{place}/content"));
            assert_eq!(content, "");
            let finish = joined(pieces, "/choices/0/finish_reason");
            assert_eq!(finish, "tool_calls");
        }
    }
}

#[tokio::test]
async fn results_of_tools_and_calls_reach_the_prompt() {
    let server = server(json!({"template": TEMPLATE})).await;
    let messages = json!([
        {"role": "user", "content": "Rain?"},
        {"role": "assistant", "thinking": "Ask.", "tool_calls": [{"function": {"name": "weather", "arguments": {"city": "Ulm"}}}]},
        {"role": "tool", "content": "dry", "tool_name": "weather"}
    ]);
    let body =
        json!({"model": "m", "messages": messages, "_debug_render_only": true, "stream": false});
    let answer = server.post("/api/chat", &body).await.ok().json();
    assert_eq!(
        answer["_debug_info"]["rendered_template"],
        "<|im_start|>user\nRain?<|im_end|>\n<|im_start|>assistant\n<think>Ask.</think>\
         <tool_call>{\"name\": \"weather\", \"arguments\": {\"city\":\"Ulm\"}}</tool_call><|im_end|>\n\
         <|im_start|>tool\ndry<|im_end|>\n<|im_start|>assistant\n"
    );
}

#[tokio::test]
async fn thinking_is_kept_apart_from_the_answer() {
    let server = server(json!({"template": TEMPLATE})).await;
    let messages = question("[[say <think>Hm.</think>Yes.]]");
    let native = json!({"messages": messages, "think": true});
    for pieces in both(&server, "/api/chat", &native).await {
        assert_eq!(joined(&pieces, "/message/thinking"), "Hm.");
        assert_eq!(joined(&pieces, "/message/content"), "Yes.");
    }
    let openai = json!({"messages": messages, "reasoning_effort": "high"});
    let [streamed, whole] = both(&server, "/v1/chat/completions", &openai).await;
    for (pieces, place) in [(&streamed, "delta"), (&whole, "message")] {
        assert_eq!(
            joined(pieces, &format!("/choices/0/{place}/reasoning")),
            "Hm."
        );
        assert_eq!(
            joined(pieces, &format!("/choices/0/{place}/content")),
            "Yes."
        );
    }
}

#[tokio::test]
async fn a_built_in_renderer_and_parser_speak_for_a_model() {
    let server = server(json!({"renderer": "qwen3-coder", "parser": "qwen3-coder"})).await;
    let call = "<tool_call>\n<function=weather>\n<parameter=city>\nUlm\n</parameter>\n\
                <parameter=days>\n2\n</parameter>\n</function>\n</tool_call>";
    let body = json!({"messages": question(&format!("[[say {call}]]")), "tools": tools()});
    for pieces in both(&server, "/api/chat", &body).await {
        let calls = listed(&pieces, "/message/tool_calls");
        assert_eq!(calls.len(), 1, "{pieces:?}");
        let arguments = json!({"city": "Ulm", "days": 2});
        assert_eq!(calls[0]["function"]["arguments"], arguments);
        assert_eq!(joined(&pieces, "/message/content"), "");
    }
}

#[tokio::test]
async fn gpt_oss_thinks_calls_and_answers_in_channels() {
    let server = server(json!({"template": TEMPLATE, "parser": "harmony"})).await;
    let said =
        "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>final<|message|>Yes.";
    let body = json!({"messages": question(&format!("[[say {said}]]")), "think": "low"});
    for pieces in both(&server, "/api/chat", &body).await {
        assert_eq!(joined(&pieces, "/message/thinking"), "Hm.");
        assert_eq!(joined(&pieces, "/message/content"), "Yes.");
    }
    let said = "<|channel|>commentary to=functions.weather <|constrain|>json<|message|>{\"city\": \"Ulm\"}";
    let body = json!({"messages": question(&format!("[[say {said}]]")), "tools": tools()});
    for pieces in both(&server, "/api/chat", &body).await {
        let calls = listed(&pieces, "/message/tool_calls");
        assert_eq!(calls.len(), 1, "{pieces:?}");
        assert_eq!(calls[0]["function"]["name"], "weather");
        assert_eq!(calls[0]["function"]["arguments"], json!({"city": "Ulm"}));
    }
}

#[tokio::test]
async fn generate_fills_the_middle_and_takes_another_template() {
    let template =
        "{{ if .Suffix }}<PRE>{{ .Prompt }}<SUF>{{ .Suffix }}<MID>{{ else }}{{ .Prompt }}{{ end }}";
    let server = server(json!({"template": template})).await;
    let shown = async |extra: Value| {
        let mut body =
            json!({"model": "m", "prompt": "a =", "_debug_render_only": true, "stream": false});
        let fields = extra.as_object().unwrap().clone();
        body.as_object_mut().unwrap().extend(fields);
        server.post("/api/generate", &body).await.ok().json()["_debug_info"]["rendered_template"]
            .clone()
    };
    assert_eq!(
        shown(json!({"suffix": "+ b"})).await,
        "<PRE>a =<SUF>+ b<MID>"
    );
    assert_eq!(
        shown(json!({"template": "Q: {{ .Prompt }} A:"})).await,
        "Q: a = A:"
    );
    let broken = json!({"model": "m", "prompt": "x", "template": "{{ if }}", "stream": false});
    let broken = server.post("/api/generate", &broken).await;
    let error = broken.error();
    assert!(error.contains("missing value for if"), "{error}");
}

#[tokio::test]
async fn what_a_template_can_do_is_shown() {
    let server = server(json!({"template": TEMPLATE})).await;
    let shown = server
        .post("/api/show", &json!({"model": "m"}))
        .await
        .ok()
        .json();
    assert_eq!(
        shown["capabilities"],
        json!(["completion", "tools", "thinking"])
    );
    let body = json!({"model": "m", "prompt": "a", "suffix": "b"});
    let refused = server.post("/api/generate", &body).await;
    assert_eq!(refused.status, 400);
    assert!(
        refused.error().contains("does not support insert"),
        "{}",
        refused.error()
    );
}

#[tokio::test]
async fn a_known_chat_template_becomes_a_template() {
    let server = TestServer::start().await;
    let chatml = "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n'}}{% endfor %}";
    let file = fake().value("tokenizer.chat_template", chatml).build();
    let digest = server.upload(file).await;
    let body = json!({"model": "m", "files": {"m.gguf": digest}});
    let told = server.stream("/api/create", &body).await.rest().await;
    let told: Vec<&str> = told
        .iter()
        .filter_map(|line| line["status"].as_str())
        .collect();
    assert!(
        told.contains(&"using autodetected template chatml"),
        "{told:?}"
    );
    let shown = server
        .post("/api/show", &json!({"model": "m"}))
        .await
        .ok()
        .json();
    assert!(
        shown["template"].as_str().unwrap().contains("{{"),
        "{shown}"
    );
    assert!(
        shown["parameters"]
            .as_str()
            .unwrap()
            .contains("<|im_start|>"),
        "{shown}"
    );
}

#[tokio::test]
async fn tools_and_calls_may_be_nested_deeply() {
    let server = server(json!({"template": TEMPLATE})).await;
    let mut parameters = json!({"type": "boolean"});
    let mut arguments = json!({"x": 1});
    for _ in 0..120 {
        parameters = json!({"type": "object", "properties": {"a": parameters}, "required": ["a"]});
        arguments = json!({"a": arguments});
    }
    let tool = json!({"type": "function", "function": {"name": "f", "parameters": parameters}});
    let call = json!({"function": {"name": "f", "arguments": arguments}});
    let body = json!({"model": "m", "stream": false, "tools": [tool], "options": {"num_predict": 1},
        "messages": [{"role": "assistant", "tool_calls": [call]}, {"role": "user", "content": "a"}]});
    server.post("/api/chat", &body).await.ok();
    // OpenAI's clients send them as strings, with half of an emoji where one was cut.
    for arguments in [arguments.to_string(), r#"{"a": "cut \ud83d"}"#.to_owned()] {
        for call in [
            json!({"tool_calls": [{"id": "1", "type": "function", "function": {"name": "f",
                "arguments": arguments}}]}),
            json!({"function_call": {"name": "f", "arguments": arguments}}),
        ] {
            let mut call = call;
            call["role"] = "assistant".into();
            let body = json!({"model": "m", "max_tokens": 1,
                "messages": [call, {"role": "user", "content": "a"}]});
            server.post("/v1/chat/completions", &body).await.ok();
        }
    }
}

#[tokio::test]
async fn show_tells_what_think_may_be() {
    let server = TestServer::start().await;
    let thinker = json!({"template": TEMPLATE});
    server.create("thinker", fake().build(), thinker).await.ok();
    let harmony = json!({"template": "{{ .Prompt }}", "parser": "harmony"});
    server.create("levels", fake().build(), harmony).await.ok();
    server.fake_model("plain").await;
    for (model, expected) in [
        ("thinker", json!({"values": [false, true], "default": true})),
        (
            "levels",
            json!({"values": ["low", "medium", "high"], "default": "medium"}),
        ),
        ("plain", Value::Null),
    ] {
        let shown = server
            .post("/api/show", &json!({"model": model}))
            .await
            .ok();
        assert_eq!(shown.json()["thinking"], expected, "{model}");
    }
}
