//! The container: magic, counts, key/value pairs, tensor list.
//!
//! *Invariant:* memory used is bounded by the limits below, whatever the counts in the file say, and
//! so is the time: a header is walked through once, and up to its special tokens once more.

use std::collections::HashSet;
use std::hash::{BuildHasher as _, RandomState};
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::ops::Range;

use indexmap::IndexMap;

use super::layout::{Layout, PairLayout, TensorLayout};
use super::metadata::TOKENS;
use super::tensor::{Kind, kind_of};
use super::value::{Numbers, Scalar, Texts, Value};
use super::{GgufError, MAGIC, Metadata, SHORT_ARRAY, TensorInfo};

/// Bytes of a header: eight times the largest that is known (262,144 tokens with their merges).
const MAX_HEADER: u64 = 128 << 20;
/// Bytes of keys, texts and arrays that are kept in memory: twice the largest that is known.
const MAX_KEPT: u64 = 32 << 20;
/// Bytes of a text: chat templates have tens of kilobytes, compiled tables a few megabytes.
const MAX_STRING: u64 = 16 << 20;
/// The longest key in bytes: the limit of GGUF itself.
const MAX_KEY: u64 = (1 << 16) - 1;
/// Bytes of an architecture's name, which begins most keys.
const MAX_ARCHITECTURE: usize = 64;
/// Keys of a file; real ones have up to a few hundred.
const MAX_KEYS: u64 = 1 << 14;
/// Tensors of a file: more than a model of 60 layers with 256 experts that lie one by one.
const MAX_TENSORS: u64 = 1 << 16;
/// Bytes of a tensor's name; llama.cpp itself takes 63.
const MAX_NAME: u64 = 1 << 10;
const MAX_DIMENSIONS: u32 = 4;
const DEFAULT_ALIGNMENT: u64 = 32;
/// Bytes; pages of memory have up to 64 KiB, and tensors are padded to it one by one.
const MAX_ALIGNMENT: u64 = 1 << 16;
/// Special tokens whose texts are kept; there are about ten.
const MAX_SPECIAL: usize = 32;

/// The number of the type of texts, and of arrays.
const TEXT: u32 = 8;
const ARRAY: u32 = 9;

/// How much of a header becomes values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Depth {
    /// No long arrays.
    Brief,
    /// The same, but every token of the vocabulary is looked at.
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
    /// Bytes of what became values so far.
    n_kept: u64,
    depth: Depth,
    /// Where the first token of a vocabulary lies that was not kept.
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

    /// Reads the pairs into `values`; returns where they lie.
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
            // Of the length of a text.
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

    /// Reads texts; once they are too much to be kept, the rest is passed over.
    fn texts(&mut self, count: u64, key: &str, mut keep: bool) -> Result<Value, GgufError> {
        let is_vocabulary = key == TOKENS;
        let (first, n_kept) = (self.position, self.n_kept);
        let mut seen = Seen::default();
        let (mut bytes, mut ends) = (Vec::new(), Vec::new());
        for index in 0..count {
            let length = self.string_length(MAX_STRING)?;
            keep = keep && self.keep(length + size_of::<u32>() as u64).is_ok();
            if !keep {
                (bytes, ends) = (Vec::new(), Vec::new());
                self.n_kept = n_kept;
            }
            let is_checked = is_vocabulary && self.depth == Depth::Checked;
            if !keep && !is_checked {
                self.skip(length)?;
                continue;
            }
            let text = self.bytes_of(length)?;
            if is_checked {
                seen.check(index, &text)?;
            }
            if keep {
                bytes.extend(text);
                ends.push(u32::try_from(bytes.len()).map_err(|_| invalid("too much text"))?);
            }
        }
        if keep {
            return Ok(Value::Texts(Texts::new(bytes, ends)));
        }
        if is_vocabulary {
            self.tokens = Some(first);
        }
        Ok(Value::Omitted {
            n_elements: count,
            is_text: true,
        })
    }

    /// The texts of the tokens that keys name, out of a vocabulary that was passed over.
    fn special_tokens(&mut self, metadata: &Metadata) -> Result<Vec<(u64, Box<str>)>, GgufError> {
        let (Some(first), Some(n_tokens)) = (self.tokens, metadata.n_tokens()) else {
            return Ok(Vec::new());
        };
        let named = metadata.values.iter().filter_map(|(key, value)| {
            let is_token = key.starts_with("tokenizer.ggml.") && key.ends_with("_token_id");
            value.as_u64().filter(|id| is_token && *id < n_tokens)
        });
        let mut ids: Vec<u64> = named.take(MAX_SPECIAL).collect();
        ids.sort_unstable();
        ids.dedup();
        self.reader.seek(SeekFrom::Start(first))?;
        self.position = first;
        let mut next = 0;
        let mut found = Vec::with_capacity(ids.len());
        for id in ids {
            for _ in next..id {
                let length = self.string_length(MAX_STRING)?;
                self.skip(length)?;
            }
            next = id + 1;
            found.push((id, self.kept_string(MAX_STRING)?));
        }
        Ok(found)
    }

    fn tensors(&mut self, count: u64) -> Result<Vec<Described>, GgufError> {
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

    /// A count of things that each take at least 13 bytes.
    fn count(&mut self, what: &str, limit: u64) -> Result<u64, GgufError> {
        let count = self.u64()?;
        if count > limit || count.saturating_mul(13) > self.remaining() {
            return Err(invalid(format!("{count} {what} do not fit")));
        }
        Ok(count)
    }

    fn kept_string(&mut self, limit: u64) -> Result<Box<str>, GgufError> {
        let text = self.string(limit)?;
        self.keep(text.len() as u64)?;
        Ok(text.into())
    }

    fn string(&mut self, limit: u64) -> Result<String, GgufError> {
        let length = self.string_length(limit)?;
        Ok(match String::from_utf8(self.bytes_of(length)?) {
            Ok(text) => text,
            Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
        })
    }

    fn string_length(&mut self, limit: u64) -> Result<u64, GgufError> {
        let length = self.u64()?;
        if length > limit || length > self.remaining() {
            return Err(invalid(format!("string of {length} bytes is too long")));
        }
        Ok(length)
    }

    /// Counts what stays in memory.
    fn keep(&mut self, n_bytes: u64) -> Result<(), GgufError> {
        let n_kept = self.n_kept.saturating_add(n_bytes);
        if n_kept > MAX_KEPT {
            return Err(invalid("the header holds too much text"));
        }
        self.n_kept = n_kept;
        Ok(())
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

    /// Bytes of a length that was checked.
    fn bytes_of(&mut self, length: u64) -> Result<Vec<u8>, GgufError> {
        let length = usize::try_from(length).map_err(|_| invalid("string is too long"))?;
        let mut bytes = vec![0; length];
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

/// Tokens seen so far, as numbers that nobody outside can make equal.
#[derive(Default)]
struct Seen {
    hashes: HashSet<u64>,
    hasher: RandomState,
}

impl Seen {
    /// llama.cpp ends its process over a token that is there twice. It reads tokens up to a zero byte
    /// and gives empty ones names.
    fn check(&mut self, index: u64, token: &[u8]) -> Result<(), GgufError> {
        let end = token.iter().position(|byte| *byte == 0);
        let token = &token[..end.unwrap_or(token.len())];
        let name = token.is_empty().then(|| format!("[EMPTY_{index}]"));
        let token = name.as_ref().map_or(token, String::as_bytes);
        if self.hashes.insert(self.hasher.hash_one(token)) {
            return Ok(());
        }
        let token = String::from_utf8_lossy(token);
        Err(invalid(format!(
            "token {:?} is in the vocabulary twice",
            shown(&token)
        )))
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

fn check_tensors(
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

/// Where a tensor lies, which must be within the file.
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

fn invalid(reason: impl Into<String>) -> GgufError {
    GgufError::Invalid(reason.into())
}

/// A name from the file, short enough for a message.
fn shown(name: &str) -> String {
    name.chars().take(64).collect()
}
