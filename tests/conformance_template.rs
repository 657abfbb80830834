//! Recorded answers of Go's template language with Ollama's functions.
//!
//! The data lies beside the checkout (`../shared/testdata`, or `DROVER_TESTDATA`); without it the
//! test says so and passes.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "helpers of tests, outside test functions"
)]

use std::path::PathBuf;

use drover::template::Template;
use serde_json::Value;

/// The cases of a fixture, or nothing when the test data is absent.
fn cases(file: &str) -> Vec<Value> {
    #[expect(clippy::disallowed_methods, reason = "where the test data is")]
    let root = std::env::var("DROVER_TESTDATA").unwrap_or_else(|_| "../shared/testdata".to_owned());
    let path = PathBuf::from(root).join("fixtures").join(file);
    let Ok(text) = fs_err::read_to_string(&path) else {
        println!("skipped: no {}", path.display());
        return Vec::new();
    };
    let fixture: Value = serde_json::from_str(&text).unwrap();
    fixture["cases"].as_array().unwrap().clone()
}

/// Runs a check over all cases and fails with the list of those that differ.
fn run(file: &str, check: impl Fn(&Value) -> Result<(), String>) {
    let cases = cases(file);
    let mut failures = Vec::new();
    for case in &cases {
        if let Err(reason) = check(case) {
            failures.push(format!("{}: {reason}", case["name"]));
        }
    }
    println!(
        "{file}: {} passed, {} failed",
        cases.len() - failures.len(),
        failures.len()
    );
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// The stage and the message of a failure are as much a result as a text is.
fn outcome(case: &Value) -> Result<String, (&'static str, String)> {
    let text = case["template"].as_str().unwrap_or_default();
    let template = Template::parse(text).map_err(|error| ("parse", error.to_string()))?;
    template
        .render(&(&case["data"]).into())
        .map_err(|error| ("execute", error.to_string()))
}

#[test]
fn the_language() {
    run("gotemplate_conformance.json", |case| {
        let got = outcome(case);
        let want = match case["error"].as_str() {
            Some(error) => Err((case["stage"].as_str().unwrap(), error.to_owned())),
            None => Ok(case["expected"].as_str().unwrap_or_default().to_owned()),
        };
        if got == want {
            Ok(())
        } else {
            Err(format!("got {got:?}, want {want:?}"))
        }
    });
}
