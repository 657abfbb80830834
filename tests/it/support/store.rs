//! Checks a model folder from outside.

use drover::store::Store;

/// Fails unless every blob matches its digest, and the blobs of every manifest exist.
pub(crate) fn check_store(models: &std::path::Path) {
    let store = Store::open(models).unwrap();
    for entry in fs_err::read_dir(models.join("blobs")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if !name.contains("partial") && name.len() == 71 {
            let content = fs_err::read(&path).unwrap();
            assert_eq!(drover::model::Digest::of(&content).file_name(), name);
        }
    }
    for listed in store.list().unwrap() {
        let manifest = store.manifest(&listed.name).unwrap();
        for layer in manifest.blobs() {
            let digest = layer.digest.parse().unwrap();
            assert!(
                store.has_blob_of_size(&digest, layer.size),
                "{}",
                layer.digest
            );
        }
    }
}
