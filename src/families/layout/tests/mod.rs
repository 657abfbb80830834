//! Translations of files, with tiny models in both layouts where there are any, and with headers alone.

mod headers;
#[cfg(feature = "llama")]
mod made;
mod pairs;

use super::{Loadable, check, has_projector, is_foreign, projector, to_quantize, weights};
