//! Constraints in the fields of vLLM and llama-server, which extend OpenAI's requests.

use serde_json::{Value, json};

use super::invalid;
use crate::api::openai::Guided;
use crate::error::RequestError;
use crate::json::deep;
use crate::json::scan::tree_bytes;

/// The most bytes of memory that a schema sent as text may take once decoded.
const MAX_SCHEMA: usize = 16 << 20;

/// The native `format` of a request; `None` if it has no constraint.
///
/// # Errors
/// Refuses fields of a wrong type and more than one constraint.
pub(super) fn format(guided: Guided) -> Result<Option<Value>, RequestError> {
    let mut asked = vec![
        ("guided_json", "json", guided.guided_json),
        ("json_schema", "json", guided.json_schema),
        ("guided_regex", "regex", guided.guided_regex),
        ("guided_choice", "choice", guided.guided_choice),
        ("guided_grammar", "grammar", guided.guided_grammar),
        ("grammar", "grammar", guided.grammar),
    ];
    match guided.structured_outputs {
        Value::Null => {}
        Value::Object(fields) => {
            for name in ["json", "json_object", "regex", "choice", "grammar"] {
                let value = fields.get(name).cloned().unwrap_or_default();
                asked.push(("structured_outputs", name, value));
            }
        }
        _ => {
            let error = invalid("structured_outputs must be an object");
            return Err(error.about("structured_outputs", "invalid_type"));
        }
    }
    asked.retain(|(_, _, value)| !value.is_null() && *value != json!(false));
    match asked.len() {
        0 => Ok(None),
        1 => asked
            .pop()
            .map(|(field, name, value)| {
                read(name, value).map_err(|error| error.about(field, "invalid_value"))
            })
            .transpose(),
        _ => Err(
            invalid("an answer can have one constraint: json, regex, choice or grammar")
                .about(asked[0].0, "invalid_value"),
        ),
    }
}

fn read(name: &str, value: Value) -> Result<Value, RequestError> {
    match (name, value) {
        ("json_object", Value::Bool(true)) => Ok("json".into()),
        ("json", schema @ Value::Object(_)) => Ok(schema),
        ("json", Value::String(text)) if tree_bytes(&text) > MAX_SCHEMA => {
            Err(invalid("the JSON schema is too large"))
        }
        ("json", Value::String(text)) => deep::parse(&text, deep::MAX_LEVELS)
            .map_err(|error| invalid(format!("the JSON schema cannot be read: {error}"))),
        ("regex", pattern @ Value::String(_)) => Ok(json!({"type": "regex", "pattern": pattern})),
        ("grammar", grammar @ Value::String(_)) => {
            Ok(json!({"type": "grammar", "grammar": grammar}))
        }
        ("choice", Value::Array(choices)) => {
            let choices = choices
                .iter()
                .map(|choice| choice.as_str().map(regex::escape));
            let choices: Option<Vec<_>> = choices.collect();
            let choices = choices.filter(|choices| !choices.is_empty());
            let choices = choices.ok_or_else(|| invalid("choice must be a list of texts"))?;
            Ok(json!({"type": "regex", "pattern": choices.join("|")}))
        }
        (name, _) => Err(invalid(format!("{name} has the wrong type"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::openai::ChatRequest;

    fn of(body: Value) -> Result<Option<Value>, RequestError> {
        let mut request: ChatRequest = serde_json::from_value(body).unwrap();
        format(request.take_guided())
    }

    #[test]
    fn every_spelling_becomes_a_format() {
        let schema = json!({"type": "object"});
        let regex = json!({"type": "regex", "pattern": "a+"});
        let grammar = json!({"type": "grammar", "grammar": "start: /a/"});
        let choice = json!({"type": "regex", "pattern": "yes|no\\."});
        for (body, expected) in [
            (json!({"guided_json": schema}), &schema),
            (json!({"guided_json": schema.to_string()}), &schema),
            (json!({"json_schema": schema}), &schema),
            (json!({"structured_outputs": {"json": schema}}), &schema),
            (
                json!({"structured_outputs": {"json_object": true}}),
                &json!("json"),
            ),
            (json!({"guided_regex": "a+"}), &regex),
            (
                json!({"structured_outputs": {"regex": "a+", "choice": null}}),
                &regex,
            ),
            (json!({"guided_grammar": "start: /a/"}), &grammar),
            (json!({"grammar": "start: /a/"}), &grammar),
            (
                json!({"structured_outputs": {"grammar": "start: /a/"}}),
                &grammar,
            ),
            (json!({"guided_choice": ["yes", "no."]}), &choice),
            (
                json!({"structured_outputs": {"choice": ["yes", "no."]}}),
                &choice,
            ),
        ] {
            assert_eq!(of(body.clone()).unwrap().as_ref(), Some(expected), "{body}");
        }
        assert_eq!(of(json!({})).unwrap(), None);
    }

    #[test]
    fn a_schema_in_a_text_is_as_deep_as_one_in_the_request() {
        let schema = |n: usize| {
            let open = r#"{"items":"#.repeat(n);
            format!("{open}{{}}{}", "}".repeat(n))
        };
        let read = |n| of(json!({"guided_json": schema(n)}));
        assert_eq!(read(300).unwrap().unwrap().to_string(), schema(300));
        assert!(read(deep::MAX_LEVELS).is_err());
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for body in [
            json!({"guided_regex": 1}),
            json!({"guided_json": "{"}),
            json!({"guided_choice": []}),
            json!({"structured_outputs": "x"}),
            json!({"guided_regex": "a", "grammar": "start: /a/"}),
        ] {
            assert!(of(body.clone()).is_err(), "{body}");
        }
    }
}
