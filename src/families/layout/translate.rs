//! From a file to what llama.cpp loads.

use std::io::{Read, Seek};
use std::path::Path;
use std::sync::Arc;

use super::super::registry::{architecture, unmet_need};
use super::clip::{Clip, PREFIXES};
use super::edit::Edit;
use super::source::Source;
use super::{ForeignLayout, invalid};
use crate::model::gguf::{FileKind, GgufError, Hyperparameters, Metadata, Value, check_projector};
use crate::view::{Form, HeaderOnly, ModelFile, OverrideValue, ReadAt, Reader};

/// A file, and its header as llama.cpp sees it.
#[derive(Debug, Clone)]
pub struct Loadable {
    pub file: ModelFile,
    /// Without long lists; the vocabulary has been checked.
    pub metadata: Arc<Metadata>,
}

impl Loadable {
    /// A file in its own layout.
    pub fn original(path: &Path, metadata: Arc<Metadata>) -> Self {
        Self {
            file: ModelFile::original(path),
            metadata,
        }
    }
}

/// Whether llama.cpp needs another header than the file's.
pub fn is_foreign(metadata: &Metadata) -> bool {
    layout(metadata).is_some_and(|layout| (layout.is_foreign)(metadata))
}

/// Whether a file of weights contains a projector.
pub fn has_projector(metadata: &Metadata) -> bool {
    let has_one = |layout: &ForeignLayout| layout.projector.is_some();
    layout(metadata).is_some_and(has_one) && metadata.has_tensor_prefix(&["v.", "s."])
}

/// Plans how llama.cpp gets the weights of a file, or a projector that has its own file.
///
/// # Errors
/// The file is not a readable GGUF file, or lacks what its model needs. The result is checked like any other file.
pub fn weights<F: ReadAt + Read + Seek>(path: &Path, file: &mut F) -> Result<Loadable, GgufError> {
    translate(path, file, false)
}

fn translate<F: ReadAt + Read + Seek>(
    path: &Path,
    file: &mut F,
    keeps_all: bool,
) -> Result<Loadable, GgufError> {
    let source = Source::read(file)?;
    let foreign = layout(&source.metadata).filter(|layout| (layout.is_foreign)(&source.metadata));
    let form = match foreign {
        Some(layout) => {
            let mut edit = Edit::of(&source);
            edit.keeps_all = keeps_all;
            (layout.weights)(&mut edit)?;
            edit.finish()?
        }
        None => Form::Original,
    };
    finish(path, file, form)
}

/// Plans how llama.cpp's quantizer gets the weights of a file: including the tensors that only a projector needs, so
/// that they are in the new file, too.
///
/// # Errors
/// As [`weights`].
pub fn to_quantize<F: ReadAt + Read + Seek>(
    path: &Path,
    file: &mut F,
) -> Result<ModelFile, GgufError> {
    translate(path, file, true).map(|loadable| loadable.file)
}

/// Plans how llama.cpp gets the projector in a file of weights.
///
/// # Errors
/// As [`weights`]; or the file contains none.
pub fn projector<F: ReadAt + Read + Seek>(
    path: &Path,
    file: &mut F,
) -> Result<Loadable, GgufError> {
    let source = Source::read(file)?;
    let make = layout(&source.metadata).and_then(|layout| layout.projector);
    let make = make.ok_or_else(|| invalid("the file has no projector in it"))?;
    let mut clip = Clip::of(Edit::of_tensors(&source, PREFIXES));
    make(&mut clip)?;
    let form = clip.edit.finish()?;
    finish(path, file, form)
}

/// Checks what can be known of a file before llama.cpp gets it, without its data: the header as llama.cpp sees it. If a
/// projector among the weights is unusable, only image input is lost.
///
/// # Errors
/// Says why the file could not be loaded.
/// Says why it could not be loaded.
pub fn check<F: ReadAt + Read + Seek>(path: &Path, file: &mut F) -> Result<(), GgufError> {
    let loadable = weights(path, file)?;
    match loadable.metadata.kind() {
        FileKind::Model => Hyperparameters::read(&loadable.metadata).map(drop),
        FileKind::Projector => check_projector(&loadable.metadata),
        FileKind::Adapter => Ok(()),
    }
}

/// Reads the new header, which also checks it.
fn finish<F: ReadAt + Read + Seek>(
    path: &Path,
    file: &mut F,
    form: Form,
) -> Result<Loadable, GgufError> {
    let metadata = match &form {
        Form::Original => Metadata::read_checked(file)?,
        Form::Overrides(overrides) => {
            let mut metadata = Metadata::read_checked(file)?;
            for pair in overrides {
                let value = overridden(&pair.value);
                metadata.values.insert(pair.key.as_str().into(), value);
            }
            metadata
        }
        Form::View(view) => Metadata::read_checked(&mut Reader::new(&*file, view, HeaderOnly))?,
    };
    // Only models have these needs; an adapter has the architecture's name and little else.
    if let Some(reason) = unmet_need(&metadata).filter(|_| metadata.kind() == FileKind::Model) {
        return Err(invalid(reason));
    }
    Ok(Loadable {
        file: ModelFile {
            path: path.to_owned(),
            form,
        },
        metadata: Arc::new(metadata),
    })
}

fn overridden(value: &OverrideValue) -> Value {
    match value {
        OverrideValue::Bool(flag) => Value::Bool(*flag),
        OverrideValue::Integer(number) => {
            u64::try_from(*number).map_or(Value::Negative(*number), Value::Unsigned)
        }
        OverrideValue::Float(number) => Value::Double(*number),
        OverrideValue::Text(text) => Value::Text(text.as_str().into()),
    }
}

fn layout(metadata: &Metadata) -> Option<&'static ForeignLayout> {
    // An adapter names its model's architecture, and has only a few of its tensors.
    if metadata.kind() == FileKind::Adapter {
        return None;
    }
    architecture(metadata.architecture())?.layout.as_ref()
}
