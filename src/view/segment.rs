//! The parts of a view.

use serde::{Deserialize, Serialize};

/// A run of bytes of a view.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Segment {
    /// Bytes that the original does not have.
    Bytes(#[serde(with = "in_base64")] Vec<u8>),
    /// This many zeros.
    Zeros(u64),
    /// Bytes of the original.
    Original {
        pieces: Pieces,
        conversion: Conversion,
    },
}

/// Pieces of a file that all have the same length, in the order of nested loops.
///
/// Without steps it is one piece. A step repeats the following steps `count` times, each time `stride` bytes
/// further on: this describes rows in another order, every second row, or one half of each row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pieces {
    /// Where the first piece begins, in bytes.
    pub start: u64,
    /// Bytes of a piece.
    pub length: u64,
    /// From the outermost loop to the innermost.
    pub steps: Vec<Step>,
}

/// One loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    pub count: u64,
    pub stride: u64,
}

/// How the bytes of the original are translated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Conversion {
    /// The bytes stay unchanged.
    None,
    /// MXFP4 blocks with neighboring values in one byte, as Ollama first wrote them, to ggml's order: 17 bytes,
    /// of which the first is the scale.
    Mxfp4,
    /// To numbers in single precision.
    ToF32 {
        /// The code that ggml assigns to the type.
        kind: u32,
        /// Numbers in a block, and its bytes.
        block: u32,
        n_bytes: u32,
    },
}

impl Segment {
    /// A range of the original.
    pub fn range(start: u64, length: u64) -> Self {
        Self::Original {
            pieces: Pieces::range(start, length),
            conversion: Conversion::None,
        }
    }

    /// Bytes in the view; saturates.
    pub fn n_bytes(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Zeros(n_bytes) => *n_bytes,
            Self::Original { pieces, conversion } => conversion.size_after(pieces.n_bytes()),
        }
    }

    /// Appends the next segment if it continues where this one ends; else returns it.
    pub(super) fn extend(&mut self, next: Self) -> Option<Self> {
        match (self, next) {
            (Self::Bytes(bytes), Self::Bytes(more)) => bytes.extend(more),
            (Self::Zeros(n_bytes), Self::Zeros(more)) => *n_bytes = n_bytes.saturating_add(more),
            (_, next) if next.n_bytes() == 0 => {}
            (
                Self::Original {
                    pieces,
                    conversion: Conversion::None,
                },
                Self::Original {
                    pieces: more,
                    conversion: Conversion::None,
                },
            ) if pieces.steps.is_empty()
                && more.steps.is_empty()
                && pieces.start.checked_add(pieces.length) == Some(more.start) =>
            {
                pieces.length = pieces.length.saturating_add(more.length);
            }
            (_, next) => return Some(next),
        }
        None
    }
}

impl Pieces {
    /// One piece.
    pub fn range(start: u64, length: u64) -> Self {
        Self {
            start,
            length,
            steps: Vec::new(),
        }
    }

    /// Bytes of all pieces; saturates.
    pub fn n_bytes(&self) -> u64 {
        let counts = self.steps.iter().map(|step| step.count);
        counts.fold(self.length, u64::saturating_mul)
    }

    /// The end of the last place in the file that a piece needs; saturates.
    pub fn end(&self) -> u64 {
        if self.n_bytes() == 0 {
            return self.start;
        }
        let steps = self.steps.iter();
        let last = steps.map(|step| step.stride.saturating_mul(step.count - 1));
        last.fold(self.start, u64::saturating_add)
            .saturating_add(self.length)
    }

    /// Where the byte at `offset` of the pieces is; `None` after the end.
    pub(super) fn locate(&self, offset: u64) -> Option<Place> {
        if offset >= self.n_bytes() {
            return None;
        }
        let (mut piece, within) = (offset / self.length, offset % self.length);
        let innermost = self.steps.last();
        let (n_next, stride) = innermost.map_or((1, self.length), |step| {
            (step.count - piece % step.count, step.stride)
        });
        let mut at = self.start.saturating_add(within);
        for step in self.steps.iter().rev() {
            let index = piece % step.count;
            piece /= step.count;
            at = at.saturating_add(index.saturating_mul(step.stride));
        }
        Some(Place {
            at,
            left: self.length - within,
            n_next,
            stride,
        })
    }
}

/// A place in pieces.
#[derive(Debug)]
pub(super) struct Place {
    /// In the file.
    pub(super) at: u64,
    /// Bytes from there to the end of the piece.
    pub(super) left: u64,
    /// Pieces from this one on that are `stride` bytes apart.
    pub(super) n_next: u64,
    pub(super) stride: u64,
}

impl Place {
    /// Whether a piece begins here, and the next one follows after its end.
    pub(super) fn is_whole(&self, pieces: &Pieces) -> bool {
        self.left == pieces.length && self.stride >= pieces.length
    }
}

impl Conversion {
    /// Bytes of a block before and after conversion; blocks are converted one by one.
    pub(super) fn block(self) -> (u64, u64) {
        match self {
            Self::None => (1, 1),
            Self::Mxfp4 => (MXFP4_BLOCK, MXFP4_BLOCK),
            Self::ToF32 { block, n_bytes, .. } => (
                u64::from(n_bytes).max(1),
                u64::from(block) * size_of::<f32>() as u64,
            ),
        }
    }

    /// How many bytes `n_bytes` become, in whole blocks; saturates.
    pub(super) fn size_after(self, n_bytes: u64) -> u64 {
        let (before, after) = self.block();
        (n_bytes / before).saturating_mul(after)
    }
}

/// A scale and 32 numbers of four bits.
const MXFP4_BLOCK: u64 = 17;

/// Bytes as text: a header is small, and frames are JSON.
mod in_base64 {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(deserializer)?;
        STANDARD.decode(text).map_err(serde::de::Error::custom)
    }
}
