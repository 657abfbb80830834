//! Rewrites a GGUF file with other tensor types, with llama.cpp's quantizer.
//!
//! llama.cpp reports its progress only in its log, a line for each tensor.

#![expect(unsafe_code, reason = "llama.cpp is a C library")]

use std::ffi::CString;
use std::io;
use std::path::Path;

use llama_cpp_sys_2 as sys;

use super::numbers::Ggml;
use super::{devices, log, weights};
use crate::engine::backend::BackendError;
use crate::protocol::{QuantizeParams, TensorType};
use crate::view::{Form, Reader};

/// Quantizes; calls `on_progress` with fractions between 0 and 1. An error carries llama.cpp's message.
pub(crate) fn quantize(
    params: &QuantizeParams,
    on_progress: impl Fn(f32) + Send + 'static,
) -> Result<(), BackendError> {
    devices::start()?;
    let source = Source::open(params)?;
    let (source_path, target) = (path(source.path())?, path(&params.target)?);
    log::start();
    log::follow(Some(Box::new(on_progress)));
    // SAFETY: no arguments.
    let mut settings = unsafe { sys::llama_model_quantize_default_params() };
    settings.ftype = params.file_type;
    // Otherwise tensors that are already quantized and keep their type would be refused.
    settings.allow_requantize = true;
    let patterns = patterns(&params.tensor_types)?;
    let pairs = match &params.source.form {
        Form::Overrides(pairs) => weights::overrides(pairs)?,
        Form::Original | Form::View(_) => weights::overrides(&[])?,
    };
    settings.kv_overrides = pairs.as_ptr();
    // The list ends with a null pattern.
    let end = (std::ptr::null(), sys::GGML_TYPE_COUNT);
    let overrides = patterns.iter().map(|(name, kind)| (name.as_ptr(), *kind));
    let overrides: Vec<_> = overrides
        .chain([end])
        .map(|(pattern, type_)| sys::llama_model_tensor_override { pattern, type_ })
        .collect();
    settings.tt_overrides = overrides.as_ptr();
    // SAFETY: both paths and all patterns are C strings that outlive the call, as the list of them
    // does; the other settings are llama.cpp's own with plain values replaced.
    let code = unsafe {
        sys::llama_model_quantize(source_path.as_ptr(), target.as_ptr(), &raw const settings)
    };
    log::follow(None);
    if code == 0 {
        return Ok(());
    }
    let cause = log::cause().unwrap_or_else(|| format!("code {code}"));
    Err(BackendError(format!("failed to quantize: {cause}")))
}

/// The quantizer's input; it only takes paths.
enum Source<'a> {
    Original(&'a Path),
    /// A view, written to a temporary file beside the target.
    Written(tempfile::TempPath),
}

impl<'a> Source<'a> {
    fn open(params: &'a QuantizeParams) -> Result<Self, BackendError> {
        let Form::View(view) = &params.source.form else {
            return Ok(Self::Original(&params.source.path));
        };
        let write = || {
            let file = fs_err::File::open(&params.source.path)?;
            let folder = params.target.parent().unwrap_or(Path::new("."));
            let mut written = tempfile::NamedTempFile::new_in(folder)?;
            io::copy(&mut Reader::new(file, view, Ggml), &mut written)?;
            Ok(written.into_temp_path())
        };
        let written: io::Result<tempfile::TempPath> = write();
        let failed = |error| BackendError(format!("the model cannot be written anew: {error}"));
        written.map(Self::Written).map_err(failed)
    }

    fn path(&self) -> &Path {
        match self {
            Self::Original(path) => path,
            Self::Written(path) => path,
        }
    }
}

/// llama.cpp takes regular expressions for tensor names; these match exactly one name each.
fn patterns(types: &[TensorType]) -> Result<Vec<(CString, sys::ggml_type)>, BackendError> {
    let pattern = |wanted: &TensorType| {
        let mut pattern = "^".to_owned();
        for character in wanted.name.chars() {
            if !character.is_alphanumeric() && character != '_' {
                pattern.push('\\');
            }
            pattern.push(character);
        }
        let bad = |_| BackendError(format!("`{}` is no name of a tensor", wanted.name));
        Ok((CString::new(pattern + "$").map_err(bad)?, wanted.code))
    };
    types.iter().map(pattern).collect()
}

fn path(path: &Path) -> Result<CString, BackendError> {
    let text = path.to_str().and_then(|path| CString::new(path).ok());
    text.ok_or_else(|| BackendError(format!("`{}` is no path for llama.cpp", path.display())))
}
