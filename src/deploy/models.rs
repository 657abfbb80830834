//! Checks which models of a store llama.cpp can load, without loading them.

use std::path::Path;

use super::DeployError;
use crate::families::{self, layout};
use crate::store::{ListedModel, Store};

/// A model, with the reason if it cannot be loaded.
pub(super) struct Verdict {
    pub(super) name: String,
    pub(super) refusal: Option<String>,
}

/// Checks all models of an existing store; writes nothing.
pub(super) fn verdicts(models: &Path) -> Result<Vec<Verdict>, DeployError> {
    let unreadable =
        |error: &dyn std::fmt::Display| super::refused(format!("{}: {error}", models.display()));
    for folder in ["blobs", "manifests"] {
        // Without these folders the store would seem empty.
        fs_err::read_dir(models.join(folder)).map_err(|error| unreadable(&error))?;
    }
    let store = Store::at(models);
    let list = store.list().map_err(|error| unreadable(&error))?;
    Ok(list.iter().map(|model| verdict(&store, model)).collect())
}

fn verdict(store: &Store, model: &ListedModel) -> Verdict {
    let refusal = match &model.weights {
        None => Some("it has no weights in GGUF form".to_owned()),
        Some(path) => check(store, path).err(),
    };
    Verdict {
        name: model.name.short(),
        refusal,
    }
}

/// Fails with the reason if a file cannot be loaded.
fn check(store: &Store, path: &Path) -> Result<(), String> {
    let header = store.gguf(path).map_err(|error| error.to_string())?;
    if let Some(reason) = families::refusal(&header) {
        return Err(reason);
    }
    let mut file = store.open_file(path).map_err(|error| error.to_string())?;
    layout::check(path, &mut file).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::*;
    use crate::model::gguf::builder::GgufBuilder;
    use crate::model::{Digest, Manifest, ModelName, manifest as media};

    #[test]
    fn what_cannot_be_loaded_is_known_without_a_load() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let add = |name: &str, file: &[u8]| {
            let weights = store.write_layer(media::MEDIA_MODEL, file).unwrap();
            let config = store.write_layer(media::MEDIA_CONFIG, b"{}").unwrap();
            let manifest = Manifest::new(config, vec![weights]);
            let name = ModelName::parse(name).unwrap();
            store.write_manifest(&name, &manifest).unwrap();
        };
        let file = GgufBuilder::model("llama");
        add("good", &file.build());
        let doubled = file.value("tokenizer.ggml.tokens", vec!["a", "a"]);
        add("doubled", &doubled.build());
        add("fifo", b"gone");
        let blob = store.blob_path(&Digest::of(b"gone"));
        fs_err::remove_file(&blob).unwrap();
        let mode = Mode::from_raw_mode(0o600);
        mknodat(CWD, &blob, FileType::Fifo, mode, 0).unwrap();
        let verdicts = verdicts(folder.path()).unwrap();
        let refusal = |name: &str| {
            let mut known = verdicts.iter();
            let verdict = known.find(|verdict| verdict.name == name).unwrap();
            verdict.refusal.clone().unwrap_or_default()
        };
        assert_eq!(refusal("good:latest"), "");
        assert!(refusal("doubled:latest").contains("twice"));
        assert!(refusal("fifo:latest").contains("no regular file"));
    }
}
