//! What prepared schemas accept, byte by byte, without a model.

use std::sync::OnceLock;

use llguidance::api::TopLevelGrammar;
use llguidance::toktrie::ApproximateTokEnv;
use llguidance::{Matcher, ParserFactory};
use serde_json::{Value, json};

use super::prepare;

/// A constraint over single bytes.
fn compile(schema: &Value) -> Result<Matcher, String> {
    static FACTORY: OnceLock<ParserFactory> = OnceLock::new();
    let factory = FACTORY.get_or_init(|| {
        let mut factory = ParserFactory::new_simple(&ApproximateTokEnv::single_byte_env()).unwrap();
        factory.quiet();
        factory
    });
    let mut schema = prepare(schema.clone())?;
    super::super::grammar::set_options(&mut schema);
    let parser = factory.create_parser(TopLevelGrammar::from_json_schema(schema));
    let matcher = Matcher::new(parser);
    match matcher.get_error() {
        None => Ok(matcher),
        Some(error) => Err(error),
    }
}

/// Whether the schema accepts a text as a complete answer.
#[track_caller]
fn accepts(schema: &Value, text: &str) -> bool {
    let mut matcher = match compile(schema) {
        Ok(matcher) => matcher,
        Err(error) => panic!("{schema}: {error}"),
    };
    let goes_on = text
        .bytes()
        .all(|byte| matcher.consume_token(byte.into()).is_ok());
    goes_on && matcher.is_accepting().unwrap_or(false)
}

#[track_caller]
fn check(schema: &Value, accepted: &[&str], refused: &[&str]) {
    for text in accepted {
        assert!(accepts(schema, text), "{schema} refuses {text}");
    }
    for text in refused {
        assert!(!accepts(schema, text), "{schema} accepts {text}");
    }
}

#[test]
fn an_object_with_properties_is_closed_at_every_depth() {
    let person = json!({"type": "object", "required": ["name", "age"], "properties":
        {"name": {"type": "string"}, "age": {"type": "integer"}}});
    let good = r#"{"name":"Bob","age":42}"#;
    let more = r#"{"name":"Bob","age":42,"gender":"Male"}"#;
    check(&person, &[good], &[more]);
    let list = json!({"type": "array", "items": person});
    check(&list, &[&format!("[{good}]")], &[&format!("[{more}]")]);
    let nested = json!({"properties": {"p": {"$ref": "#/$defs/P"}}, "$defs": {"P": person}});
    check(
        &nested,
        &[&format!(r#"{{"p":{good}}}"#)],
        &[&format!(r#"{{"p":{more}}}"#), r#"{"q":1}"#],
    );
    let either =
        json!({"anyOf": [{"$ref": "#/$defs/P"}, {"type": "null"}], "$defs": {"P": person}});
    check(&either, &[good, "null"], &[more]);
    check(
        &json!({"type": "object", "properties": {}}),
        &["{}"],
        &[r#"{"a":1}"#],
    );
}

#[test]
fn a_schema_can_open_an_object() {
    let open = json!({"properties": {"a": {"type": "integer"}}, "additionalProperties": true});
    check(&open, &[r#"{"a":1,"b":"x"}"#], &[r#"{"a":"x"}"#]);
    let typed = json!({"properties": {"a": {}}, "additionalProperties": {"type": "integer"}});
    check(&typed, &[r#"{"a":1,"b":2}"#], &[r#"{"a":1,"b":"x"}"#]);
    check(&json!({"type": "object"}), &[r#"{"a":1,"b":"x"}"#], &["1"]);
}

#[test]
fn parts_of_an_object_are_closed_together() {
    let integer =
        |name: &str| json!({"properties": {name: {"type": "integer"}}, "required": [name]});
    let whole =
        json!({"allOf": [{"$ref": "#/$defs/A"}, integer("b")], "$defs": {"A": integer("a")}});
    check(
        &whole,
        &[r#"{"a":1,"b":2}"#],
        &[r#"{"a":1,"b":2,"c":3}"#, r#"{"a":1}"#],
    );
    let closed = json!({"allOf": [
        {"properties": {"a": {"type": "integer"}}, "additionalProperties": false},
        {"properties": {"b": {"type": "integer"}}, "additionalProperties": false}]});
    check(&closed, &[r#"{"a":1,"b":2}"#], &[r#"{"c":3}"#]);
    let sibling = json!({"$ref": "#/$defs/A", "properties": {"b": {"type": "integer"}}, "$defs": {"A": integer("a")}});
    check(
        &sibling,
        &[r#"{"b":2,"a":1}"#],
        &[r#"{"b":2}"#, r#"{"a":1,"c":1}"#],
    );
    let forms = json!({"properties": {"k": {"type": "string"}}, "required": ["k"],
        "oneOf": [integer("a"), integer("b")]});
    check(
        &forms,
        &[r#"{"k":"x","a":1}"#, r#"{"k":"x","b":1}"#],
        &[r#"{"k":"x"}"#, r#"{"k":"x","a":1,"c":1}"#],
    );
    // A single part, as pydantic writes a field with a description.
    let one = json!({"properties": {"p": {"allOf": [{"$ref": "#/$defs/A"}], "description": "d"}}, "$defs": {"A": integer("a")}});
    check(&one, &[r#"{"p":{"a":1}}"#], &[r#"{"p":{"a":1,"b":1}}"#]);
}

#[test]
fn recursive_schemas_are_closed() {
    let tree = json!({"$ref": "#/$defs/Node", "$defs": {"Node": {"type": "object", "required": ["v"], "properties":
        {"v": {"type": "integer"}, "next": {"anyOf": [{"$ref": "#/$defs/Node"}, {"type": "null"}]}}}}});
    check(
        &tree,
        &[r#"{"v":1,"next":{"v":2,"next":null}}"#],
        &[r#"{"v":1,"next":{"v":2,"x":null}}"#],
    );
    let list = json!({"properties": {"v": {"type": "integer"}, "next": {"$ref": "#"}}});
    check(
        &list,
        &[r#"{"v":1,"next":{"v":2}}"#],
        &[r#"{"next":{"x":2}}"#],
    );
}

#[test]
fn what_cannot_be_enforced_is_left_out() {
    for (schema, text) in [
        (
            json!({"type": "number", "minimum": -3.4e38, "maximum": 1.7e308}),
            "1.5",
        ),
        (
            json!({"type": "integer", "minimum": i64::MIN, "maximum": 9.3e18}),
            "12",
        ),
        (json!({"type": "integer", "exclusiveMaximum": 1e20}), "12"),
        (
            json!({"type": "string", "minLength": 1.0, "maxLength": 1e9}),
            "\"a\"",
        ),
        (
            json!({"type": "string", "$ref": "https://example.com/schema.json"}),
            "\"a\"",
        ),
    ] {
        assert!(accepts(&schema, text), "{schema}");
    }
    check(
        &json!({"type": "string", "minLength": 2.0}),
        &["\"ab\""],
        &["\"a\""],
    );
}

#[test]
fn references_without_an_end_are_refused_in_plain_words() {
    for schema in [
        json!({"$ref": "#"}),
        json!({"$ref": "#/$defs/A", "$defs": {"A": {"$ref": "#/$defs/B"}, "B": {"$ref": "#/$defs/A"}}}),
        json!({"properties": {"a": {"$ref": "#/$defs/none"}}}),
    ] {
        let error = prepare(schema.clone()).unwrap_err();
        assert!(
            error.starts_with("the schema refers to"),
            "{schema}: {error}"
        );
    }
    // Copies of copies.
    let mut defs = json!({"d0": {"properties": {"a": {"type": "null"}}}});
    for level in 1..30 {
        let below = json!({"$ref": format!("#/$defs/d{}", level - 1)});
        defs[format!("d{level}")] = json!({"allOf": [below, below, {"properties": {}}]});
    }
    let bomb = json!({"allOf": [{"$ref": "#/$defs/d29"}, {"properties": {}}], "$defs": defs});
    assert!(prepare(bomb).is_err());
}

/// llama.cpp's own test cases, if they are there.
#[test]
fn the_recorded_cases_hold() {
    #[expect(clippy::disallowed_methods, reason = "where the test data is")]
    let root = std::env::var("DROVER_TESTDATA").unwrap_or_else(|_| "../shared/testdata".to_owned());
    let path = std::path::PathBuf::from(root).join("fixtures/json_schema.json");
    let Ok(text) = fs_err::read_to_string(&path) else {
        println!("skipped: no {}", path.display());
        return;
    };
    let recorded: Value = serde_json::from_str(&text).unwrap();
    let list = |value: &Value| value.as_array().unwrap().clone();
    let mut wrong = Vec::new();
    for case in list(&recorded["compiles"]) {
        let compiled = compile(&case["schema"]);
        if compiled.is_ok() != (case["compiles"] == true) {
            wrong.push(format!("{}: {:?}", case["schema"], compiled.err()));
        }
    }
    for case in list(&recorded["cases"]) {
        for (key, wanted) in [("accepted", true), ("refused", false)] {
            for text in list(&case[key]) {
                let text = text.as_str().unwrap();
                if accepts(&case["schema"], text) != wanted {
                    wrong.push(format!("{} {key} {text:?}", case["schema"]));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn patterns_that_cannot_be_enforced_take_any_string() {
    for pattern in [
        r"^(?=.*\d)[a-z0-9]{8,}$",
        r"(?!x)a",
        r"(?<=a)b",
        r"(?<!a)b",
        r"^(a|b)\1$",
        r"\bword\b",
        "(",
    ] {
        let schema = json!({"pattern": pattern});
        check(&schema, &[r#""anything""#], &["1"]);
        let schema = json!({"type": "object", "patternProperties": {pattern: {"type": "integer"}},
            "properties": {"a": {}}});
        check(&schema, &[r#"{"a":"x","anything":1}"#], &[r#"{"b":"x"}"#]);
    }
    check(&json!({"pattern": "^a+$"}), &[r#""aa""#], &[r#""b""#]);
}

#[test]
fn deeply_nested_schemas_compile() {
    let mut schema = json!({"type": "integer"});
    let mut text = "1".to_owned();
    for _ in 0..150 {
        schema = json!({"type": "object", "properties": {"a": schema}, "required": ["a"]});
        text = format!(r#"{{"a":{text}}}"#);
    }
    let check = move || check(&schema, &[text.as_str()], &["1"]);
    // As much stack as the real compiler thread has.
    let thread = std::thread::Builder::new().stack_size(256 << 20);
    thread.spawn(check).unwrap().join().unwrap();
}
