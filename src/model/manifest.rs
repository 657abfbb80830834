//! Manifest, layers, media types: Docker's image manifest v2 with Ollama's own media types.

use serde::{Deserialize, Serialize};

use crate::chat::null_is_default;

pub const MEDIA_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
pub const MEDIA_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
pub const MEDIA_MODEL: &str = "application/vnd.ollama.image.model";
pub const MEDIA_PROJECTOR: &str = "application/vnd.ollama.image.projector";
pub const MEDIA_ADAPTER: &str = "application/vnd.ollama.image.adapter";
pub const MEDIA_DRAFT: &str = "application/vnd.ollama.image.draft";
pub const MEDIA_TEMPLATE: &str = "application/vnd.ollama.image.template";
/// The old name of [`MEDIA_TEMPLATE`].
pub const MEDIA_PROMPT: &str = "application/vnd.ollama.image.prompt";
pub const MEDIA_SYSTEM: &str = "application/vnd.ollama.image.system";
pub const MEDIA_PARAMS: &str = "application/vnd.ollama.image.params";
pub const MEDIA_MESSAGES: &str = "application/vnd.ollama.image.messages";
pub const MEDIA_LICENSE: &str = "application/vnd.ollama.image.license";

/// A manifest as it is on disk. Pulled manifests are never written back from this type.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Manifest {
    pub schema_version: u32,
    pub media_type: String,
    #[serde(deserialize_with = "null_is_default")]
    pub config: Layer,
    #[serde(deserialize_with = "null_is_default")]
    pub layers: Vec<Layer>,
}

/// One blob that a manifest names.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Layer {
    pub media_type: String,
    /// `sha256:<hex>`; may be empty for the config of hand-made manifests.
    pub digest: String,
    /// Bytes.
    pub size: u64,
    /// Where it came from: a base model's short name or an uploaded file's name.
    #[serde(
        deserialize_with = "null_is_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub from: String,
    /// Tensor or file name, safetensors models only.
    #[serde(
        deserialize_with = "null_is_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub name: String,
}

impl Manifest {
    /// Returns a manifest as Ollama writes one for a model made on this machine.
    pub fn new(config: Layer, layers: Vec<Layer>) -> Self {
        Self {
            schema_version: 2,
            media_type: MEDIA_MANIFEST.to_owned(),
            config,
            layers,
        }
    }

    /// Returns the layers and, last, the config if it has a blob.
    pub fn blobs(&self) -> impl Iterator<Item = &Layer> {
        self.layers
            .iter()
            .chain(std::iter::once(&self.config))
            .filter(|layer| !layer.digest.is_empty())
    }

    /// Returns the sum of all layers and the config, in bytes.
    pub fn size(&self) -> u64 {
        self.layers.iter().fold(self.config.size, |sum, layer| {
            sum.saturating_add(layer.size)
        })
    }
}
