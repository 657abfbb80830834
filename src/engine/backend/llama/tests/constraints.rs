//! Constrained output.

use super::*;

#[test]
fn constrained_output_is_json_of_the_schema() {
    let _one = one_at_a_time();
    let Some(path) = model(SMOLLM2) else { return };
    let mut llama = load(&params(path));
    let ask = "<|im_start|>user\nAnswer with {\"ok\": true} and nothing else.<|im_end|>\n\
               <|im_start|>assistant\n";
    let mut run = |constraint: Constraint, seed| {
        let mut spec = Spec::seeded(seed);
        spec.params.temperature = 0.7;
        spec.constraint = Some(constraint);
        let tokens = generate(&mut llama, 0, ask, &spec, 200);
        let answer = text(&llama, &tokens);
        println!("{} {answer:?}", tokens.len());
        (tokens.len() < 200).then(|| serde_json::from_str::<Value>(&answer).unwrap())
    };
    let objects: Vec<_> = (0..4)
        .filter_map(|seed| run(Constraint::JsonObject, seed))
        .collect();
    // Not every object is complete after 200 tokens, but most are.
    assert!(
        objects.len() >= 2 && objects.iter().all(Value::is_object),
        "{objects:?}"
    );
    let schema = r#"{"type":"object","properties":{
        "name":{"type":"string","maxLength":20},"kind":{"enum":["city","river"]},
        "people":{"type":"integer","minimum":0,"maximum":999}},
        "required":["name","kind","people"],"additionalProperties":false}"#;
    for seed in 0..4 {
        let answer = run(Constraint::JsonSchema(schema.to_owned()), seed).unwrap();
        assert!(
            answer["kind"] == "city" || answer["kind"] == "river",
            "{answer}"
        );
        assert!(answer["people"].as_u64().unwrap() < 1000, "{answer}");
        assert_eq!(answer.as_object().unwrap().len(), 3, "{answer}");
    }
}

#[test]
fn a_constraint_holds_from_where_thinking_ends() {
    let _one = one_at_a_time();
    let Some(path) = model(SMOLLM2) else { return };
    let mut llama = load(&params(path));
    let ask = "<|im_start|>user\nWhere do fish live?<|im_end|>\n<|im_start|>assistant\n";
    let mut spec = Spec::greedy();
    spec.constraint = Some(Constraint::JsonSchema(
        r#"{"type":"object","properties":{"sea":{"type":"boolean"}},"required":["sea"],
            "additionalProperties":false}"#
            .to_owned(),
    ));
    for (open, is_free) in [("", true), ("<think>", false)] {
        spec.exempt.thinking = Some(ThinkingTags {
            open: open.to_owned(),
            close: ".".to_owned(),
            ..ThinkingTags::default()
        });
        let tokens = generate(&mut llama, 0, ask, &spec, 200);
        let answer = text(&llama, &tokens);
        let (free, json) = match is_free {
            true => answer.split_once('.').unwrap(),
            false => ("", answer.as_str()),
        };
        assert_eq!(!free.is_empty(), is_free, "{answer}");
        let json: Value = serde_json::from_str(json).unwrap();
        assert!(json["sea"].is_boolean(), "{answer}");
    }
}

#[test]
fn a_constraint_leaves_tool_calls_alone() {
    let _one = one_at_a_time();
    let Some(path) = model(SMOLLM2) else { return };
    let mut llama = load(&params(path));
    let ask = "<|im_start|>user\nWhere do fish live?<|im_end|>\n<|im_start|>assistant\n";
    let mut spec = Spec::greedy();
    let tokens = generate(&mut llama, 0, ask, &spec, 12);
    let free = text(&llama, &tokens);
    spec.constraint = Some(Constraint::JsonObject);
    spec.exempt.call = Some(free.chars().take(3).collect());
    let tokens = generate(&mut llama, 0, ask, &spec, 12);
    assert_eq!(text(&llama, &tokens), free);
    spec.exempt.call = Some("<tool_call>".to_owned());
    let tokens = generate(&mut llama, 0, ask, &spec, 12);
    assert!(text(&llama, &tokens).starts_with('{'));
}

#[test]
fn a_schema_that_cannot_be_used_is_an_error() {
    let _one = one_at_a_time();
    let Some(path) = model(SMOLLM2) else { return };
    let llama = load(&params(path));
    for bad in [
        "{",
        "[]",
        r#"{"type":"nonsense"}"#,
        r##"{"$ref":"#/nowhere"}"##,
        r##"{"$ref":"#"}"##,
        r#"{"type":"string","pattern":"^a$","minLength":5}"#,
        r#"{"type":"integer","minimum":5,"maximum":4}"#,
        r#"{"enum":[]}"#,
        r#"{"type":"object","properties":{"a":false},"required":["a"]}"#,
        r#"{"allOf":[{"const":1},{"const":2}]}"#,
    ] {
        let mut spec = Spec::greedy();
        spec.constraint = Some(Constraint::JsonSchema(bad.to_owned()));
        let error = spec.sampler(&llama, &[]).err().unwrap();
        assert!(
            error
                .to_string()
                .starts_with("failed to convert JSON schema"),
            "{error}"
        );
        assert!(!error.to_string().contains("NoExtensionBias"), "{error}");
    }
}
