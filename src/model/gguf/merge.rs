//! Joins the parts of a split file into one, as `llama-gguf-split --merge` does.
//!
//! The output has the first part's pairs without `split.*`, then the descriptions of all tensors in the order
//! of the parts, then their data. Everything but counts and offsets is copied unchanged, a piece at a time.

use std::io::{self, BufReader, BufWriter, Read as _, Seek as _, SeekFrom, Write};
use std::ops::Range;
use std::path::PathBuf;

use super::layout::Layout;
use super::reader::{self, Depth};
use super::{GgufError, MAGIC};

/// Bytes that are read and written at once.
const PIECE: usize = 1 << 20;

/// How much larger a part may become in the output: parts with another alignment than the first one are padded
/// anew.
const PADDING_FACTOR: u64 = 2;

const SPLIT_KEYS: [&str; 3] = ["split.no", "split.count", "split.tensors.count"];

/// The plan of a file that is merged from parts.
#[derive(Debug)]
pub struct Merge {
    parts: Vec<(PathBuf, Layout)>,
    /// The pairs to copy from the first part.
    pairs: Vec<Range<u64>>,
    alignment: u64,
}

impl Merge {
    /// Reads the headers of the parts, given in order.
    ///
    /// # Errors
    /// Fails when a part is not a readable GGUF file, or would change its size too much in a merge.
    pub fn plan(paths: Vec<PathBuf>) -> Result<Self, GgufError> {
        let mut parts = Vec::with_capacity(paths.len());
        let mut pairs = Vec::new();
        let mut alignment = 0;
        for path in paths {
            let (metadata, layout) = reader::read(&mut fs_err::File::open(&path)?, Depth::Brief)?;
            if parts.is_empty() {
                alignment = layout.alignment;
                let below = format!("{}.", metadata.architecture());
                let is_split = |key: &str| {
                    let key = key.strip_prefix(&below).unwrap_or(key);
                    SPLIT_KEYS.contains(&key)
                };
                let kept = layout.pairs.iter().filter(|pair| !is_split(&pair.key));
                pairs = kept.map(|pair| pair.pair.clone()).collect();
            }
            let data = || layout.tensors.iter().map(|tensor| length(&tensor.data));
            let padded = data().map(|length| length.next_multiple_of(alignment));
            let n_bytes = data().fold(0, u64::saturating_add);
            let n_padded = padded.fold(0, u64::saturating_add);
            let size = metadata.file_size;
            if n_bytes > size || n_padded > size.saturating_mul(PADDING_FACTOR) + alignment {
                let number = parts.len() + 1;
                return Err(GgufError::Invalid(format!(
                    "tensors of part {number} overlap"
                )));
            }
            parts.push((path, layout));
        }
        Ok(Self {
            parts,
            pairs,
            alignment,
        })
    }

    /// Bytes of the whole file.
    pub fn size(&self) -> u64 {
        let pairs: u64 = self.pairs.iter().map(length).sum();
        let tensors = self.parts.iter().flat_map(|(_, layout)| &layout.tensors);
        let (mut header, mut data) = (FIXED + pairs, 0);
        for tensor in tensors {
            header += length(&tensor.description) + OFFSET;
            data += length(&tensor.data).next_multiple_of(self.alignment);
        }
        header.next_multiple_of(self.alignment) + data
    }

    /// Writes the file; reports the number of bytes to `progress`.
    ///
    /// # Errors
    /// Fails when a part cannot be read (any more) or the file cannot be written.
    pub fn write(&self, target: impl Write, progress: &mut dyn FnMut(u64)) -> io::Result<()> {
        let Some((first, layout)) = self.parts.first() else {
            return Ok(());
        };
        let mut output = Output {
            target: BufWriter::with_capacity(PIECE, target),
            position: 0,
            piece: vec![0; PIECE],
            progress,
        };
        let n_tensors: usize = self.parts.iter().map(|(_, part)| part.tensors.len()).sum();
        output.write(&MAGIC)?;
        output.write(&layout.version.to_le_bytes())?;
        output.write(&(n_tensors as u64).to_le_bytes())?;
        output.write(&(self.pairs.len() as u64).to_le_bytes())?;
        let mut part = open(first)?;
        for pair in &self.pairs {
            output.copy(&mut part, pair)?;
        }
        let mut offset: u64 = 0;
        for (path, layout) in &self.parts {
            let mut part = open(path)?;
            for tensor in &layout.tensors {
                output.copy(&mut part, &tensor.description)?;
                output.write(&offset.to_le_bytes())?;
                offset += length(&tensor.data).next_multiple_of(self.alignment);
            }
        }
        output.pad(self.alignment)?;
        for (path, layout) in &self.parts {
            let mut part = open(path)?;
            for tensor in &layout.tensors {
                output.copy(&mut part, &tensor.data)?;
                output.pad(self.alignment)?;
            }
        }
        output.target.flush()
    }
}

/// Magic, version and the two counts.
const FIXED: u64 = 24;

/// Bytes of a tensor's data offset.
const OFFSET: u64 = 8;

fn length(range: &Range<u64>) -> u64 {
    range.end - range.start
}

fn open(path: &PathBuf) -> io::Result<BufReader<fs_err::File>> {
    Ok(BufReader::new(fs_err::File::open(path)?))
}

struct Output<'a, W: Write> {
    target: BufWriter<W>,
    position: u64,
    piece: Vec<u8>,
    progress: &'a mut dyn FnMut(u64),
}

impl<W: Write> Output<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.target.write_all(bytes)?;
        self.position += bytes.len() as u64;
        Ok(())
    }

    fn copy(&mut self, from: &mut BufReader<fs_err::File>, bytes: &Range<u64>) -> io::Result<()> {
        let here = from.stream_position()?;
        // A relative seek keeps the buffer.
        match i64::try_from(i128::from(bytes.start) - i128::from(here)) {
            Ok(step) => from.seek_relative(step)?,
            Err(_) => drop(from.seek(SeekFrom::Start(bytes.start))?),
        }
        let mut left = length(bytes);
        while left > 0 {
            let count = usize::try_from(left).map_or(PIECE, |left| left.min(PIECE));
            let piece = &mut self.piece[..count];
            from.read_exact(piece)?;
            self.target.write_all(piece)?;
            left -= count as u64;
            self.position += count as u64;
            (self.progress)(self.position);
        }
        Ok(())
    }

    fn pad(&mut self, alignment: u64) -> io::Result<()> {
        let missing = self.position.next_multiple_of(alignment) - self.position;
        io::copy(&mut io::repeat(0).take(missing), &mut self.target)?;
        self.position += missing;
        Ok(())
    }
}
