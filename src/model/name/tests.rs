//! Names: valid and invalid ones as Ollama judges them, and round trips.

use proptest::prelude::*;

use super::*;

#[track_caller]
fn check(text: &str, full: &str) {
    assert_eq!(
        ModelName::parse(text).map(|name| name.to_string()),
        Ok(full.to_owned()),
        "{text}"
    );
}

#[test]
fn valid_names() {
    check("xx", "registry.ollama.ai/library/xx:latest");
    check(
        "namespace/model",
        "registry.ollama.ai/namespace/model:latest",
    );
    check(
        "host:port/namespace/model",
        "host:port/namespace/model:latest",
    );
    check(
        "scheme://host:port/namespace/model:tag",
        "host:port/namespace/model:tag",
    );
    check(
        "host:https/namespace/model:tag",
        "host:https/namespace/model:tag",
    );
    check("_why/_the/_lucky:_stiff", "_why/_the/_lucky:_stiff");
    let long = "registry.ollama.ai/library/dolphin-mistral:7b-v2.6-dpo-laser-q6_K";
    check(long, long);
    check(
        "hf.co/bartowski/Llama-3.2-1B-Instruct-GGUF:Q4_K_M",
        "hf.co/bartowski/Llama-3.2-1B-Instruct-GGUF:Q4_K_M",
    );
}

#[test]
fn invalid_names() {
    let long = "m".repeat(81);
    for text in [
        "",
        "m:",
        "/nn/mm",
        "//",
        "//mm",
        "hh//",
        "@",
        "m@d",
        "^",
        "host/name:space/model:tag",
        "-hh/nn/mm:tt",
        "hh/-nn/mm:tt",
        "hh/nn/-mm:tt",
        "hh/nn/mm:-tt",
        "..",
        "a/..",
        "hf.co/a.b/m",
        "a/b/c/d",
        "m\u{e9}",
        &long,
    ] {
        assert_eq!(ModelName::parse(text), Err(InvalidName), "{text}");
    }
}

#[test]
fn short_forms() {
    for (text, short) in [
        ("llama3", "llama3:latest"),
        ("Registry.Ollama.AI/Library/llama3", "llama3:latest"),
        ("jmorganca/m:v1", "jmorganca/m:v1"),
        ("hf.co/library/m", "hf.co/library/m:latest"),
    ] {
        assert_eq!(ModelName::parse(text).unwrap().short(), short);
    }
}

#[test]
fn case_is_folded_in_comparisons_only() {
    let (a, b) = (
        ModelName::parse("Foo/Bar:Q4").unwrap(),
        ModelName::parse("foo/bar:q4").unwrap(),
    );
    assert!(a.eq_ignore_case(&b));
    assert_ne!(a, b);
    assert_eq!(a.model, "Bar");
}

#[test]
fn source_suffixes() {
    for (text, rest, source) in [
        ("gpt-oss:20b:cloud", "gpt-oss:20b", Source::Cloud),
        ("gpt-oss:20b-cloud", "gpt-oss:20b", Source::Cloud),
        ("gpt-oss:20b-CLOUD", "gpt-oss:20b", Source::Cloud),
        (" x:Local ", "x", Source::Local),
        ("my-cloud-model", "my-cloud-model", Source::Unspecified),
        ("my-cloud", "my-cloud", Source::Unspecified),
        ("h:1/n/m-cloud", "h:1/n/m-cloud", Source::Unspecified),
    ] {
        assert_eq!(
            ModelName::split_source(text),
            Ok((rest.to_owned(), source)),
            "{text}"
        );
    }
    assert_eq!(
        ModelName::split_source("foo:cloud:local"),
        Err("use either :local or :cloud, not both: \"foo:cloud:local\"".to_owned())
    );
    assert_eq!(
        ModelName::split_source("  "),
        Err("model is required".to_owned())
    );
}

proptest! {
    #[test]
    fn print_and_parse_round_trip(
        host in "[A-Za-z0-9_][A-Za-z0-9_.:-]{0,20}",
        namespace in "[A-Za-z0-9_][A-Za-z0-9_-]{0,20}",
        model in "[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}",
        tag in "[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}",
    ) {
        let name = ModelName::from_parts(&host, &namespace, &model, &tag).unwrap();
        prop_assert_eq!(ModelName::parse(&name.to_string()), Ok(name.clone()));
        prop_assert!(ModelName::parse(&name.short()).unwrap().eq_ignore_case(&name));
    }

    #[test]
    fn never_panics(text in ".*") {
        if let Ok(name) = ModelName::parse(&text) {
            prop_assert!(name.parts().iter().all(|part| !part.contains('/') && !part.starts_with('.')));
        }
        let _ = ModelName::split_source(&text);
    }
}
