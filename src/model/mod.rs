//! What a model is, without I/O: names, digests, manifests, options, Modelfiles, GGUF headers.

pub mod capability;
pub mod digest;
pub mod gguf;
pub mod image_config;
pub mod manifest;
pub mod modelfile;
pub mod name;
pub mod options;

pub use capability::Capability;
pub use digest::Digest;
pub use image_config::ImageConfig;
pub use manifest::{Layer, Manifest};
pub use name::ModelName;
pub use options::{OptionPatch, Options};
