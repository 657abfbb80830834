//! New values of a header, in bytes.

use crate::model::gguf::Value;
use crate::view::OverrideValue;

/// llama.cpp's limit for an overriding text or key, in bytes.
pub(super) const MAX_OVERRIDE: usize = 127;

/// The type numbers in a header.
const U8: u32 = 0;
const U32: u32 = 4;
pub(super) const I32: u32 = 5;
pub(super) const F32: u32 = 6;
const BOOL: u32 = 7;
pub(super) const TEXT: u32 = 8;
pub(super) const LIST: u32 = 9;

/// A new value.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::families) enum New {
    U32(u32),
    F32(f32),
    Bool(bool),
    Text(String),
    U8s(Vec<u8>),
    U32s(Vec<u32>),
    I32s(Vec<i32>),
    F32s(Vec<f32>),
    Bools(Vec<bool>),
}

impl New {
    /// A single value that can be written again unchanged.
    pub(super) fn of(value: &Value) -> Option<Self> {
        Some(match value {
            Value::Bool(flag) => Self::Bool(*flag),
            Value::Unsigned(number) => Self::U32(u32::try_from(*number).ok()?),
            Value::Single(number) => Self::F32(*number),
            Value::Text(text) => Self::Text(text.to_string()),
            _ => return None,
        })
    }

    pub(super) fn is_list(&self) -> bool {
        match self {
            Self::U32(_) | Self::F32(_) | Self::Bool(_) | Self::Text(_) => false,
            Self::U8s(_) | Self::U32s(_) | Self::I32s(_) | Self::F32s(_) | Self::Bools(_) => true,
        }
    }

    /// The type and the value, in the header's encoding.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let single = |kind: u32, value: &[u8]| [kind.to_le_bytes().as_slice(), value].concat();
        let list = |kind, count, elements: &mut dyn Iterator<Item = u8>| {
            let mut bytes = list_head(kind, count);
            bytes.extend(elements);
            bytes
        };
        match self {
            Self::U32(number) => single(U32, &number.to_le_bytes()),
            Self::F32(number) => single(F32, &number.to_le_bytes()),
            Self::Bool(flag) => single(BOOL, &[u8::from(*flag)]),
            Self::Text(content) => single(TEXT, &text(content)),
            Self::U8s(bytes) => list(U8, bytes.len(), &mut bytes.iter().copied()),
            Self::U32s(numbers) => {
                let bytes = numbers.iter().flat_map(|number| number.to_le_bytes());
                list(U32, numbers.len(), &mut { bytes })
            }
            Self::I32s(numbers) => {
                let bytes = numbers.iter().flat_map(|number| number.to_le_bytes());
                list(I32, numbers.len(), &mut { bytes })
            }
            Self::F32s(numbers) => {
                let bytes = numbers.iter().flat_map(|number| number.to_le_bytes());
                list(F32, numbers.len(), &mut { bytes })
            }
            Self::Bools(flags) => list(
                BOOL,
                flags.len(),
                &mut flags.iter().map(|flag| u8::from(*flag)),
            ),
        }
    }

    /// The value as an override, if possible.
    pub(super) fn to_override(&self) -> Option<OverrideValue> {
        Some(match self {
            Self::U32(number) => OverrideValue::Integer((*number).into()),
            Self::F32(number) => OverrideValue::Float((*number).into()),
            Self::Bool(flag) => OverrideValue::Bool(*flag),
            Self::Text(text) if text.len() <= MAX_OVERRIDE => OverrideValue::Text(text.clone()),
            _ => return None,
        })
    }
}

impl From<u32> for New {
    fn from(number: u32) -> Self {
        Self::U32(number)
    }
}

impl From<f32> for New {
    fn from(number: f32) -> Self {
        Self::F32(number)
    }
}

impl From<&str> for New {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

/// A text with its length in front.
pub(super) fn text(text: &str) -> Vec<u8> {
    let length = text.len() as u64;
    [length.to_le_bytes().as_slice(), text.as_bytes()].concat()
}

/// The bytes before the elements of a list.
pub(super) fn list_head(kind: u32, count: usize) -> Vec<u8> {
    let mut bytes = LIST.to_le_bytes().to_vec();
    bytes.extend(kind.to_le_bytes());
    bytes.extend((count as u64).to_le_bytes());
    bytes
}
