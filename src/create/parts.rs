//! The layers of a model under construction, with their headers, statuses and pins.

use std::sync::Arc;

use serde::Serialize;

use super::{CreateError, Status};
use crate::json::go as go_json;
use crate::model::gguf::Metadata;
use crate::model::{Digest, Layer, manifest as media};
use crate::store::{Pins, Store};

/// One layer with its properties.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) layer: Layer,
    /// The header of weights.
    pub(super) header: Option<Arc<Metadata>>,
    /// Whether the blob is new.
    is_new: bool,
}

/// All layers so far, in the manifest's order. This process cannot delete any of their blobs.
pub(super) struct Parts<'a> {
    pub(super) store: &'a Store,
    progress: &'a mut (dyn FnMut(Status) + Send),
    list: Vec<Part>,
    pins: Pins,
}

impl<'a> Parts<'a> {
    pub(super) fn new(store: &'a Store, progress: &'a mut (dyn FnMut(Status) + Send)) -> Self {
        Self {
            store,
            progress,
            list: Vec::new(),
            pins: store.pins(),
        }
    }

    pub(super) fn report(&mut self, status: impl Into<String>) {
        self.tell(Status {
            status: status.into(),
            ..Status::default()
        });
    }

    pub(super) fn tell(&mut self, status: Status) {
        (self.progress)(status);
    }

    /// Replaces the weights with this digest.
    pub(super) fn replace(&mut self, digest: &str, layer: Layer, header: Arc<Metadata>) {
        let mut parts = self.list.iter_mut();
        let old = parts.find(|part| {
            part.layer.media_type == media::MEDIA_MODEL && part.layer.digest == digest
        });
        if let Some(old) = old {
            *old = Part {
                layer,
                header: Some(header),
                is_new: true,
            };
        }
    }

    /// Protects a blob from deletion from now on.
    pub(super) fn pin(&mut self, digest: Digest) {
        self.pins.add(digest);
    }

    /// Appends a layer whose blob exists and is pinned.
    pub(super) fn push(&mut self, layer: Layer, header: Option<Arc<Metadata>>) {
        self.list.push(Part {
            layer,
            header,
            is_new: false,
        });
    }

    /// Appends a layer whose blob is new and pinned.
    pub(super) fn push_new(&mut self, layer: Layer, header: Option<Arc<Metadata>>) {
        self.list.push(Part {
            layer,
            header,
            is_new: true,
        });
    }

    /// Appends a small layer; other layers of its type stay.
    pub(super) fn append(&mut self, media_type: &str, content: &[u8]) -> Result<(), CreateError> {
        let (layer, is_new) = self.write(media_type, content)?;
        self.list.push(Part {
            layer,
            header: None,
            is_new,
        });
        Ok(())
    }

    /// Removes all layers of a type; their blobs are deleted with the last manifest that refers to them.
    pub(super) fn remove(&mut self, media_type: &str) {
        self.list.retain(|part| part.layer.media_type != media_type);
    }

    /// Writes a blob that is not a layer (the config).
    pub(super) fn write_json(
        &mut self,
        media_type: &str,
        value: &impl Serialize,
    ) -> Result<Layer, CreateError> {
        let content = to_json(value)?;
        self.write(media_type, &content).map(|(layer, _)| layer)
    }

    fn write(&mut self, media_type: &str, content: &[u8]) -> Result<(Layer, bool), CreateError> {
        let digest = Digest::of(content);
        self.pin(digest);
        let is_new = !self.store.has_blob(&digest);
        Ok((self.store.write_layer(media_type, content)?, is_new))
    }

    /// Whether there is a layer of this type.
    pub(super) fn has(&self, media_type: &str) -> bool {
        let mut parts = self.list.iter();
        parts.any(|part| part.layer.media_type == media_type)
    }

    /// The headers of all weights, in order.
    pub(super) fn weights(&self) -> impl Iterator<Item = (&Layer, &Metadata)> {
        self.list
            .iter()
            .filter(|part| part.layer.media_type == media::MEDIA_MODEL)
            .filter_map(|part| Some((&part.layer, part.header.as_deref()?)))
    }

    /// Reports and returns all layers, with the pins that protect them.
    pub(super) fn finish(mut self) -> (Vec<Layer>, Pins) {
        let mut layers = Vec::with_capacity(self.list.len());
        for part in std::mem::take(&mut self.list) {
            let what = if part.is_new {
                "creating new layer"
            } else {
                "using existing layer"
            };
            self.report(format!("{what} {}", part.layer.digest));
            layers.push(part.layer);
        }
        (layers, self.pins)
    }
}

/// JSON as Ollama writes it into blobs.
pub(super) fn to_json(value: &impl Serialize) -> Result<Vec<u8>, CreateError> {
    go_json::to_vec(value).map_err(|error| CreateError::internal(error.to_string()))
}
