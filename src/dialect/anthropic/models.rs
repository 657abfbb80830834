//! The store's models in Anthropic's format.

use jiff::Timestamp;

use crate::api::anthropic::{Model, ModelList};
use crate::store::ListedModel;

/// Makes a list of all models in the given order.
pub fn list(models: &[ListedModel]) -> ModelList {
    let data: Vec<Model> = models
        .iter()
        .map(|listed| model(listed.name.short(), listed.modified))
        .collect();
    ModelList {
        has_more: false,
        first_id: data.first().map(|model| model.id.clone()),
        last_id: data.last().map(|model| model.id.clone()),
        data,
    }
}

/// Makes one model, with the `id` that the client uses.
pub fn model(id: String, modified: Timestamp) -> Model {
    Model {
        kind: "model",
        display_name: id.clone(),
        id,
        created_at: modified,
        lifecycle: "active",
    }
}
