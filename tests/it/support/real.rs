//! Small real models from the cache.

use std::path::PathBuf;

pub(crate) use super::settings::{skip, testdata, variable};

/// The path of a cached real model (`smollm2-135m`, `gemma3-270m`), if it exists.
pub(crate) fn real(name: &str) -> Option<PathBuf> {
    let folder = variable("DROVER_TEST_MODELS")?;
    let path = PathBuf::from(folder).join(format!("{name}.gguf"));
    path.is_file().then_some(path)
}

/// The path of one of the reference data's small models, if the data exists.
pub(crate) fn shared(name: &str) -> Option<PathBuf> {
    let path = testdata()?.join("gguf").join(name);
    assert!(path.is_file(), "{}", path.display());
    Some(path)
}
