//! The tensors of a header under construction.

use super::invalid;
use crate::model::gguf::{GgufError, Kind, TensorInfo, TensorLayout, kind_of};
use crate::view::{Conversion, Pieces, Segment, Step};

/// ggml's type numbers.
const F32: u32 = 0;
const RETIRED_MXFP4: u32 = 4;
const MXFP4: u32 = 39;

/// A tensor and where its data comes from.
#[derive(Debug, Clone)]
pub(in crate::families) struct Tensor {
    pub(in crate::families) name: String,
    pub(super) kind: u32,
    pub(in crate::families) shape: Vec<u64>,
    pub(super) data: Vec<Segment>,
}

impl Tensor {
    /// A tensor of the original.
    pub(super) fn original(info: &TensorInfo, layout: &TensorLayout) -> Self {
        let length = layout.data.end - layout.data.start;
        Self {
            name: info.name.clone(),
            kind: layout.code,
            shape: info.shape.clone(),
            data: vec![Segment::range(layout.data.start, length)],
        }
    }

    /// Zeros in single precision.
    pub(super) fn zeros(name: &str, n_elements: u64) -> Self {
        Self {
            name: name.to_owned(),
            kind: F32,
            shape: vec![n_elements],
            data: vec![Segment::Zeros(n_elements.saturating_mul(4))],
        }
    }

    pub(super) fn n_bytes(&self) -> u64 {
        let data = self.data.iter().map(Segment::n_bytes);
        data.fold(0, u64::saturating_add)
    }

    fn kind(&self) -> Result<&'static Kind, GgufError> {
        let unknown = || self.refused("has an unknown type");
        kind_of(self.kind).ok_or_else(unknown)
    }

    /// The number of bytes of a row.
    fn row(&self) -> Result<u64, GgufError> {
        let row = self
            .kind()?
            .size_bytes(&self.shape[..self.shape.len().min(1)]);
        row.ok_or_else(|| self.refused("has rows that are no whole blocks"))
    }

    fn n_rows(&self) -> u64 {
        let rows = self.shape.iter().skip(1);
        rows.fold(1, |product: u64, side| product.saturating_mul(*side))
    }

    /// Where the data begins in the file. The data must be one contiguous, unchanged range.
    fn start(&self) -> Result<u64, GgufError> {
        match self.data.as_slice() {
            [
                Segment::Original {
                    pieces,
                    conversion: Conversion::None,
                },
            ] if pieces.steps.is_empty() => Ok(pieces.start),
            _ => Err(self.refused("was changed already")),
        }
    }

    /// Converts it to single precision.
    pub(in crate::families) fn make_f32(&mut self) -> Result<(), GgufError> {
        if self.kind == F32 {
            return Ok(());
        }
        let kind = self.kind()?;
        let small =
            |number: u64| u32::try_from(number).map_err(|_| self.refused("has huge blocks"));
        let to = Conversion::ToF32 {
            kind: kind.code,
            block: small(kind.block)?,
            n_bytes: small(kind.bytes)?,
        };
        for segment in &mut self.data {
            match segment {
                Segment::Original {
                    conversion: conversion @ Conversion::None,
                    ..
                } => *conversion = to,
                _ => {
                    return Err(invalid(format!(
                        "tensor `{}` was changed already",
                        self.name
                    )));
                }
            }
        }
        self.kind = F32;
        Ok(())
    }

    /// Reorders MXFP4 blocks of the first kind as ggml wants them.
    pub(in crate::families) fn modernise_mxfp4(&mut self) {
        if self.kind != RETIRED_MXFP4 {
            return;
        }
        for segment in &mut self.data {
            if let Segment::Original { conversion, .. } = segment {
                *conversion = Conversion::Mxfp4;
            }
        }
        self.kind = MXFP4;
    }

    /// Cuts it to `n_rows` rows.
    pub(in crate::families) fn cut_rows(&mut self, n_rows: u64) -> Result<(), GgufError> {
        let (start, row) = (self.start()?, self.row()?);
        if n_rows > self.n_rows() || self.shape.len() != 2 {
            return Err(self.refused("has too few rows"));
        }
        self.shape[1] = n_rows;
        self.data = vec![Segment::range(start, row.saturating_mul(n_rows))];
        Ok(())
    }

    /// One row, as a separate tensor.
    pub(super) fn one_row(&self, name: &str, row: u64) -> Result<Self, GgufError> {
        let (start, n_bytes) = (self.start()?, self.row()?);
        if row >= self.n_rows() {
            return Err(self.refused("has too few rows"));
        }
        Ok(Self {
            name: name.to_owned(),
            kind: self.kind,
            shape: self.shape.iter().copied().take(1).collect(),
            data: vec![Segment::range(
                start.saturating_add(row.saturating_mul(n_bytes)),
                n_bytes,
            )],
        })
    }

    /// Rearranges pieces of so many elements in the order of the steps, whose strides are also in elements; the caller
    /// gives the new shape.
    pub(in crate::families) fn rearrange(
        &mut self,
        skipped: u64,
        length: u64,
        steps: &[(u64, u64)],
        shape: Vec<u64>,
    ) -> Result<(), GgufError> {
        let kind = self.kind()?;
        let uneven = || self.refused("cannot be cut between its blocks");
        let bytes = |elements: u64| kind.size_bytes(&[elements]).ok_or_else(uneven);
        let steps = steps.iter().map(|&(count, stride)| {
            let stride = bytes(stride)?;
            Ok(Step { count, stride })
        });
        let pieces = Pieces {
            start: self.start()?.saturating_add(bytes(skipped)?),
            length: bytes(length)?,
            steps: steps.collect::<Result<_, GgufError>>()?,
        };
        if kind.size_bytes(&shape) != Some(pieces.n_bytes())
            || pieces.end() > self.start()?.saturating_add(self.n_bytes())
        {
            return Err(self.refused("has another shape than its model needs"));
        }
        self.shape = shape;
        self.data = vec![Segment::Original {
            pieces,
            conversion: Conversion::None,
        }];
        Ok(())
    }

    /// Appends the data of other tensors along the last dimension.
    pub(super) fn append(&mut self, others: &[Self]) -> Result<(), GgufError> {
        let Some((last, sides)) = self.shape.split_last() else {
            return Err(self.refused("is a single number"));
        };
        let mut length = *last;
        for other in others {
            let fits = other.shape.split_last();
            let fits = fits.filter(|(_, others)| *others == sides && other.kind == self.kind);
            let (more, _) = fits
                .ok_or_else(|| other.refused("has another shape or type than its model needs"))?;
            length = length.saturating_add(*more);
        }
        if let Some(last) = self.shape.last_mut() {
            *last = length;
        }
        self.data
            .extend(others.iter().flat_map(|other| other.data.clone()));
        Ok(())
    }

    /// Checks that shape, type and data agree.
    pub(super) fn check(&self) -> Result<(), GgufError> {
        if self.kind()?.size_bytes(&self.shape) == Some(self.n_bytes()) {
            return Ok(());
        }
        Err(self.refused("has another shape than its model needs"))
    }

    fn refused(&self, what: &str) -> GgufError {
        let name: String = self.name.chars().take(64).collect();
        invalid(format!("tensor `{name}` {what}"))
    }
}
