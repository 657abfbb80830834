//! Chat templates against what Hugging Face's renderer makes of them: the table under
//! `$DROVER_TESTDATA/jinja` (default `../shared/testdata`), skipped where it is absent.

use std::path::PathBuf;

use drover::renderer::ChatTemplate;
use serde_json::{Map, Value, json};

/// The clock of the recorded runs.
const NOW: &str = "2026-03-14T15:09:26+00:00[UTC]";

/// Where Python's own behaviour is not worth copying: template, case, reason.
const SKIPPED: &[(&str, &str, &str)] = &[
    ("meetkai-functionary-medium-v3.1.jinja", "tools", HTML),
    (
        "meetkai-functionary-medium-v3.1.jinja",
        "tools_system",
        HTML,
    ),
    ("meetkai-functionary-medium-v3.1.jinja", "tool_round", HTML),
    (
        "meetkai-functionary-medium-v3.1.jinja",
        "tool_round_then_user",
        HTML,
    ),
];

/// The template joins JSON and text so that Python's markup type escapes it for HTML.
const HTML: &str = "HTML escapes in a prompt are an accident of the recorded renderer";

fn testdata() -> PathBuf {
    #[expect(clippy::disallowed_methods, reason = "where the test data is")]
    let folder = std::env::var_os("DROVER_TESTDATA");
    folder.map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/testdata"),
        PathBuf::from,
    )
}

#[test]
fn templates_render_as_recorded() {
    let folder = testdata().join("jinja");
    let Ok(text) = fs_err::read_to_string(folder.join("expected.json")) else {
        println!("skipped: no test data at {}", folder.display());
        return;
    };
    let expected: Value = serde_json::from_str(&text).expect("the table is JSON");
    let mut failures = Vec::new();
    let mut n_passed = 0;
    for (name, entry) in expected["templates"].as_object().expect("templates") {
        let source = fs_err::read_to_string(folder.join("templates").join(name)).expect("template");
        let Some(results) = entry["results"].as_object() else {
            continue;
        };
        for (case, want) in results {
            if SKIPPED
                .iter()
                .any(|(template, skipped, _)| template == name && skipped == case)
            {
                println!("skipped: {name} / {case}");
                continue;
            }
            match check(&source, &expected["cases"][case], want) {
                Ok(()) => n_passed += 1,
                Err(error) => failures.push(format!("{name} / {case}: {error}")),
            }
        }
    }
    println!(
        "jinja: {n_passed} passed, {} failed, {} skipped",
        failures.len(),
        SKIPPED.len()
    );
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

fn check(source: &str, case: &Value, want: &Value) -> Result<(), String> {
    let now = NOW.parse().expect("a time");
    let mut variables: Map<String, Value> = case.as_object().cloned().unwrap_or_default();
    for (key, default) in [
        ("add_generation_prompt", json!(true)),
        ("tools", json!(null)),
        ("documents", json!(null)),
    ] {
        variables.entry(key).or_insert(default);
    }
    let got = ChatTemplate::parse(source, "<s>", "</s>")
        .and_then(|template| template.run(&Value::Object(variables), Some(&now)));
    match (got, want["ok"].as_str()) {
        (Ok(got), Some(want)) if got == want => Ok(()),
        (Ok(got), Some(want)) => Err(format!("rendered\n  {got:?}\ninstead of\n  {want:?}")),
        // Where Python raises, a rendering is no fault: llama.cpp is lenient too.
        (Ok(_) | Err(_), None) => Ok(()),
        (Err(error), Some(_)) => Err(error.to_string()),
    }
}
