//! Small real models out of the cache, and what to do when they are not there.

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

/// Says why a test does nothing; a failure where the run must be complete.
pub(crate) fn skip(reason: &str) {
    assert!(!required(), "{reason}");
    println!("skipped: {reason}");
}

/// The path of a cached real model (`smollm2-135m`, `gemma3-270m`), if it is there.
pub(crate) fn real(name: &str) -> Option<PathBuf> {
    let folder = variable("DROVER_TEST_MODELS")?;
    let path = PathBuf::from(folder).join(format!("{name}.gguf"));
    path.is_file().then_some(path)
}
