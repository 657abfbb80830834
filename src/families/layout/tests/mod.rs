//! Translations of files: tiny models in both layouts where they exist, and headers alone.

mod headers;
#[cfg(feature = "llama")]
mod made;
mod pairs;

use super::{Loadable, check, has_projector, is_foreign, projector, to_quantize, weights};
