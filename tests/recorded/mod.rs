//! Recorded cases, and how they are run; shared by the conformance tests.
//!
//! The data is next to the checkout (`../shared/testdata`, or `DROVER_TESTDATA`); without it the tests say so and pass.
//! If it exists, it must be complete.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "helpers of tests, outside test functions"
)]
#![allow(dead_code, reason = "each test program uses a part of it")]

use std::path::PathBuf;

use serde_json::Value;

/// The outcome of a case.
pub(crate) enum Verdict {
    Same,
    Differs(String),
    /// The recorded behaviour is wrong, with the reason.
    Skipped(&'static str),
}

impl From<Result<(), String>> for Verdict {
    fn from(result: Result<(), String>) -> Self {
        match result {
            Ok(()) => Self::Same,
            Err(reason) => Self::Differs(reason),
        }
    }
}

/// Compares a result with what was recorded.
pub(crate) fn same<T: PartialEq + std::fmt::Debug>(got: &T, want: &T) -> Result<(), String> {
    if got == want {
        Ok(())
    } else {
        Err(format!("\n  got  {got:?}\n  want {want:?}"))
    }
}

/// Compares texts; long ones are shown around the first difference.
pub(crate) fn same_text(got: &str, want: &str) -> Result<(), String> {
    if got == want {
        return Ok(());
    }
    let common = got
        .chars()
        .zip(want.chars())
        .take_while(|(a, b)| a == b)
        .count();
    let shown = |text: &str| {
        let start = common.saturating_sub(60);
        text.chars().skip(start).take(160).collect::<String>()
    };
    Err(format!(
        "from character {common} on\n  got  {:?}\n  want {:?}",
        shown(got),
        shown(want)
    ))
}

/// The folder of the test data; `None` if it does not exist. If `DROVER_TESTDATA` names it, it must exist.
pub(crate) fn root() -> Option<PathBuf> {
    #[expect(clippy::disallowed_methods, reason = "where the test data is")]
    let named = std::env::var_os("DROVER_TESTDATA").map(PathBuf::from);
    let is_named = named.is_some();
    let beside = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/testdata");
    let root = named.unwrap_or_else(beside);
    if root.is_dir() {
        return Some(root);
    }
    assert!(!is_named, "DROVER_TESTDATA: no folder {}", root.display());
    println!("skipped: no {}", root.display());
    None
}

/// A whole fixture; `None` without the test data.
pub(crate) fn fixture(file: &str) -> Option<Value> {
    let path = root()?.join("fixtures").join(file);
    let text = fs_err::read_to_string(&path).unwrap();
    Some(serde_json::from_str(&text).unwrap())
}

/// Runs a check over all cases and fails with a list of those that differ.
pub(crate) fn run<V: Into<Verdict>>(file: &str, check: impl Fn(&Value) -> V) {
    run_with(file, |_, case| check(case));
}

/// The same, for checks that need what the cases of a file share.
pub(crate) fn run_with<V: Into<Verdict>>(file: &str, check: impl Fn(&Value, &Value) -> V) {
    let failures = failures(file, &check);
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// Runs a check over all files of a folder that have cases.
pub(crate) fn run_folder<V: Into<Verdict>>(folder: &str, check: impl Fn(&Value, &Value) -> V) {
    let Some(root) = root() else { return };
    let entries = fs_err::read_dir(root.join("fixtures").join(folder)).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".json") && !name.starts_with('_'))
        .collect();
    names.sort();
    assert!(!names.is_empty(), "no cases in {folder}");
    let failures: Vec<String> = names
        .iter()
        .flat_map(|name| failures(&format!("{folder}/{name}"), &check))
        .collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

fn failures<V: Into<Verdict>>(file: &str, check: &impl Fn(&Value, &Value) -> V) -> Vec<String> {
    let Some(fixture) = fixture(file) else {
        return Vec::new();
    };
    let cases = fixture["cases"].as_array().unwrap();
    assert!(!cases.is_empty(), "no cases in {file}");
    let mut failures = Vec::new();
    let mut n_skipped = 0;
    for case in cases {
        match check(&fixture, case).into() {
            Verdict::Same => {}
            Verdict::Differs(reason) => {
                failures.push(format!("{file} {}: {reason}", case["name"]));
            }
            Verdict::Skipped(reason) => {
                n_skipped += 1;
                println!("skipped: {file} {}: {reason}", case["name"]);
            }
        }
    }
    println!(
        "{file}: {} passed, {} failed, {n_skipped} skipped",
        cases.len() - failures.len() - n_skipped,
        failures.len()
    );
    failures
}
