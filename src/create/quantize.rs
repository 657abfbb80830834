//! Quantizes the weights to another file type.

use std::path::{Path, PathBuf};

use super::parts::Parts;
use super::{CreateError, NO_DIGEST, Status, rules};
use crate::families::layout;
use crate::model::gguf::{GgufError, file_type};
use crate::model::{Digest, Layer, manifest as media};
use crate::protocol::TensorType;
use crate::view::ModelFile;

/// Types that Ollama quantizes to.
const TYPES: [&str; 7] = ["F32", "F16", "BF16", "Q8_0", "Q4_K_S", "Q4_K_M", "Q4_K"];

/// A file to quantize.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    pub source: ModelFile,
    pub target: PathBuf,
    /// The code of `general.file_type`.
    pub file_type: u32,
    /// Tensors that get a different type than llama.cpp would choose.
    pub tensor_types: Vec<TensorType>,
}

/// Quantizes a file; reports progress as fractions. Errors are texts for the client.
pub type Quantizer<'a> = &'a dyn Fn(Job, &mut (dyn FnMut(f32) + Send)) -> Result<(), String>;

/// Quantizes all weights that do not have the wanted type.
pub(super) fn apply(
    parts: &mut Parts<'_>,
    wanted: &str,
    quantizer: Quantizer<'_>,
) -> Result<(), CreateError> {
    if wanted.is_empty() {
        return Ok(());
    }
    let wanted = wanted.to_uppercase();
    let unsupported = || {
        CreateError::internal(format!(
            "unsupported quantization type {wanted} - supported types are F32, F16, Q4_K_S, Q4_K_M, Q8_0"
        ))
    };
    if !TYPES.contains(&wanted.as_str()) {
        return Err(unsupported());
    }
    let wanted = if wanted == "Q4_K" { "Q4_K_M" } else { &wanted };
    let code = file_type::code(wanted).and_then(|code| u32::try_from(code).ok());
    let code = code.ok_or_else(unsupported)?;
    let weights = parts.weights();
    let weights = weights.map(|(layer, header)| {
        let tensor_types = rules::tensor_types(header, wanted);
        (layer.clone(), header.file_type(), tensor_types)
    });
    let weights: Vec<(Layer, String, Vec<TensorType>)> = weights.collect();
    for (layer, have, tensor_types) in weights {
        if have == wanted {
            continue;
        }
        if !matches!(have.as_str(), "F16" | "BF16" | "F32") {
            return Err(CreateError::internal(
                "quantization is only supported for F16, BF16 and F32 models",
            ));
        }
        let status = format!("quantizing {have} model to {wanted}");
        let to = (code, tensor_types);
        one(parts, &layer, to, &status, quantizer)?;
    }
    Ok(())
}

/// The file as llama.cpp reads it.
fn source(parts: &Parts<'_>, path: &Path) -> Result<ModelFile, CreateError> {
    let file = parts.store.open_file(path);
    let source = file
        .map_err(GgufError::Io)
        .and_then(|mut file| layout::to_quantize(path, &mut file));
    source.map_err(|error| CreateError::internal(error.to_string()))
}

fn one(
    parts: &mut Parts<'_>,
    layer: &Layer,
    (file_type, tensor_types): (u32, Vec<TensorType>),
    status: &str,
    quantizer: Quantizer<'_>,
) -> Result<(), CreateError> {
    let digest: Digest = super::parse_digest(&layer.digest)?;
    let mut writer = parts.store.blob_writer()?;
    let job = Job {
        source: source(parts, &parts.store.blob_path(&digest))?,
        target: writer.path().to_owned(),
        file_type,
        tensor_types,
    };
    let total = layer.size;
    let mut tell = |fraction: f32| {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a part of the size, for a progress bar"
        )]
        let completed = (f64::from(fraction) * total as f64) as u64;
        parts.tell(Status {
            status: status.to_owned(),
            digest: NO_DIGEST.to_owned(),
            total: Some(total),
            completed: Some(completed.min(total)),
        });
    };
    tell(0.0);
    quantizer(job, &mut tell).map_err(CreateError::internal)?;
    tell(1.0);
    parts.report("verifying conversion");
    writer.take_written()?;
    let (digest, size) = writer.finish(None)?;
    parts.pin(digest);
    let new = Layer {
        media_type: media::MEDIA_MODEL.to_owned(),
        digest: digest.to_string(),
        size,
        from: layer.from.clone(),
        name: layer.name.clone(),
    };
    let header = parts
        .store
        .gguf(&parts.store.blob_path(&digest))
        .map_err(|error| CreateError::internal(format!("{digest}: {error}")))?;
    parts.replace(&layer.digest, new, header);
    Ok(())
}
