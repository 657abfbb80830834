//! The container: magic, counts, key/value pairs, tensor list.
//!
//! *Invariant:* memory used is bounded by the limits below, whatever the counts in the file say.

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::ops::Range;

use serde_json::{Map, Value};

use super::tensor::kind_of;
use super::{GgufError, MAGIC, Metadata, SHORT_ARRAY, TensorInfo};

const MAX_STRING: u64 = 16 << 20;
const MAX_ARRAY: u64 = 64 << 20;
/// Elements of all arrays kept as values; a 262,144-token vocabulary has about a million.
const MAX_KEPT: u64 = 8 << 20;
const MAX_KEYS: u64 = 1 << 16;
const MAX_TENSORS: u64 = 1 << 18;
const MAX_HEADER: u64 = 512 << 20;
const MAX_DIMENSIONS: u32 = 4;
const DEFAULT_ALIGNMENT: u64 = 32;

/// Which arrays become values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Arrays {
    All,
    Short,
}

/// Where things lie in a file, for who copies them as they are.
#[derive(Debug)]
pub(super) struct Layout {
    pub version: u32,
    pub alignment: u64,
    /// Keys, and the bytes of each pair.
    pub pairs: Vec<(String, Range<u64>)>,
    pub tensors: Vec<TensorLayout>,
}

#[derive(Debug)]
pub(super) struct TensorLayout {
    /// Name, dimensions and type; the offset comes behind.
    pub description: Range<u64>,
    pub data: Range<u64>,
}

pub(super) fn read(
    reader: &mut (impl Read + Seek),
    arrays: Arrays,
) -> Result<(Metadata, Layout), GgufError> {
    let file_size = reader.seek(SeekFrom::End(0))?;
    reader.seek(SeekFrom::Start(0))?;
    let mut header = Header {
        reader: BufReader::with_capacity(1 << 16, reader),
        position: 0,
        file_size,
        kept: 0,
        arrays,
    };
    header.read()
}

/// A tensor as the header has it, not checked yet.
struct Described {
    tensor: TensorInfo,
    code: u32,
    description: Range<u64>,
}

struct Header<R> {
    reader: BufReader<R>,
    position: u64,
    file_size: u64,
    /// Array elements turned into values so far.
    kept: u64,
    arrays: Arrays,
}

impl<R: Read> Header<R> {
    fn read(&mut self) -> Result<(Metadata, Layout), GgufError> {
        if self.file_size < 4 {
            return Err(GgufError::NotGguf);
        }
        match self.bytes::<4>()? {
            MAGIC => {}
            [b'F', b'U', b'G', b'G'] => return Err(invalid("big-endian files are not supported")),
            _ => return Err(GgufError::NotGguf),
        }
        let version = self.u32()?;
        if !matches!(version, 2 | 3) {
            return Err(invalid(format!("unsupported version {version}")));
        }
        let tensor_count = self.count("tensors", MAX_TENSORS)?;
        let key_count = self.count("keys", MAX_KEYS)?;
        let mut values = Map::new();
        let pairs = self.pairs(key_count, &mut values)?;
        let alignment = alignment(&values)?;
        let tensors = self.tensors(tensor_count)?;
        let data = self.position.div_ceil(alignment).saturating_mul(alignment);
        let (tensors, laid_out) = check_tensors(tensors, data, alignment, self.file_size)?;
        let metadata = Metadata {
            values,
            tensors,
            file_size: self.file_size,
        };
        let layout = Layout {
            version,
            alignment,
            pairs,
            tensors: laid_out,
        };
        Ok((metadata, layout))
    }

    /// Reads the pairs into `values`; returns where they lie.
    fn pairs(
        &mut self,
        count: u64,
        values: &mut Map<String, Value>,
    ) -> Result<Vec<(String, Range<u64>)>, GgufError> {
        let mut pairs = Vec::new();
        for _ in 0..count {
            let start = self.position;
            let key = self.string()?;
            let kind = self.u32()?;
            let value = self.value(kind)?;
            if values.contains_key(&key) {
                return Err(invalid(format!("key `{}` is there twice", shown(&key))));
            }
            pairs.push((key.clone(), start..self.position));
            values.insert(key, value);
        }
        Ok(pairs)
    }

    fn value(&mut self, kind: u32) -> Result<Value, GgufError> {
        Ok(match kind {
            0 => Value::from(self.bytes::<1>()?[0]),
            1 => Value::from(i8::from_le_bytes(self.bytes()?)),
            2 => Value::from(u16::from_le_bytes(self.bytes()?)),
            3 => Value::from(i16::from_le_bytes(self.bytes()?)),
            4 => Value::from(self.u32()?),
            5 => Value::from(i32::from_le_bytes(self.bytes()?)),
            6 => float(f32::from_le_bytes(self.bytes()?)),
            7 => Value::from(self.bytes::<1>()?[0] != 0),
            8 => Value::from(self.string()?),
            9 => self.array()?,
            10 => Value::from(self.u64()?),
            11 => Value::from(i64::from_le_bytes(self.bytes()?)),
            12 => Value::from(f64::from_le_bytes(self.bytes()?)),
            _ => return Err(invalid(format!("unknown value type {kind}"))),
        })
    }

    fn array(&mut self) -> Result<Value, GgufError> {
        let kind = self.u32()?;
        let count = self.u64()?;
        let size =
            smallest_size(kind).ok_or_else(|| invalid(format!("array of unknown type {kind}")))?;
        let bytes = count.saturating_mul(size);
        if count > MAX_ARRAY || bytes > self.remaining() {
            return Err(invalid(format!("array of {count} elements is too long")));
        }
        let short = usize::try_from(count).is_ok_and(|count| count <= SHORT_ARRAY);
        let keep = (short || self.arrays == Arrays::All) && self.kept + count <= MAX_KEPT;
        if keep {
            self.kept += count;
            let items: Result<Vec<Value>, GgufError> =
                (0..count).map(|_| self.value(kind)).collect();
            return Ok(Value::Array(items?));
        }
        if kind == 8 {
            for _ in 0..count {
                let length = self.string_length()?;
                self.skip(length)?;
            }
        } else {
            self.skip(bytes)?;
        }
        Ok(Value::Null)
    }

    fn tensors(&mut self, count: u64) -> Result<Vec<Described>, GgufError> {
        let mut tensors = Vec::new();
        for _ in 0..count {
            let start = self.position;
            let name = self.string()?;
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
                kind: String::new(),
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

    /// A count of things that each take at least 13 bytes.
    fn count(&mut self, what: &str, limit: u64) -> Result<u64, GgufError> {
        let count = self.u64()?;
        if count > limit || count.saturating_mul(13) > self.remaining() {
            return Err(invalid(format!("{count} {what} do not fit")));
        }
        Ok(count)
    }

    fn string(&mut self) -> Result<String, GgufError> {
        let length = self.string_length()?;
        let mut bytes =
            vec![0; usize::try_from(length).map_err(|_| invalid("string is too long"))?];
        self.fill(&mut bytes)?;
        // Tokens may hold halves of characters; they are kept readable.
        Ok(match String::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
        })
    }

    fn string_length(&mut self) -> Result<u64, GgufError> {
        let length = self.u64()?;
        if length > MAX_STRING || length > self.remaining() {
            return Err(invalid(format!("string of {length} bytes is too long")));
        }
        Ok(length)
    }

    fn u32(&mut self) -> Result<u32, GgufError> {
        self.bytes().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, GgufError> {
        self.bytes().map(u64::from_le_bytes)
    }

    fn bytes<const N: usize>(&mut self) -> Result<[u8; N], GgufError> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    fn fill(&mut self, buffer: &mut [u8]) -> Result<(), GgufError> {
        self.advance(buffer.len() as u64)?;
        self.reader.read_exact(buffer).map_err(GgufError::from)
    }

    fn skip(&mut self, count: u64) -> Result<(), GgufError> {
        self.advance(count)?;
        let mut left = count;
        while left > 0 {
            let buffered = self.reader.fill_buf()?.len();
            if buffered == 0 {
                return Err(invalid("unexpected end of file"));
            }
            let step = usize::try_from(left).map_or(buffered, |left| left.min(buffered));
            self.reader.consume(step);
            left -= step as u64;
        }
        Ok(())
    }

    fn advance(&mut self, count: u64) -> Result<(), GgufError> {
        if count > self.remaining() {
            return Err(invalid("unexpected end of file"));
        }
        self.position += count;
        if self.position > MAX_HEADER {
            return Err(invalid("the header is too large"));
        }
        Ok(())
    }

    fn remaining(&self) -> u64 {
        self.file_size.saturating_sub(self.position)
    }
}

fn alignment(values: &Map<String, Value>) -> Result<u64, GgufError> {
    let Some(value) = values.get("general.alignment") else {
        return Ok(DEFAULT_ALIGNMENT);
    };
    value
        .as_u64()
        .filter(|alignment| alignment.is_power_of_two() && *alignment <= 1 << 20)
        .ok_or_else(|| invalid("`general.alignment` must be a power of two"))
}

fn check_tensors(
    tensors: Vec<Described>,
    data: u64,
    alignment: u64,
    file_size: u64,
) -> Result<(Vec<TensorInfo>, Vec<TensorLayout>), GgufError> {
    let mut names = HashSet::new();
    let mut checked = Vec::with_capacity(tensors.len());
    let mut laid_out = Vec::with_capacity(tensors.len());
    for described in tensors {
        let Described {
            mut tensor,
            code,
            description,
        } = described;
        let name = shown(&tensor.name);
        let kind = kind_of(code)
            .ok_or_else(|| invalid(format!("tensor `{name}` has unknown type {code}")))?;
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
        if !names.insert(tensor.name.clone()) {
            return Err(invalid(format!("tensor `{name}` is there twice")));
        }
        tensor.kind = kind.name.to_owned();
        checked.push(tensor);
        laid_out.push(TensorLayout {
            description,
            data: start..end,
        });
    }
    Ok((checked, laid_out))
}

/// Fewest bytes that an element of that type takes; `None` for unknown types and nested arrays.
fn smallest_size(kind: u32) -> Option<u64> {
    match kind {
        0 | 1 | 7 => Some(1),
        2 | 3 => Some(2),
        4..=6 => Some(4),
        8 | 10..=12 => Some(8),
        _ => None,
    }
}

/// The shortest decimal text of a single-precision number, as a double: 1e-6 stays 1e-6.
fn float(value: f32) -> Value {
    if value.fract() == 0.0 {
        return Value::from(f64::from(value));
    }
    value
        .to_string()
        .parse::<f64>()
        .map_or(Value::Null, Value::from)
}

fn invalid(reason: impl Into<String>) -> GgufError {
    GgufError::Invalid(reason.into())
}

/// A name from the file, short enough for a message.
fn shown(name: &str) -> String {
    name.chars().take(64).collect()
}
