//! Models with random weights in both layouts: llama.cpp must compute the same from the views, bit by bit, as from the
//! same weights in its own layout.

mod file;
mod pairs;
mod qwen;
mod towers;

use std::path::Path;

use super::{projector, weights};
use crate::engine::backend::llama::tests::computed::{is_refused, logits, logits_after_image};
use crate::model::gguf::Hyperparameters;
use crate::view::ModelFile;
use pairs::Pair;

fn check(folder: &Path, pair: &Pair) {
    let name = pair.name;
    let [ollama, upstream, tower] =
        ["ollama", "upstream", "projector"].map(|file| folder.join(file));
    fs_err::write(&ollama, pair.ollama.build()).unwrap();
    fs_err::write(&upstream, pair.upstream.build()).unwrap();
    let view = |path: &Path| {
        let mut file = fs_err::File::open(path).unwrap();
        let loadable = weights(path, &mut file);
        let loadable = loadable.unwrap_or_else(|error| panic!("{name}: {error}"));
        Hyperparameters::read(&loadable.metadata).unwrap();
        loadable.file
    };
    let (ours, theirs) = (view(&ollama), view(&upstream));
    assert!(theirs == ModelFile::original(&upstream), "{name}");
    let refused = is_refused(ModelFile::original(&ollama));
    assert!(refused, "{name}: llama.cpp takes it as it is");
    let wanted = logits(theirs.clone()).unwrap_or_else(|error| panic!("{name}: {error}"));
    let got = logits(ours.clone()).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert!(got == wanted, "{name}");

    if let Some(projects) = &pair.projector {
        fs_err::write(&tower, projects.build()).unwrap();
        let mut file = fs_err::File::open(&ollama).unwrap();
        let inner = projector(&ollama, &mut file);
        let inner = inner.unwrap_or_else(|error| panic!("{name}: {error}")).file;
        let got = logits_after_image((3, 60), ours.clone(), inner.clone());
        let wanted = logits_after_image((3, 60), theirs, ModelFile::original(&tower));
        assert!(got == wanted, "{name}: the image is seen otherwise");
        let other = logits_after_image((90, 64), ours, inner);
        assert!(got != other, "{name}: the image makes no difference");
    }
}

fn check_all(pairs: impl IntoIterator<Item = Pair>) {
    let folder = tempfile::tempdir().unwrap();
    for pair in pairs {
        check(folder.path(), &pair);
    }
}

#[test]
fn views_compute_the_same_bit_by_bit() {
    check_all(pairs::all());
}

#[test]
fn views_of_hybrids_and_newer_encoders_compute_the_same() {
    check_all(qwen::all());
}

/// The encoder takes a while to run.
#[test]
fn a_view_with_two_encoders_computes_the_same() {
    check_all([pairs::deepseekocr()]);
}
