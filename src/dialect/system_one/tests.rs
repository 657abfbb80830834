//! Questions and answers of System One.

use serde_json::json;

use super::*;

fn read(body: &Value) -> Result<SystemOne, RequestError> {
    system_one(serde_json::from_str(&body.to_string()).unwrap())
}

fn of(questions: &Value) -> Result<SystemOne, RequestError> {
    read(&json!({"model": "m", "state": "s", "questions": questions}))
}

fn told(probabilities: &[f64]) -> Distribution {
    Distribution {
        probabilities: probabilities.to_vec(),
        label_mass: 0.5,
    }
}

#[test]
fn questions_are_read_in_their_order() {
    let body = json!({"model": "m", "state": {"b": 1, "a": [2]}, "instructions": "Be fair.", "keep_alive": -1,
        "images": ["aGk=", "data:image/png;base64,aGk="], "seed": 7, "questions": {
        "team": {"type": "choice", "instructions": "Which team?", "criteria": {"z": "last", "a": null}},
        "list": {"type": "choice", "instructions": ["Which", "one?"], "criteria": ["x", "y"]},
        "tone": {"type": "score", "criteria": ["calm", {"is": "angry"}]},
        "urgent": {"type": "noul", "instructions": "Now?", "criteria": {"true": "today"}},
        "plain": {"type": "noul", "criteria": null}}});
    let SystemOne { native, .. } = read(&body).unwrap();
    assert_eq!(native.common.model, "m");
    assert!(native.common.keep_alive.is_some());
    assert_eq!(native.instructions, "Be fair.");
    let [Block::Image(_), Block::Image(_), Block::Text(state)] = &native.state[..] else {
        panic!("{:?}", native.state);
    };
    assert_eq!(state, r#"{"b":1,"a":[2]}"#);
    let option = |name: &str, description: &str| Choice {
        name: name.to_owned(),
        description: description.to_owned(),
    };
    let question = |name: &str, instructions: &str, kind| Question {
        name: name.to_owned(),
        instructions: instructions.to_owned(),
        kind,
    };
    let yes_no = |yes: &str| QuestionKind::YesNo {
        yes: yes.to_owned(),
        no: String::new(),
    };
    let levels = ["calm", r#"{"is":"angry"}"#].map(str::to_owned);
    let expected = [
        question(
            "team",
            "Which team?",
            QuestionKind::Choice(vec![option("z", "last"), option("a", "")]),
        ),
        question(
            "list",
            r#"["Which","one?"]"#,
            QuestionKind::Choice(vec![option("x", ""), option("y", "")]),
        ),
        question("tone", "", QuestionKind::Score(levels.to_vec())),
        question("urgent", "Now?", yes_no("today")),
        question("plain", "", yes_no("")),
    ];
    assert_eq!(native.questions, expected);
}

#[test]
fn bad_requests_say_what_is_wrong() {
    let question = json!({"q": {"type": "noul"}});
    for (body, field) in [
        (json!({"questions": question}), "state"),
        (json!({"state": null, "questions": question}), "state"),
        (json!({"state": 7, "questions": question}), "state"),
        (json!({"state": "s"}), "questions"),
        (json!({"state": "s", "questions": {}}), "questions"),
        (
            json!({"state": "s", "questions": question, "assets": {"a": {}}}),
            "assets",
        ),
        (
            json!({"state": "s", "questions": question, "images": vec!["aGk="; 65]}),
            "images",
        ),
    ] {
        let error = read(&body).unwrap_err();
        assert_eq!(error.param.as_deref(), Some(field), "{body}: {error}");
    }
    for (question, words) in [
        (json!({}), "\"type\" must be provided"),
        (json!({"type": "boolean"}), "\"boolean\" is not supported"),
        (
            json!({"type": "noul", "instructions": 1}),
            "\"instructions\"",
        ),
        (json!({"type": "noul", "criteria": "x"}), "\"criteria\""),
        (
            json!({"type": "noul", "criteria": {"maybe": "x"}}),
            "\"maybe\"",
        ),
        (json!({"type": "choice"}), "\"criteria\""),
        (
            json!({"type": "choice", "criteria": ["a", 1]}),
            "must be texts",
        ),
        (
            json!({"type": "choice", "criteria": ["a", "a"]}),
            "\"a\" is there twice",
        ),
        (
            json!({"type": "score", "criteria": {"0": "a", "1": "b"}}),
            "a list of levels",
        ),
        (
            json!({"type": "score", "criteria": ["a", null]}),
            "levels must be texts",
        ),
    ] {
        let error = of(&json!({ "q": question })).unwrap_err();
        assert!(error.message.starts_with("question \"q\": "), "{error}");
        assert!(error.message.contains(words), "{error}");
    }
    for twice in [
        r#"{"a": {"type": "noul"}, "a": {"type": "noul"}}"#,
        r#"{"a": {"type": "choice", "criteria": {"x": null, "x": null}}}"#,
    ] {
        let body = format!(r#"{{"state": "s", "questions": {twice}}}"#);
        let error = system_one(serde_json::from_str(&body).unwrap()).unwrap_err();
        assert!(error.message.contains("is there twice"), "{error}");
    }
}

#[test]
fn answers_have_the_form_of_their_questions() {
    let request = of(&json!({
        "team": {"type": "choice", "criteria": {"z": null, "a": null}},
        "tone": {"type": "score", "criteria": ["calm", ["angry"]]},
        "urgent": {"type": "noul"}}));
    let answer = request.unwrap().answer(Decisions {
        answers: vec![told(&[0.25, 0.75]), told(&[0.25, 0.75]), told(&[0.9, 0.1])],
        n_input: 30,
        n_cached: 10,
    });
    let text = serde_json::to_string(&answer).unwrap();
    let expected = [
        r#"{"model":"m","answers":{"team":{"type":"choice","choice":"a","probabilities":{"z":0.25,"a":0.75},"#,
        r#""confidence":0.5,"x_label_mass":0.5},"tone":{"type":"score","score":0.75,"#,
        r#""legend":{"0":"calm","1":["angry"]},"probabilities":{"0":0.25,"1":0.75},"confidence":0.5,"#,
        r#""x_label_mass":0.5},"urgent":{"type":"noul","noul":0.9,"x_label_mass":0.5}},"#,
        r#""usage":{"input_tokens":30,"output_tokens":0,"input_tokens_details":{"cached_tokens":10}}}"#,
    ];
    assert_eq!(text, expected.concat());
}
