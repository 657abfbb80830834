//! Inputs, questions and answers of the Decisions API.

use serde_json::json;

use super::*;

fn read(body: &Value) -> Result<Decided, RequestError> {
    request(serde_json::from_str(&body.to_string()).unwrap())
}

fn of(input: &Value) -> Result<Vec<Block>, RequestError> {
    let body = json!({"model": "m", "input": input, "questions": [{"type": "predicate", "instructions": "x"}]});
    Ok(read(&body)?.native.state)
}

fn texts(blocks: &[Block]) -> Vec<&str> {
    blocks
        .iter()
        .map(|block| match block {
            Block::Text(text) => text.as_str(),
            _ => "(image)",
        })
        .collect()
}

#[test]
fn inputs_come_in_many_forms() {
    assert_eq!(texts(&of(&json!("hi")).unwrap()), ["hi"]);
    let parts = json!([{"role": "user", "content": [
        {"type": "input_text", "text": "a"},
        {"type": "input_image", "image_url": "data:image/png;base64,aGk="},
        {"type": "input_json", "data": {"b": 1}}]}]);
    let blocks = of(&parts).unwrap();
    assert_eq!(texts(&blocks), ["a", "(image)", r#"{"b":1}"#]);
    let talk = json!([
        {"type": "message", "role": "system", "content": "s"},
        {"role": "assistant", "content": [{"type": "output_text", "text": "t"}, {"type": "refusal", "refusal": "no"}]},
        {"type": "function_call", "call_id": "1", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "1", "output": "r"},
        {"type": "custom_tool_call", "call_id": "2", "name": "g", "input": "i"},
        {"type": "custom_tool_call_output", "call_id": "2", "output": [{"type": "input_text", "text": "o"}]}]);
    let expected = [
        "system:",
        "s",
        "assistant:",
        "t",
        "no",
        "call:",
        "f({})",
        "result:",
        "r",
        "call:",
        "g(i)",
        "result:",
        "o",
    ];
    assert_eq!(texts(&of(&talk).unwrap()), expected);
}

#[test]
fn bad_inputs_and_questions_say_what_is_wrong() {
    for input in [
        json!(null),
        json!(7),
        json!([]),
        json!([{"role": "user"}]),
        json!([{"role": "nobody", "content": "x"}]),
        json!([{"type": "web_search_call"}]),
        json!([{"role": "user", "content": [{"type": "input_text"}]}]),
        json!([{"role": "user", "content": [{"type": "input_json", "data": 1}]}]),
        json!([{"role": "user", "content": [{"type": "input_image", "image_url": "https://a/b.png"}]}]),
    ] {
        let error = of(&input).unwrap_err();
        assert_eq!(error.param.as_deref(), Some("input"), "{input}");
    }
    let many: Vec<Value> = (0..256).map(|n| json!({"value": n.to_string()})).collect();
    for (question, words) in [
        (json!({"instructions": "x"}), "\"type\""),
        (
            json!({"type": "noul", "instructions": "x"}),
            "\"noul\" is not supported",
        ),
        (json!({"type": "predicate"}), "\"instructions\""),
        (
            json!({"type": "choice", "instructions": "x", "choices": [{"value": 1}]}),
            "must be a text",
        ),
        (
            json!({"type": "choice", "instructions": "x", "choices": [{"value": "a"}, {"value": "a"}]}),
            "twice",
        ),
        (
            json!({"type": "choice", "instructions": "x", "choices": many}),
            "255",
        ),
    ] {
        let body = json!({"input": "i", "questions": [question]});
        let error = read(&body).unwrap_err();
        assert_eq!(error.param.as_deref(), Some("questions[0]"));
        assert!(error.message.contains(words), "{error}");
    }
    let error = read(&json!({"input": "i", "questions": []})).unwrap_err();
    assert_eq!(error.param.as_deref(), Some("questions"));
}

#[test]
fn answers_are_in_the_order_of_the_questions() {
    let body = json!({"model": "m", "input": "i", "questions": [
        {"type": "predicate", "name": "p", "instructions": [{"type": "input_text", "text": "a"}, {"type": "input_text", "text": "b"}]},
        {"type": "choice", "instructions": "c", "choices": [{"value": "true", "description": "d"}, {"value": true}]},
        {"type": "score", "instructions": "s", "levels": [{"label": "low"}, {"label": "high", "description": "much"}]}]});
    let request = read(&body).unwrap();
    assert_eq!(request.native.questions[0].instructions, "a\nb");
    assert_eq!(request.native.questions[1].name, "1");
    let levels = ["low", "high (much)"].map(str::to_owned).to_vec();
    assert_eq!(
        request.native.questions[2].kind,
        QuestionKind::Score(levels)
    );
    let told = |first: f64| Distribution {
        probabilities: vec![first, 1.0 - first],
        label_mass: 1.0,
    };
    let answer = request.answer(Decisions {
        answers: vec![told(0.75), told(0.25), told(0.25)],
        n_input: 30,
        n_cached: 10,
    });
    let expected = json!({"model": "m", "answers": [
        {"type": "predicate", "name": "p", "probability": 0.75},
        {"type": "choice", "name": null, "choice": true, "confidence": 0.5,
         "probabilities": [{"value": "true", "probability": 0.25}, {"value": true, "probability": 0.75}]},
        {"type": "score", "name": null, "score": 0.75, "confidence": 0.5,
         "probabilities": [{"value": 0, "label": "low", "probability": 0.25},
                           {"value": 1, "label": "high", "probability": 0.75}]}],
        "usage": {"input_tokens": 30, "input_tokens_details": {"cached_tokens": 10, "cache_write_tokens": 20},
                  "output_tokens": 0, "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 30}});
    assert_eq!(serde_json::to_value(&answer).unwrap(), expected);
}
