//! Tensors: the names of their types, and their sizes.

/// One tensor's description.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorInfo {
    pub name: String,
    /// `Q4_K`, `F32`, …
    pub kind: &'static str,
    pub shape: Vec<u64>,
    /// Offset in the data section, bytes.
    pub offset: u64,
}

impl TensorInfo {
    /// The code of a type's name, as ggml numbers them.
    pub fn code(kind: &str) -> Option<u32> {
        kind_named(kind).map(|kind| kind.code)
    }

    /// Bytes of its data; `None` for an unknown type or a shape that it does not allow.
    pub fn size_bytes(&self) -> Option<u64> {
        kind_named(self.kind)?.size_bytes(&self.shape)
    }

    /// Number of elements; saturates.
    pub fn elements(&self) -> u64 {
        self.shape
            .iter()
            .fold(1, |product: u64, side| product.saturating_mul(*side))
    }
}

/// A tensor type: its name, how many elements form a block, and how many bytes a block takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind {
    /// The code that ggml assigns.
    pub code: u32,
    pub name: &'static str,
    /// Elements of a block.
    pub block: u64,
    /// Bytes of a block.
    pub bytes: u64,
}

const fn kind(code: u32, name: &'static str, block: u64, bytes: u64) -> Kind {
    Kind {
        code,
        name,
        block,
        bytes,
    }
}

const KINDS: [Kind; 36] = [
    kind(0, "F32", 1, 4),
    kind(1, "F16", 1, 2),
    kind(2, "Q4_0", 32, 18),
    kind(3, "Q4_1", 32, 20),
    // A retired code that some of Ollama's files use for MXFP4.
    kind(4, "MXFP4", 32, 17),
    kind(6, "Q5_0", 32, 22),
    kind(7, "Q5_1", 32, 24),
    kind(8, "Q8_0", 32, 34),
    kind(9, "Q8_1", 32, 36),
    kind(10, "Q2_K", 256, 84),
    kind(11, "Q3_K", 256, 110),
    kind(12, "Q4_K", 256, 144),
    kind(13, "Q5_K", 256, 176),
    kind(14, "Q6_K", 256, 210),
    kind(15, "Q8_K", 256, 292),
    kind(16, "IQ2_XXS", 256, 66),
    kind(17, "IQ2_XS", 256, 74),
    kind(18, "IQ3_XXS", 256, 98),
    kind(19, "IQ1_S", 256, 50),
    kind(20, "IQ4_NL", 32, 18),
    kind(21, "IQ3_S", 256, 110),
    kind(22, "IQ2_S", 256, 82),
    kind(23, "IQ4_XS", 256, 136),
    kind(24, "I8", 1, 1),
    kind(25, "I16", 1, 2),
    kind(26, "I32", 1, 4),
    kind(27, "I64", 1, 8),
    kind(28, "F64", 1, 8),
    kind(29, "IQ1_M", 256, 56),
    kind(30, "BF16", 1, 2),
    kind(34, "TQ1_0", 256, 54),
    kind(35, "TQ2_0", 256, 66),
    kind(39, "MXFP4", 32, 17),
    kind(40, "NVFP4", 64, 36),
    kind(41, "Q1_0", 128, 18),
    kind(42, "Q2_0", 64, 18),
];

/// The type with this code.
pub fn kind_of(code: u32) -> Option<&'static Kind> {
    const TABLE: &[Kind] = &KINDS;
    TABLE.iter().find(|kind| kind.code == code)
}

pub(super) fn kind_named(name: &str) -> Option<&'static Kind> {
    const TABLE: &[Kind] = &KINDS;
    TABLE.iter().rev().find(|kind| kind.name == name)
}

impl Kind {
    /// Bytes of a tensor of this shape; `None` if rows are not whole blocks or the number is absurd.
    pub fn size_bytes(&self, shape: &[u64]) -> Option<u64> {
        let row = shape.first().copied().unwrap_or(1);
        if !row.is_multiple_of(self.block) {
            return None;
        }
        shape
            .iter()
            .skip(1)
            .try_fold(row / self.block, |product, side| product.checked_mul(*side))?
            .checked_mul(self.bytes)
    }
}
