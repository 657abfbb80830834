//! Which models of a store llama.cpp can load, without loading them.

use std::path::Path;

use super::DeployError;
use crate::model::gguf::{Hyperparameters, Metadata, compat};
use crate::store::{ListedModel, Store};

/// A model with the reason why it cannot be loaded, if there is one.
pub(super) struct Verdict {
    pub(super) name: String,
    pub(super) refusal: Option<String>,
}

/// Looks at all models of a store that exists; writes nothing.
pub(super) fn verdicts(models: &Path) -> Result<Vec<Verdict>, DeployError> {
    let unreadable =
        |error: &dyn std::fmt::Display| super::refused(format!("{}: {error}", models.display()));
    for folder in ["blobs", "manifests"] {
        // A store without them would be an empty one.
        fs_err::read_dir(models.join(folder)).map_err(|error| unreadable(&error))?;
    }
    let store = Store::at(models);
    let list = store.list().map_err(|error| unreadable(&error))?;
    Ok(list.iter().map(verdict).collect())
}

fn verdict(model: &ListedModel) -> Verdict {
    let refusal = match &model.weights {
        None => Some("it has no weights in GGUF form".to_owned()),
        Some(path) => fs_err::File::open(path)
            .map_err(|error| error.to_string())
            .and_then(|mut file| Metadata::read(&mut file).map_err(|error| error.to_string()))
            .map_or_else(Some, |metadata| {
                let numbers = || Hyperparameters::read(&metadata).err();
                compat::refusal(&metadata).or_else(|| Some(numbers()?.to_string()))
            }),
    };
    Verdict {
        name: model.name.short(),
        refusal,
    }
}
