//! Values of a header, in little more memory than they take in the file.

use std::borrow::Cow;

use serde::ser::{Serialize, SerializeSeq as _, Serializer};

/// A value of a key.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Bool(bool),
    /// A non-negative number of any width.
    Unsigned(u64),
    /// A negative number of a signed type.
    Negative(i64),
    Single(f32),
    Double(f64),
    Text(Box<str>),
    Numbers(Numbers),
    Texts(Texts),
    /// An array that was too long to be kept.
    Omitted {
        n_elements: u64,
        is_text: bool,
    },
}

impl Value {
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(flag) => Some(*flag),
            _ => None,
        }
    }

    pub fn as_u64(&self) -> Option<u64> {
        match self {
            Self::Unsigned(number) => Some(*number),
            _ => None,
        }
    }

    /// Elements of an array, kept or not; `None` for other values.
    pub fn n_elements(&self) -> Option<u64> {
        match self {
            Self::Numbers(numbers) => Some(numbers.len() as u64),
            Self::Texts(texts) => Some(texts.len() as u64),
            Self::Omitted { n_elements, .. } => Some(*n_elements),
            _ => None,
        }
    }

    /// Whether it is an array of texts, kept or not, with at least one of them.
    pub fn is_texts(&self) -> bool {
        match self {
            Self::Texts(texts) => !texts.is_empty(),
            Self::Omitted { is_text, .. } => *is_text,
            _ => false,
        }
    }

    /// Bytes of heap memory of the value.
    pub(super) fn weight(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Numbers(numbers) => numbers.bytes.len(),
            Self::Texts(texts) => texts.bytes.len() + size_of_val::<[u32]>(&texts.ends),
            _ => 0,
        }
    }

    fn signed(number: i64) -> Self {
        u64::try_from(number).map_or(Self::Negative(number), Self::Unsigned)
    }
}

/// Serializes as JSON; an array that is not kept becomes `null`, and so does NaN.
impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Bool(flag) => serializer.serialize_bool(*flag),
            Self::Unsigned(number) => serializer.serialize_u64(*number),
            Self::Negative(number) => serializer.serialize_i64(*number),
            Self::Single(number) => serializer.serialize_f32(*number),
            Self::Double(number) => serializer.serialize_f64(*number),
            Self::Text(text) => serializer.serialize_str(text),
            Self::Numbers(numbers) => serializer.collect_seq(numbers.iter()),
            Self::Texts(texts) => {
                let mut list = serializer.serialize_seq(Some(texts.len()))?;
                for text in texts.iter() {
                    list.serialize_element(&String::from_utf8_lossy(text))?;
                }
                list.end()
            }
            Self::Omitted { .. } => serializer.serialize_none(),
        }
    }
}

/// A type of fixed width.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scalar {
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    F32,
    Bool,
    U64,
    I64,
    F64,
}

impl Scalar {
    /// The type with that number; `None` for texts, arrays and unknown ones.
    pub(super) fn of_code(code: u32) -> Option<Self> {
        Some(match code {
            0 => Self::U8,
            1 => Self::I8,
            2 => Self::U16,
            3 => Self::I16,
            4 => Self::U32,
            5 => Self::I32,
            6 => Self::F32,
            7 => Self::Bool,
            10 => Self::U64,
            11 => Self::I64,
            12 => Self::F64,
            _ => return None,
        })
    }

    /// Bytes of one value.
    pub(super) fn width(self) -> usize {
        match self {
            Self::U8 | Self::I8 | Self::Bool => 1,
            Self::U16 | Self::I16 => 2,
            Self::U32 | Self::I32 | Self::F32 => 4,
            Self::U64 | Self::I64 | Self::F64 => 8,
        }
    }

    /// Reads one value; missing bytes count as zeros.
    pub(super) fn value(self, bytes: &[u8]) -> Value {
        fn first<const N: usize>(bytes: &[u8]) -> [u8; N] {
            bytes.first_chunk().copied().unwrap_or([0; N])
        }
        match self {
            Self::U8 => Value::Unsigned(u8::from_le_bytes(first(bytes)).into()),
            Self::I8 => Value::signed(i8::from_le_bytes(first(bytes)).into()),
            Self::U16 => Value::Unsigned(u16::from_le_bytes(first(bytes)).into()),
            Self::I16 => Value::signed(i16::from_le_bytes(first(bytes)).into()),
            Self::U32 => Value::Unsigned(u32::from_le_bytes(first(bytes)).into()),
            Self::I32 => Value::signed(i32::from_le_bytes(first(bytes)).into()),
            Self::F32 => Value::Single(f32::from_le_bytes(first(bytes))),
            Self::Bool => Value::Bool(first::<1>(bytes) != [0]),
            Self::U64 => Value::Unsigned(u64::from_le_bytes(first(bytes))),
            Self::I64 => Value::signed(i64::from_le_bytes(first(bytes))),
            Self::F64 => Value::Double(f64::from_le_bytes(first(bytes))),
        }
    }
}

/// An array of numbers or booleans, as the bytes of the file.
#[derive(Debug, Clone, PartialEq)]
pub struct Numbers {
    kind: Scalar,
    bytes: Box<[u8]>,
}

impl Numbers {
    pub(super) fn new(kind: Scalar, bytes: Box<[u8]>) -> Self {
        Self { kind, bytes }
    }

    pub fn len(&self) -> usize {
        self.bytes.len() / self.kind.width()
    }

    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = Value> {
        let elements = self.bytes.chunks_exact(self.kind.width());
        elements.map(|bytes| self.kind.value(bytes))
    }
}

/// An array of texts in one buffer. Tokens may hold partial characters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Texts {
    bytes: Box<[u8]>,
    /// The end of each text.
    ends: Box<[u32]>,
}

impl Texts {
    pub(super) fn new(bytes: Vec<u8>, ends: Vec<u32>) -> Self {
        Self {
            bytes: bytes.into(),
            ends: ends.into(),
        }
    }

    pub fn len(&self) -> usize {
        self.ends.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// A text by its index; invalid UTF-8 is replaced.
    pub fn get(&self, index: usize) -> Option<Cow<'_, str>> {
        self.bytes_of(index).map(String::from_utf8_lossy)
    }

    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.len()).filter_map(|index| self.bytes_of(index))
    }

    fn bytes_of(&self, index: usize) -> Option<&[u8]> {
        let end = *self.ends.get(index)? as usize;
        let start = match index.checked_sub(1) {
            Some(before) => *self.ends.get(before)? as usize,
            None => 0,
        };
        self.bytes.get(start..end)
    }
}
