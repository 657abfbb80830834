//! The list of tensors: each must lie within the file.

use std::collections::HashSet;
use std::io::{Read, Seek};
use std::ops::Range;

use super::{Header, invalid, shown};
use crate::model::gguf::layout::TensorLayout;
use crate::model::gguf::tensor::{Kind, kind_of};
use crate::model::gguf::{GgufError, TensorInfo};

/// Bytes of a tensor's name; llama.cpp itself takes 63.
const MAX_NAME: u64 = 1 << 10;
const MAX_DIMENSIONS: u32 = 4;

/// A tensor as the header describes it, not checked yet.
pub(super) struct Described {
    tensor: TensorInfo,
    code: u32,
    description: Range<u64>,
}

impl<R: Read + Seek> Header<R> {
    pub(super) fn tensors(&mut self, count: u64) -> Result<Vec<Described>, GgufError> {
        let mut tensors = Vec::new();
        for _ in 0..count {
            let start = self.position;
            let name = self.string(MAX_NAME)?;
            let dimensions = self.u32()?;
            if dimensions > MAX_DIMENSIONS {
                return Err(invalid(format!(
                    "tensor `{}` has {dimensions} dimensions",
                    shown(&name)
                )));
            }
            let shape: Result<Vec<u64>, GgufError> = (0..dimensions).map(|_| self.u64()).collect();
            let (shape, code) = (shape?, self.u32()?);
            let description = start..self.position;
            let tensor = TensorInfo {
                name,
                kind: "",
                shape,
                offset: self.u64()?,
            };
            tensors.push(Described {
                tensor,
                code,
                description,
            });
        }
        Ok(tensors)
    }
}

pub(super) fn check_tensors(
    tensors: Vec<Described>,
    data: u64,
    alignment: u64,
    file_size: u64,
) -> Result<(Vec<TensorInfo>, Vec<TensorLayout>), GgufError> {
    let mut names = HashSet::with_capacity(tensors.len());
    let mut laid_out = Vec::with_capacity(tensors.len());
    let mut kinds = Vec::with_capacity(tensors.len());
    for described in &tensors {
        let Described {
            tensor,
            code,
            description,
        } = described;
        let name = shown(&tensor.name);
        let kind = kind_of(*code)
            .ok_or_else(|| invalid(format!("tensor `{name}` has unknown type {code}")))?;
        let data = place(tensor, kind, data, alignment, file_size)?;
        if !names.insert(tensor.name.as_str()) {
            return Err(invalid(format!("tensor `{name}` is there twice")));
        }
        kinds.push(kind.name);
        laid_out.push(TensorLayout {
            code: *code,
            description: description.clone(),
            data,
        });
    }
    let checked = tensors.into_iter().zip(kinds);
    let checked = checked.map(|(described, kind)| TensorInfo {
        kind,
        ..described.tensor
    });
    Ok((checked.collect(), laid_out))
}

/// The range of a tensor's data, which must be within the file.
fn place(
    tensor: &TensorInfo,
    kind: &Kind,
    data: u64,
    alignment: u64,
    file_size: u64,
) -> Result<Range<u64>, GgufError> {
    let name = shown(&tensor.name);
    let size = kind
        .size_bytes(&tensor.shape)
        .ok_or_else(|| invalid(format!("tensor `{name}` has a bad shape for {}", kind.name)))?;
    if !tensor.offset.is_multiple_of(alignment) {
        return Err(invalid(format!("tensor `{name}` is not aligned")));
    }
    let start = data.saturating_add(tensor.offset);
    let end = start.saturating_add(size);
    if end > file_size {
        return Err(invalid(format!(
            "tensor \"{name}\" offset+size ({end}) exceeds file size ({file_size})"
        )));
    }
    Ok(start..end)
}
