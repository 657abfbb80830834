//! Settings of the tests themselves, and what to do when something is not there.

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

/// Says why a test does nothing; a failure where the run must be complete.
pub(crate) fn skip(reason: &str) {
    assert!(!required(), "{reason}");
    println!("skipped: {reason}");
}
