//! Checks a manifest from a registry before any of its blobs is fetched.

use reqwest::header::ACCEPT;

use super::RegistryError;
use super::answer::words;
use super::retry::Retry;
use super::session::Session;
use crate::model::manifest::{
    MEDIA_CONFIG, MEDIA_LICENSE, MEDIA_MANIFEST, MEDIA_MESSAGES, MEDIA_PARAMS, MEDIA_PROMPT,
    MEDIA_SYSTEM, MEDIA_TEMPLATE,
};
use crate::model::{Digest, Manifest};
use crate::store::{MAX_JSON, MAX_TEXT, MAX_TEXTS};

/// The prefix of the media types of Ollama's layers.
const OURS: &str = "application/vnd.ollama.image.";

/// A safetensors layer, which another engine uses.
const MEDIA_TENSOR: &str = "application/vnd.ollama.image.tensor";

const NEEDS_MLX: &str = "this model requires MLX support, but the MLX runtime is not available";

/// The most layers of a model; Ollama's have about a dozen.
const MAX_LAYERS: usize = 1000;

/// A manifest whose blobs can be fetched.
#[derive(Debug, Clone)]
pub(super) struct Remote {
    /// The bytes as they were sent: their digest is the model's.
    pub(super) bytes: Vec<u8>,
    /// Digests and sizes without duplicates, layers first.
    pub(super) blobs: Vec<(Digest, u64)>,
}

/// Fetches the manifest.
///
/// # Errors
/// See [`RegistryError`]; also fails for manifests that are not of models.
pub(super) async fn fetch(session: &Session, mut retry: Retry) -> Result<Remote, RegistryError> {
    loop {
        let bytes = async {
            let url = session.manifest_url();
            let response = session
                .send(|client| client.get(&url).header(ACCEPT, MEDIA_MANIFEST))
                .await?;
            session.read(response).await
        };
        match bytes.await {
            Ok(bytes) => return Remote::check(bytes),
            Err(error) => retry.after(error).await?,
        }
    }
}

/// For fuzzing: whether a registry's response is a model's manifest.
#[cfg(fuzzing)]
pub fn check_manifest_for_fuzzing(bytes: &[u8]) -> bool {
    Remote::check(bytes.to_vec()).is_ok()
}

impl Remote {
    fn check(bytes: Vec<u8>) -> Result<Self, RegistryError> {
        let refused = |reason: String| {
            RegistryError::Malformed(format!(
                "the registry's manifest is not that of a model: {reason}"
            ))
        };
        // The parser's own limit refuses deeply nested text. Its error text is not used, since it may quote
        // the response.
        let no_json = |error: serde_json::Error| {
            let what = if error.is_data() {
                "something else"
            } else {
                "no JSON"
            };
            refused(format!(
                "{what} (line {}, column {})",
                error.line(),
                error.column()
            ))
        };
        let manifest: Manifest = serde_json::from_slice(&bytes).map_err(no_json)?;
        let layers = &manifest.layers;
        if layers.iter().any(|layer| layer.media_type == MEDIA_TENSOR) {
            return Err(RegistryError::Malformed(NEEDS_MLX.to_owned()));
        }
        let is_stub = layers.is_empty() && !manifest.config.digest.is_empty();
        let config = manifest.config.media_type.as_str();
        if !matches!(config, "" | MEDIA_CONFIG)
            || manifest.config.digest.is_empty() && layers.is_empty()
        {
            return Err(refused(format!(
                "its type is {:?}",
                words(&manifest.media_type)
            )));
        }
        if !is_stub
            && !layers
                .iter()
                .any(|layer| layer.media_type.starts_with(OURS))
        {
            let types: Vec<&str> = layers
                .iter()
                .map(|layer| layer.media_type.as_str())
                .collect();
            let types = words(&types.join(", "));
            return Err(refused(format!("its layers are {types}")));
        }
        if layers.len() > MAX_LAYERS {
            return Err(refused(format!("{} layers", layers.len())));
        }
        check_texts(&manifest).map_err(refused)?;
        let mut blobs: Vec<(Digest, u64)> = Vec::new();
        for layer in manifest.blobs() {
            let digest = layer.digest.parse();
            let digest: Digest = digest
                .map_err(|_| refused(format!("invalid digest {:?}", words(&layer.digest))))?;
            if layer.size > i64::MAX.unsigned_abs() {
                return Err(refused(format!("a layer of {} bytes", layer.size)));
            }
            match blobs.iter().find(|(known, _)| *known == digest) {
                Some((_, size)) if *size != layer.size => {
                    return Err(refused(format!("two sizes of {digest}")));
                }
                Some(_) => {}
                None => blobs.push((digest, layer.size)),
            }
        }
        if let Some(layer) = layers.iter().find(|layer| layer.digest.is_empty()) {
            return Err(refused(format!(
                "a layer {:?} without a digest",
                words(&layer.media_type)
            )));
        }
        Ok(Self { bytes, blobs })
    }
}

/// Refuses texts that are too long for the store, which keeps them in memory.
fn check_texts(manifest: &Manifest) -> Result<(), String> {
    let mut n_texts = 0;
    for layer in &manifest.layers {
        let most = match layer.media_type.as_str() {
            MEDIA_PARAMS | MEDIA_MESSAGES => MAX_JSON,
            MEDIA_TEMPLATE | MEDIA_PROMPT | MEDIA_SYSTEM | MEDIA_LICENSE => MAX_TEXT,
            _ => continue,
        };
        n_texts += 1;
        if layer.size > most {
            return Err(format!("{} bytes of {}", layer.size, layer.media_type));
        }
    }
    if n_texts > MAX_TEXTS {
        return Err(format!("{n_texts} texts"));
    }
    if manifest.config.size > MAX_JSON {
        return Err(format!("a config of {} bytes", manifest.config.size));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::model::manifest::MEDIA_MODEL;

    fn check(manifest: &Value) -> Result<Remote, String> {
        let bytes = serde_json::to_vec(manifest).unwrap();
        Remote::check(bytes).map_err(|error| error.to_string())
    }

    fn layer(media_type: &str, content: &str) -> Value {
        json!({"mediaType": media_type, "digest": Digest::of(content.as_bytes()).to_string(),
            "size": content.len()})
    }

    #[test]
    fn the_blobs_of_a_model_are_its_layers_and_its_config() {
        let model = layer(MEDIA_MODEL, "model");
        let manifest = json!({"schemaVersion": 2, "mediaType": MEDIA_MANIFEST,
            "config": layer(MEDIA_CONFIG, "{}"), "layers": [model, model], "annotations": {"a": 1}});
        let remote = check(&manifest).unwrap();
        assert_eq!(
            remote.blobs,
            [(Digest::of(b"model"), 5), (Digest::of(b"{}"), 2)]
        );
        assert_eq!(remote.bytes, serde_json::to_vec(&manifest).unwrap());
    }

    #[test]
    fn other_things_are_refused() {
        let image = json!({"mediaType": MEDIA_MANIFEST, "config": layer(MEDIA_CONFIG, "{}"),
            "layers": [layer("application/vnd.docker.image.rootfs.diff.tar.gzip", "x")]});
        let index =
            json!({"mediaType": "application/vnd.oci.image.index.v1+json", "manifests": []});
        let oci = json!({"config": layer("application/vnd.oci.image.config.v1+json", "{}"),
            "layers": [layer(MEDIA_MODEL, "x")]});
        for (manifest, reason) in [
            (image, "its layers are application/vnd.docker"),
            (index, "application/vnd.oci.image.index.v1+json"),
            (oci, "its type is"),
            (json!([]), "not that of a model"),
        ] {
            let error = check(&manifest).unwrap_err();
            assert!(error.contains(reason), "{error}");
        }
        let tensor = json!({"layers": [layer(MEDIA_TENSOR, "x")]});
        assert_eq!(check(&tensor).unwrap_err(), NEEDS_MLX);
    }

    #[test]
    fn digests_that_are_none_are_refused() {
        for digest in ["", "sha256:../../../etc/passwd", "sha256:ab", "md5:00"] {
            let mut bad = layer(MEDIA_MODEL, "x");
            bad["digest"] = digest.into();
            let manifest = json!({"config": layer(MEDIA_CONFIG, "{}"), "layers": [bad]});
            assert!(check(&manifest).is_err(), "{digest}");
        }
    }

    #[test]
    fn nesting_without_end_is_an_error() {
        let deep = format!("{{\"layers\": {}", "[".repeat(100_000));
        assert!(Remote::check(deep.into_bytes()).is_err());
    }

    #[test]
    fn kept_inputs_of_the_fuzz_target_are_manifests_or_refused() {
        const KEPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fuzz/corpus/manifest");
        for entry in fs_err::read_dir(KEPT).unwrap() {
            let entry = entry.unwrap();
            let is_model = Remote::check(fs_err::read(entry.path()).unwrap()).is_ok();
            assert_eq!(is_model, entry.file_name() == "usual", "{:?}", entry.path());
        }
    }
}
