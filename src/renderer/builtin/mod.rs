//! The built-in renderers by name (`RENDERER` of a Modelfile, `renderer` of a model's config).

use super::{RenderError, RenderInput};

/// A built-in renderer.
#[derive(Debug)]
pub struct Entry {
    pub name: &'static str,
    /// The text of the BOS token with which its prompts begin; empty = none.
    pub bos: &'static str,
    /// Whether it places images; others ignore them.
    pub images: bool,
    /// Makes the prompt.
    pub render: fn(&RenderInput<'_>) -> Result<String, RenderError>,
}

/// One line for each name.
static TABLE: &[Entry] = &[];

/// Returns the renderer of that name.
pub fn find(name: &str) -> Option<&'static Entry> {
    TABLE.iter().find(|entry| entry.name == name)
}
