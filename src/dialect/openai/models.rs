//! The store's models in OpenAI's format.

use jiff::Timestamp;

use crate::api::openai::{Model, ModelList};
use crate::model::ModelName;
use crate::store::ListedModel;

/// Makes a list of models in the given order.
pub fn list(models: &[ListedModel]) -> ModelList {
    ModelList {
        object: "list",
        data: models
            .iter()
            .map(|listed| model(listed.name.short(), &listed.name, listed.modified))
            .collect(),
    }
}

/// Makes one model, with the `id` that the client uses.
pub fn model(id: String, name: &ModelName, modified: Timestamp) -> Model {
    let [_, namespace, ..] = name.parts();
    Model {
        id,
        object: "model",
        created: modified.as_second(),
        owned_by: namespace.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_namespace_owns_the_model() {
        for (text, id, owner) in [
            ("llama3.2", "llama3.2:latest", "library"),
            ("me/mine:1b", "me/mine:1b", "me"),
            ("hf.co/user/repo:Q4_K_M", "hf.co/user/repo:Q4_K_M", "user"),
        ] {
            let name = ModelName::parse(text).unwrap();
            let model = model(name.short(), &name, Timestamp::UNIX_EPOCH);
            assert_eq!((model.id.as_str(), model.owned_by.as_str()), (id, owner));
        }
    }
}
