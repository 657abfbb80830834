//! Settings of the tests themselves, and what to do when something is missing.

use std::path::PathBuf;

/// Whether a missing model or client fails a test instead of skipping it.
fn required() -> bool {
    variable("DROVER_TEST_REQUIRE").is_some()
}

/// A setting of the test run.
pub(crate) fn variable(name: &str) -> Option<String> {
    #[expect(
        clippy::disallowed_methods,
        reason = "settings of the tests themselves"
    )]
    std::env::var(name).ok()
}

/// The folder of the reference data; `None` if it does not exist. If `DROVER_TESTDATA` names it, it must exist.
pub(crate) fn testdata() -> Option<PathBuf> {
    let named = variable("DROVER_TESTDATA").map(PathBuf::from);
    let is_named = named.is_some();
    let root = named.unwrap_or_else(|| PathBuf::from("../shared/testdata"));
    if root.is_dir() {
        return Some(root);
    }
    assert!(!is_named, "DROVER_TESTDATA: no folder {}", root.display());
    println!("skipped: no {}", root.display());
    None
}

/// Says why a test does nothing; fails if the run must be complete.
pub(crate) fn skip(reason: &str) {
    assert!(!required(), "{reason}");
    println!("skipped: {reason}");
}
