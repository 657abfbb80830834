//! Reads a view.

use std::io::{self, Read, Seek, SeekFrom};

use super::View;
use super::segment::{Conversion, Pieces, Place, Segment};

/// About how many bytes are converted at once.
const CONVERTED: u64 = 1 << 16;

/// Bytes that are read at once to gather pieces from.
const RUN: u64 = 1 << 20;

/// Bytes at any place of a file.
pub trait ReadAt {
    /// Fills the buffer with the bytes from `offset` on.
    ///
    /// # Errors
    /// Fails when they cannot be read, or the file ends too early.
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;
}

impl ReadAt for std::fs::File {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        std::os::unix::fs::FileExt::read_exact_at(self, buffer, offset)
    }
}

impl ReadAt for fs_err::File {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        ReadAt::read_exact_at(self.file(), buffer, offset)
    }
}

impl ReadAt for [u8] {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let rest = usize::try_from(offset).ok().and_then(|at| self.get(at..));
        let bytes = rest.and_then(|rest| rest.get(..buffer.len()));
        buffer.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

impl<T: AsRef<[u8]>> ReadAt for io::Cursor<T> {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.get_ref().as_ref().read_exact_at(buffer, offset)
    }
}

impl<T: ReadAt + ?Sized> ReadAt for &T {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        (**self).read_exact_at(buffer, offset)
    }
}

/// Converts numbers of ggml's types.
pub trait Convert {
    /// Converts blocks of a type (by ggml's code) to numbers; false = the type is unknown.
    fn to_f32(&self, kind: u32, blocks: &[u8], numbers: &mut [f32]) -> bool;
}

/// Leaves all numbers zero: for code that reads only a header, and of the data after it at most what a buffer
/// prefetches.
#[derive(Debug, Clone, Copy)]
pub struct HeaderOnly;

impl Convert for HeaderOnly {
    fn to_f32(&self, _: u32, _: &[u8], _: &mut [f32]) -> bool {
        true
    }
}

/// A view over its file, which can be read like a file.
#[derive(Debug)]
pub struct Reader<'a, F, C> {
    file: F,
    view: &'a View,
    convert: C,
    /// The end of each segment.
    ends: Vec<u64>,
    position: u64,
}

impl<'a, F: ReadAt, C: Convert> Reader<'a, F, C> {
    pub fn new(file: F, view: &'a View, convert: C) -> Self {
        let segments = view.segments.iter();
        let ends = segments.scan(0, |end: &mut u64, segment| {
            *end = end.saturating_add(segment.n_bytes());
            Some(*end)
        });
        Self {
            file,
            convert,
            ends: ends.collect(),
            view,
            position: 0,
        }
    }

    /// Bytes of the view.
    pub fn n_bytes(&self) -> u64 {
        self.ends.last().copied().unwrap_or_default()
    }

    /// Fills the buffer from `offset` on, up to the view's end; returns the number of bytes.
    ///
    /// # Errors
    /// Fails when the original cannot be read, has become shorter, or has numbers of an unknown type.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let left = self.n_bytes().saturating_sub(offset);
        let wanted = usize::try_from(left).map_or(buffer.len(), |left| left.min(buffer.len()));
        let mut index = self.ends.partition_point(|end| *end <= offset);
        let mut done = 0;
        while done < wanted {
            let (Some(segment), Some(end)) = (self.view.segments.get(index), self.ends.get(index))
            else {
                break;
            };
            let at = offset + done as u64;
            let count = (wanted - done).min(usize::try_from(end - at).unwrap_or(usize::MAX));
            let within = at - (end - segment.n_bytes());
            self.fill(segment, &mut buffer[done..done + count], within)?;
            done += count;
            index += 1;
        }
        Ok(done)
    }

    /// Fills the buffer with bytes of a segment, which has at least as many.
    fn fill(&self, segment: &Segment, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        match segment {
            Segment::Bytes(bytes) => bytes.as_slice().read_exact_at(buffer, offset),
            Segment::Zeros(_) => {
                buffer.fill(0);
                Ok(())
            }
            Segment::Original {
                pieces,
                conversion: Conversion::None,
            } => self.copy(pieces, buffer, offset),
            Segment::Original { pieces, conversion } => {
                self.converted(pieces, *conversion, buffer, offset)
            }
        }
    }

    /// Copies bytes of pieces.
    fn copy(&self, pieces: &Pieces, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let mut done = 0;
        while done < buffer.len() {
            let place = pieces.locate(offset + done as u64);
            let place = place.ok_or(io::ErrorKind::UnexpectedEof)?;
            let target = &mut buffer[done..];
            let n_wanted = (target.len() as u64).div_ceil(pieces.length);
            let n_near = place.n_next.min(RUN / place.stride.max(1)).min(n_wanted);
            done += if n_near > 1 && place.is_whole(pieces) {
                self.gather(pieces, &place, n_near, target)?
            } else {
                let count = target.len().min(size(place.left)?);
                self.file.read_exact_at(&mut target[..count], place.at)?;
                count
            };
        }
        Ok(())
    }

    /// Copies short pieces that are close together: they are read with the bytes between them.
    fn gather(
        &self,
        pieces: &Pieces,
        place: &Place,
        n_pieces: u64,
        target: &mut [u8],
    ) -> io::Result<usize> {
        let n_bytes = (n_pieces - 1) * place.stride + pieces.length;
        let mut run = vec![0; size(n_bytes)?];
        self.file.read_exact_at(&mut run, place.at)?;
        let (stride, length) = (size(place.stride)?, size(pieces.length)?);
        let mut done = 0;
        for (piece, target) in run.chunks(stride).zip(target.chunks_mut(length)) {
            let count = target.len();
            target.copy_from_slice(&piece[..count]);
            done += count;
        }
        Ok(done)
    }

    /// Converts the blocks that contain the wanted bytes, some at a time.
    fn converted(
        &self,
        pieces: &Pieces,
        conversion: Conversion,
        buffer: &mut [u8],
        offset: u64,
    ) -> io::Result<()> {
        let (before, after) = conversion.block();
        let n_blocks = pieces.n_bytes() / before;
        let step = (CONVERTED / after).max(1);
        let mut done = 0;
        while done < buffer.len() {
            let at = offset + done as u64;
            let block = at / after;
            let count = step.min(n_blocks.saturating_sub(block));
            let mut blocks = vec![0; size(count * before)?];
            self.copy(pieces, &mut blocks, block * before)?;
            let result = self.convert(conversion, blocks)?;
            let skipped = size(at - block * after)?;
            let fresh = result.get(skipped..).unwrap_or_default();
            let fresh = &fresh[..fresh.len().min(buffer.len() - done)];
            if fresh.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            buffer[done..done + fresh.len()].copy_from_slice(fresh);
            done += fresh.len();
        }
        Ok(())
    }

    fn convert(&self, conversion: Conversion, mut blocks: Vec<u8>) -> io::Result<Vec<u8>> {
        match conversion {
            Conversion::None => Ok(blocks),
            Conversion::Mxfp4 => {
                for block in blocks.as_chunks_mut().0 {
                    reorder(block);
                }
                Ok(blocks)
            }
            Conversion::ToF32 {
                kind,
                block,
                n_bytes,
            } => {
                let n_blocks = blocks.len() / (n_bytes.max(1) as usize);
                let mut numbers = vec![0.0; n_blocks * block as usize];
                if !self.convert.to_f32(kind, &blocks, &mut numbers) {
                    let reason = format!("numbers of type {kind} cannot be converted");
                    return Err(io::Error::new(io::ErrorKind::Unsupported, reason));
                }
                Ok(numbers.into_iter().flat_map(f32::to_le_bytes).collect())
            }
        }
    }
}

impl<F: ReadAt, C: Convert> Read for Reader<'_, F, C> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.read_at(buffer, self.position)?;
        self.position += count as u64;
        Ok(count)
    }
}

impl<F: ReadAt, C: Convert> Seek for Reader<'_, F, C> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let place = match to {
            SeekFrom::Start(place) => Some(place),
            SeekFrom::Current(step) => self.position.checked_add_signed(step),
            SeekFrom::End(step) => self.n_bytes().checked_add_signed(step),
        };
        self.position = place.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}

/// ggml keeps number i of a block beside number i + 16; these blocks have neighboring numbers side by side.
fn reorder(block: &mut [u8; 17]) {
    let old = *block;
    for i in 1..=8 {
        let (a, b) = (old[i], old[i + 8]);
        block[2 * i - 1] = a & 0x0F | b << 4;
        block[2 * i] = a >> 4 | b & 0xF0;
    }
}

fn size(n_bytes: u64) -> io::Result<usize> {
    usize::try_from(n_bytes).map_err(|_| io::ErrorKind::OutOfMemory.into())
}
