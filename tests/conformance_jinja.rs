//! Compares chat templates with the prompts of Hugging Face's renderer: the table under `jinja` of the test data.

#[path = "recorded/mod.rs"]
mod recorded;

use drover::renderer::ChatTemplate;
use serde_json::{Map, Value, json};

/// The clock of the recorded runs.
const NOW: &str = "2026-03-14T15:09:26+00:00[UTC]";

/// Where Python's behaviour is not worth copying: template, case, reason.
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

/// How many cases we render although Python raises.
const LENIENT: usize = 12;

/// The template joins JSON and text so that Python's markup type escapes it for HTML.
const HTML: &str = "HTML escapes in a prompt are an accident of the recorded renderer";

#[test]
fn templates_render_as_recorded() {
    let Some(root) = recorded::root() else { return };
    let folder = root.join("jinja");
    let text = fs_err::read_to_string(folder.join("expected.json")).expect("the table");
    let expected: Value = serde_json::from_str(&text).expect("the table is JSON");
    let mut failures = Vec::new();
    let (mut n_passed, mut n_lenient) = (0, 0);
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
                Ok(Passed::AsRecorded) => n_passed += 1,
                Ok(Passed::Lenient) => n_lenient += 1,
                Err(error) => failures.push(format!("{name} / {case}: {error}")),
            }
        }
    }
    println!(
        "jinja: {n_passed} passed, {n_lenient} rendered where Python raises, {} failed, {} skipped",
        failures.len(),
        SKIPPED.len()
    );
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(n_passed > 0);
    assert_eq!(
        n_lenient, LENIENT,
        "more or fewer than before: look at them"
    );
}

/// How a case passed.
enum Passed {
    /// With the recorded prompt, or with an error as in Python.
    AsRecorded,
    /// Python raises, we render, as llama.cpp does.
    Lenient,
}

fn check(source: &str, case: &Value, want: &Value) -> Result<Passed, String> {
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
        (Ok(got), Some(want)) if got == want => Ok(Passed::AsRecorded),
        (Ok(got), Some(want)) => Err(format!("rendered\n  {got:?}\ninstead of\n  {want:?}")),
        (Err(_), None) => Ok(Passed::AsRecorded),
        (Ok(_), None) => Ok(Passed::Lenient),
        (Err(error), Some(_)) => Err(error.to_string()),
    }
}
