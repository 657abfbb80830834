//! Models in the store: a manifest with its config and text layers.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::layout::read_at_most;
use super::manifests::Stored;
use super::{Store, StoreError};
use crate::chat::Message;
use crate::model::{ImageConfig, Layer, Manifest, ModelName, manifest as media};

/// Bytes of a text layer; the longest licenses have a hundred kilobytes.
pub const MAX_TEXT: u64 = 4 << 20;

/// Bytes of a layer that is JSON; example messages are the longest.
pub const MAX_JSON: u64 = 1 << 20;

/// Layers that are read for a request; real models have at most a few licenses and one layer of each other
/// type.
pub const MAX_TEXTS: usize = 16;

/// A stored model: everything that a request needs except the weights' bytes.
#[derive(Debug, Clone)]
pub struct Model {
    pub name: ModelName,
    /// SHA-256 of the manifest file, 64 hex digits.
    pub digest: String,
    pub manifest: Manifest,
    pub config: ImageConfig,
    pub modified: Timestamp,
    /// Sum of all layers, bytes.
    pub size: u64,
    pub weights: Option<PathBuf>,
    pub projectors: Vec<PathBuf>,
    pub adapters: Vec<PathBuf>,
    pub draft: Option<PathBuf>,
    /// The Go template layer.
    pub template: Option<String>,
    pub system: Option<String>,
    pub params: Map<String, Value>,
    pub messages: Vec<Message>,
    pub licenses: Vec<String>,
}

/// One line of a listing: cheap, no text layers read.
#[derive(Debug, Clone)]
pub struct ListedModel {
    pub name: ModelName,
    pub digest: String,
    pub manifest: Manifest,
    pub config: ImageConfig,
    pub modified: Timestamp,
    pub size: u64,
    pub weights: Option<PathBuf>,
    pub projectors: Vec<PathBuf>,
    /// The file of the Go template layer.
    pub template: Option<PathBuf>,
}

impl Store {
    /// Loads a model by name (resolved first).
    ///
    /// # Errors
    /// `NotFound`, `Corrupt`, `Io`.
    pub fn model(&self, name: &ModelName) -> Result<Model, StoreError> {
        let name = self.resolve(name)?;
        let Stored {
            manifest,
            digest,
            modified,
        } = self.stored(&name)?;
        let mut model = Model {
            config: self.config(&manifest)?,
            size: manifest.size(),
            name,
            digest,
            modified,
            weights: None,
            projectors: Vec::new(),
            adapters: Vec::new(),
            draft: None,
            template: None,
            system: None,
            params: Map::new(),
            messages: Vec::new(),
            licenses: Vec::new(),
            manifest: Manifest::default(),
        };
        let texts = manifest.layers.iter().filter(|layer| is_text(layer));
        if texts.count() > MAX_TEXTS {
            return Err(StoreError::Corrupt {
                path: self.manifest_path(&model.name),
                reason: format!("the model has more than {MAX_TEXTS} texts"),
            });
        }
        for layer in &manifest.layers {
            self.add_layer(&mut model, layer)?;
        }
        model.manifest = manifest;
        Ok(model)
    }

    /// Lists all models, newest first; broken manifests are skipped with a warning.
    ///
    /// # Errors
    /// Fails when the folders cannot be read.
    pub fn list(&self) -> Result<Vec<ListedModel>, StoreError> {
        let mut models = Vec::new();
        for name in self.names()? {
            match self.listed(&name) {
                Ok(model) => models.push(model),
                Err(error) => {
                    tracing::warn!(model = %name.short(), %error, "bad manifest, not listed");
                }
            }
        }
        models.sort_by(|a, b| {
            b.modified
                .cmp(&a.modified)
                .then_with(|| a.name.cmp(&b.name))
        });
        Ok(models)
    }

    fn listed(&self, name: &ModelName) -> Result<ListedModel, StoreError> {
        let Stored {
            manifest,
            digest,
            modified,
        } = self.stored(name)?;
        // A model without its config can still be shown and deleted.
        let config = self.config(&manifest).unwrap_or_else(|error| {
            tracing::warn!(model = %name.short(), %error, "bad config");
            ImageConfig::default()
        });
        let paths = |kind: &str| -> Result<Vec<PathBuf>, StoreError> {
            manifest
                .layers
                .iter()
                .filter(|layer| layer.media_type == kind)
                .map(|layer| self.layer_path(layer))
                .collect()
        };
        Ok(ListedModel {
            weights: paths(media::MEDIA_MODEL)?.pop(),
            projectors: paths(media::MEDIA_PROJECTOR)?,
            template: paths(media::MEDIA_TEMPLATE)?
                .into_iter()
                .chain(paths(media::MEDIA_PROMPT)?)
                .next_back(),
            name: name.clone(),
            size: manifest.size(),
            manifest,
            config,
            digest,
            modified,
        })
    }

    /// If a type may occur only once, the last layer wins. Unknown types are ignored.
    fn add_layer(&self, model: &mut Model, layer: &Layer) -> Result<(), StoreError> {
        match layer.media_type.as_str() {
            media::MEDIA_MODEL => model.weights = Some(self.layer_path(layer)?),
            media::MEDIA_PROJECTOR => model.projectors.push(self.layer_path(layer)?),
            media::MEDIA_ADAPTER => model.adapters.push(self.layer_path(layer)?),
            media::MEDIA_DRAFT => model.draft = Some(self.layer_path(layer)?),
            media::MEDIA_TEMPLATE | media::MEDIA_PROMPT => model.template = Some(self.text(layer)?),
            media::MEDIA_SYSTEM => model.system = Some(self.text(layer)?),
            media::MEDIA_LICENSE => model.licenses.push(self.text(layer)?),
            media::MEDIA_MESSAGES => {
                model.messages = self
                    .json::<Option<Vec<Message>>>(layer)?
                    .unwrap_or_default();
            }
            media::MEDIA_PARAMS => {
                let params = self.json::<Option<Map<String, Value>>>(layer)?;
                model.params.extend(params.unwrap_or_default());
            }
            _ => {}
        }
        Ok(())
    }

    fn config(&self, manifest: &Manifest) -> Result<ImageConfig, StoreError> {
        if manifest.config.digest.is_empty() {
            return Ok(ImageConfig::default());
        }
        self.json(&manifest.config)
    }

    fn layer_path(&self, layer: &Layer) -> Result<PathBuf, StoreError> {
        let digest = layer.digest.parse().map_err(|_| StoreError::Corrupt {
            path: self.manifests_dir(),
            reason: format!("a manifest has the layer digest {:?}", layer.digest),
        })?;
        Ok(self.blob_path(&digest))
    }

    /// Reads the text of a template that a listing names.
    ///
    /// # Errors
    /// The file does not exist, or is too long.
    pub fn template(&self, path: &Path) -> std::io::Result<String> {
        let bytes = read_at_most(path, MAX_TEXT)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn bytes(&self, layer: &Layer, most: u64) -> Result<(PathBuf, Vec<u8>), StoreError> {
        let path = self.layer_path(layer)?;
        match read_at_most(&path, most) {
            Ok(bytes) => Ok((path, bytes)),
            Err(error) if error.kind() == ErrorKind::FileTooLarge => {
                let reason = "this part of the model is too long".to_owned();
                Err(StoreError::Corrupt { path, reason })
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let reason =
                    "this part of the model is missing; pull or create the model again".to_owned();
                Err(StoreError::Corrupt { path, reason })
            }
            Err(error) => Err(super::layout::explain(&path, error)),
        }
    }

    fn text(&self, layer: &Layer) -> Result<String, StoreError> {
        let (_, bytes) = self.bytes(layer, MAX_TEXT)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn json<T: DeserializeOwned>(&self, layer: &Layer) -> Result<T, StoreError> {
        let (path, bytes) = self.bytes(layer, MAX_JSON)?;
        serde_json::from_slice(&bytes).map_err(|error| StoreError::Corrupt {
            path,
            reason: error.to_string(),
        })
    }
}

/// Whether a layer's content is read for each request.
fn is_text(layer: &Layer) -> bool {
    const TEXTS: [&str; 6] = [
        media::MEDIA_TEMPLATE,
        media::MEDIA_PROMPT,
        media::MEDIA_SYSTEM,
        media::MEDIA_LICENSE,
        media::MEDIA_MESSAGES,
        media::MEDIA_PARAMS,
    ];
    TEXTS.contains(&&*layer.media_type)
}
