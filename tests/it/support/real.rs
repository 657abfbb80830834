//! Small real models out of the cache.

use std::path::PathBuf;

pub(crate) use super::settings::{skip, variable};

/// The path of a cached real model (`smollm2-135m`, `gemma3-270m`), if it is there.
pub(crate) fn real(name: &str) -> Option<PathBuf> {
    let folder = variable("DROVER_TEST_MODELS")?;
    let path = PathBuf::from(folder).join(format!("{name}.gguf"));
    path.is_file().then_some(path)
}

/// The path of a file of the reference data's small models, if it is there.
pub(crate) fn shared(name: &str) -> Option<PathBuf> {
    let root = variable("DROVER_TESTDATA").unwrap_or_else(|| "../shared/testdata".to_owned());
    let path = PathBuf::from(root).join("gguf").join(name);
    path.is_file().then_some(path)
}
