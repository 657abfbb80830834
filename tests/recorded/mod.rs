//! Recorded cases, and the one way to run them; shared by the conformance tests.
//!
//! The data lies beside the checkout (`../shared/testdata`, or `DROVER_TESTDATA`); without it the
//! tests say so and pass.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "helpers of tests, outside test functions"
)]

use std::path::PathBuf;

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
pub(crate) fn run(file: &str, check: impl Fn(&Value) -> Result<(), String>) {
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
