//! The container: magic, counts, key/value pairs, tensor list.
//!
//! *Invariant:* memory is bounded by the limits here and in the files below, whatever counts the file claims.
//! So is time: a header is read once, and up to its special tokens once more.

mod bytes;
mod tensors;
mod vocabulary;

use std::io::{BufReader, Read, Seek, SeekFrom};

use indexmap::IndexMap;

use super::layout::{Layout, PairLayout};
use super::value::{Numbers, Scalar, Value};
use super::{GgufError, MAGIC, Metadata, SHORT_ARRAY};
use tensors::check_tensors;

/// Bytes of a text: chat templates have tens of kilobytes, compiled tables a few megabytes.
const MAX_STRING: u64 = 16 << 20;
/// The longest key in bytes: the limit of GGUF itself.
const MAX_KEY: u64 = (1 << 16) - 1;
/// Bytes of an architecture's name, the prefix of most keys.
const MAX_ARCHITECTURE: usize = 64;
/// Keys of a file; real ones have up to a few hundred.
const MAX_KEYS: u64 = 1 << 14;
/// Tensors of a file: more than a model of 60 layers with 256 separately stored experts has.
const MAX_TENSORS: u64 = 1 << 16;
const DEFAULT_ALIGNMENT: u64 = 32;
/// Bytes; memory pages have up to 64 KiB, and each tensor is padded to the alignment.
const MAX_ALIGNMENT: u64 = 1 << 16;

/// The type codes of texts and of arrays.
const TEXT: u32 = 8;
const ARRAY: u32 = 9;

/// How much of a header becomes values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Depth {
    /// No long arrays.
    Brief,
    /// The same, but every token of the vocabulary is checked.
    Checked,
    /// All of it.
    Whole,
}

pub(super) fn read(
    reader: &mut (impl Read + Seek),
    depth: Depth,
) -> Result<(Metadata, Layout), GgufError> {
    let file_size = reader.seek(SeekFrom::End(0))?;
    reader.seek(SeekFrom::Start(0))?;
    let mut header = Header {
        reader: BufReader::with_capacity(1 << 16, reader),
        position: 0,
        file_size,
        n_kept: 0,
        depth,
        tokens: None,
    };
    header.read()
}

struct Header<R> {
    reader: BufReader<R>,
    position: u64,
    file_size: u64,
    /// Bytes that are kept in memory so far.
    n_kept: u64,
    depth: Depth,
    /// Where the first token lies, if the vocabulary was not kept.
    tokens: Option<u64>,
}

impl<R: Read + Seek> Header<R> {
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
        let n_tensors = self.count("tensors", MAX_TENSORS)?;
        let n_keys = self.count("keys", MAX_KEYS)?;
        let mut values = IndexMap::new();
        let pairs = self.pairs(n_keys, &mut values)?;
        let alignment = alignment(&values)?;
        let tensors = self.tensors(n_tensors)?;
        let data = self.position.div_ceil(alignment).saturating_mul(alignment);
        let (tensors, laid_out) = check_tensors(tensors, data, alignment, self.file_size)?;
        let mut metadata = Metadata {
            values,
            tensors,
            file_size: self.file_size,
            special_tokens: Vec::new(),
        };
        if metadata.architecture().len() > MAX_ARCHITECTURE {
            return Err(invalid("the name of the architecture is too long"));
        }
        metadata.special_tokens = self.special_tokens(&metadata)?;
        let layout = Layout {
            version,
            alignment,
            pairs,
            tensors: laid_out,
        };
        Ok((metadata, layout))
    }

    /// Reads the pairs into `values`; returns their ranges.
    fn pairs(
        &mut self,
        count: u64,
        values: &mut IndexMap<Box<str>, Value>,
    ) -> Result<Vec<PairLayout>, GgufError> {
        let mut pairs = Vec::new();
        for _ in 0..count {
            let start = self.position;
            let key = self.kept_string(MAX_KEY)?;
            let value_start = self.position;
            let kind = self.u32()?;
            let value = match kind {
                TEXT => Value::Text(self.kept_string(MAX_STRING)?),
                ARRAY => self.array(&key)?,
                code => {
                    let kind = Scalar::of_code(code);
                    let kind = kind.ok_or_else(|| invalid(format!("unknown value type {code}")))?;
                    let mut bytes = [0; 8];
                    let bytes = &mut bytes[..kind.width()];
                    self.fill(bytes)?;
                    kind.value(bytes)
                }
            };
            if values.contains_key(&key) {
                return Err(invalid(format!("key `{}` is there twice", shown(&key))));
            }
            pairs.push(PairLayout {
                key: key.clone(),
                kind,
                pair: start..self.position,
                value: value_start..self.position,
            });
            values.insert(key, value);
        }
        Ok(pairs)
    }

    fn array(&mut self, key: &str) -> Result<Value, GgufError> {
        let code = self.u32()?;
        let count = self.u64()?;
        let kind = Scalar::of_code(code);
        let width = match kind {
            Some(kind) => kind.width() as u64,
            // The length of a text takes 8 bytes.
            None if code == TEXT => 8,
            None => return Err(invalid(format!("array of unknown type {code}"))),
        };
        let n_bytes = count.saturating_mul(width);
        if n_bytes > self.remaining() {
            return Err(invalid(format!("array of {count} elements is too long")));
        }
        let is_short = usize::try_from(count).is_ok_and(|count| count <= SHORT_ARRAY);
        let keep = is_short || self.depth == Depth::Whole;
        match kind {
            Some(kind) if keep && self.keep(n_bytes).is_ok() => {
                let bytes = self.bytes_of(n_bytes)?;
                Ok(Value::Numbers(Numbers::new(kind, bytes.into())))
            }
            Some(_) => {
                self.skip(n_bytes)?;
                Ok(Value::Omitted {
                    n_elements: count,
                    is_text: false,
                })
            }
            None => self.texts(count, key, keep),
        }
    }

    /// Reads a count of items that take at least 13 bytes each.
    fn count(&mut self, what: &str, limit: u64) -> Result<u64, GgufError> {
        let count = self.u64()?;
        if count > limit || count.saturating_mul(13) > self.remaining() {
            return Err(invalid(format!("{count} {what} do not fit")));
        }
        Ok(count)
    }
}

fn alignment(values: &IndexMap<Box<str>, Value>) -> Result<u64, GgufError> {
    let Some(value) = values.get("general.alignment") else {
        return Ok(DEFAULT_ALIGNMENT);
    };
    value
        .as_u64()
        .filter(|alignment| alignment.is_power_of_two() && *alignment <= MAX_ALIGNMENT)
        .ok_or_else(|| {
            invalid(format!(
                "`general.alignment` must be a power of two, at most {MAX_ALIGNMENT}"
            ))
        })
}

fn invalid(reason: impl Into<String>) -> GgufError {
    GgufError::Invalid(reason.into())
}

/// A name from the file, short enough for a message.
fn shown(name: &str) -> String {
    name.chars().take(64).collect()
}
