//! Tests of the pure parts; integration tests cover the whole path.

use serde_json::json;

use super::error::ErrorKind;
use super::{embed, format, place_header, refusal};
use crate::chat::Message;
use crate::model::gguf::Metadata;
use crate::model::gguf::builder::GgufBuilder;
use crate::protocol::Constraint;
use crate::protocol::{EmbedInput, Failure, FailureKind};
use crate::renderer::keep_from;
use crate::runner_client::RunnerError;

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
        assert_eq!(error.kind, ErrorKind::Invalid);
        assert!(error.message.contains(word), "{}", error.message);
    }
}

#[test]
fn other_formats_are_refused_in_ollamas_words() {
    let error = format::parse(&json!("xml")).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Mistaken);
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
fn many_texts_go_in_portions_and_in_order() {
    let text = |text: &str| EmbedInput::Text(text.to_owned());
    let texts: Vec<_> = (0..1000).map(|n: usize| text(&n.to_string())).collect();
    let portions = embed::portions(texts.clone());
    assert!(
        portions
            .iter()
            .all(|portion| (1..=256).contains(&portion.len()))
    );
    assert_eq!(portions.concat(), texts);
    let long = text(&"x".repeat(700_000));
    let lengths = embed::portions(vec![long.clone(), text("a"), long.clone(), long]);
    assert_eq!(lengths.iter().map(Vec::len).collect::<Vec<_>>(), [2, 1, 1]);
    assert_eq!(embed::portions(vec![text("a")]), [[text("a")]]);
    let tokens = || EmbedInput::Tokens(vec![1; 200_000]);
    assert_eq!(embed::portions(vec![tokens(), tokens()]).len(), 2);
}

#[test]
fn shortened_vectors_have_length_one() {
    let mut vector = vec![3.0, 4.0, 12.0];
    embed::shorten(&mut vector, 2);
    assert_eq!(vector, [0.6, 0.8]);
    embed::shorten(&mut vector, 5);
    assert_eq!(vector.len(), 2);
}

#[test]
fn kept_headers_of_the_fuzz_target_have_a_place_or_are_refused() {
    const KEPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fuzz/corpus/gguf");
    let (mut n_placed, mut n_refused) = (0, 0);
    for entry in fs_err::read_dir(KEPT).unwrap() {
        let file = fs_err::read(entry.unwrap().path()).unwrap();
        for read in [Metadata::read, Metadata::read_checked, Metadata::read_whole] {
            match read(&mut std::io::Cursor::new(&file)).and_then(place_header) {
                Ok(cells) => n_placed += usize::from(!cells.is_empty()),
                Err(_) => n_refused += 1,
            }
        }
    }
    assert!(n_placed > 0 && n_refused > 0, "{n_placed} {n_refused}");
}

#[test]
fn the_legacy_route_leaves_raw_what_was_raw() {
    let is_raw = |file: GgufBuilder| {
        let header = Metadata::read(&mut std::io::Cursor::new(file.build())).unwrap();
        embed::is_raw(&header)
    };
    let pooled = |architecture: &str| {
        let key = format!("{architecture}.pooling_type");
        GgufBuilder::model(architecture).value(&key, 1)
    };
    let model = "tokenizer.ggml.model";
    let normalize = |architecture: &str, on: bool| {
        let key = format!("{architecture}.normalize_embeddings");
        pooled(architecture).value(&key, on)
    };
    assert!(!is_raw(pooled("bert")));
    assert!(!is_raw(pooled("bert").value(model, "bert")));
    assert!(is_raw(pooled("bert").value(model, "t5")));
    assert!(is_raw(normalize("bert", false)));
    assert!(!is_raw(normalize("bert", true)));
    for architecture in ["nomic-bert", "nomic-bert-moe"] {
        assert!(is_raw(pooled(architecture)));
        assert!(!is_raw(normalize(architecture, true)));
    }
    assert!(!is_raw(GgufBuilder::model("nomic-bert")));
    for architecture in ["gemma3", "gemma-embedding", "qwen3", "llama"] {
        assert!(!is_raw(normalize(architecture, false)));
    }
}

#[test]
fn a_prompt_that_is_too_long_has_a_code() {
    let of = |kind| {
        let failure = Failure {
            kind,
            message: "no".to_owned(),
        };
        refusal::engine_error(&RunnerError::Failed(failure))
    };
    let error = of(FailureKind::ContextExceeded);
    assert_eq!(error.kind, ErrorKind::Invalid);
    assert_eq!(error.code, Some("context_length_exceeded"));
    assert_eq!(of(FailureKind::Invalid).code, None);
}
