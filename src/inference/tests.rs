//! The pure parts; the whole path is tested against the real binary.

use serde_json::json;

use super::truncate::cut_tokens;
use super::{InferenceErrorKind, embed, format};
use crate::chat::Message;
use crate::protocol::Constraint;
use crate::renderer::keep_from;

#[test]
fn format_takes_json_a_schema_or_nothing() {
    for none in [json!(null), json!("")] {
        assert_eq!(format::parse(&none).unwrap(), None);
    }
    assert_eq!(
        format::parse(&json!("json")).unwrap(),
        Some(Constraint::JsonObject)
    );
    let schema = json!({"type": "object"});
    assert_eq!(
        format::parse(&schema).unwrap(),
        Some(Constraint::JsonSchema(r#"{"type":"object"}"#.to_owned()))
    );
}

#[test]
fn format_takes_a_regex_or_a_grammar() {
    assert_eq!(
        format::parse(&json!({"type": "regex", "pattern": "[0-9]+"})).unwrap(),
        Some(Constraint::Regex("[0-9]+".to_owned()))
    );
    let lark = "start: \"a\" start?";
    assert_eq!(
        format::parse(&json!({"type": "grammar", "grammar": lark})).unwrap(),
        Some(Constraint::Lark(lark.to_owned()))
    );
    for (bad, word) in [
        (json!({"type": "regex"}), "`pattern`"),
        (json!({"type": "grammar", "grammar": 1}), "`grammar`"),
        (
            json!({"type": "grammar", "grammar": "root ::= [0-9]"}),
            "GBNF",
        ),
    ] {
        let error = format::parse(&bad).unwrap_err();
        assert_eq!(error.kind, InferenceErrorKind::Invalid);
        assert!(error.message.contains(word), "{}", error.message);
    }
}

#[test]
fn other_formats_are_refused_in_ollamas_words() {
    let error = format::parse(&json!("xml")).unwrap_err();
    assert_eq!(error.kind, InferenceErrorKind::Internal);
    assert_eq!(
        error.message,
        r#"invalid format: "\"xml\""; expected "json" or a valid JSON Schema object"#
    );
}

#[test]
fn dropping_messages_keeps_the_system_text() {
    let messages = [
        Message::text("system", "s"),
        Message::text("user", "1"),
        Message::text("assistant", "2"),
        Message::text("user", "3"),
    ];
    let kept = keep_from(&messages, 3);
    let kept: Vec<&str> = kept
        .iter()
        .map(|message| message.content.as_str())
        .collect();
    assert_eq!(kept, ["s", "3"]);
}

#[test]
fn long_prompt_keeps_head_and_tail() {
    let tokens: Vec<i32> = (0..100).collect();
    // (16 - 4) / 2 = 6 free places, 10 tokens stay: 4 of the head, 6 of the tail.
    let cut = cut_tokens(&tokens, 16, 4).unwrap();
    assert_eq!(cut, [0, 1, 2, 3, 94, 95, 96, 97, 98, 99]);
    assert_eq!(cut_tokens(&tokens, 101, 4), None);
}

#[test]
fn cutting_survives_hostile_numbers() {
    let tokens: Vec<i32> = (0..8).collect();
    for n_ctx in 1..10 {
        for n_keep in [-1, 0, 1, 7, i32::MAX] {
            if let Some(cut) = cut_tokens(&tokens, n_ctx, n_keep) {
                assert!(
                    cut.len() <= n_ctx as usize,
                    "n_ctx {n_ctx}, n_keep {n_keep}"
                );
            }
        }
    }
}

#[test]
fn shortened_vectors_have_length_one() {
    let mut vector = vec![3.0, 4.0, 12.0];
    embed::shorten(&mut vector, 2);
    assert_eq!(vector, [0.6, 0.8]);
    embed::shorten(&mut vector, 5);
    assert_eq!(vector.len(), 2);
}
