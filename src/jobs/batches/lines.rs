//! Reads lines of a file with bounded memory. Blocks.

use std::io::{self, BufRead};

/// The next item of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Read {
    /// A line of this many bytes, including its end. It is in the buffer.
    Line(u64),
    /// A line that is longer than allowed; it was skipped.
    TooLong(u64),
    End,
}

/// Reads the next line into the buffer, if it has at most `most` bytes.
///
/// # Errors
/// Those of the reader.
pub(super) fn next(
    reader: &mut impl BufRead,
    buffer: &mut Vec<u8>,
    most: usize,
) -> io::Result<Read> {
    buffer.clear();
    let mut n_bytes = 0_u64;
    loop {
        let available = reader.fill_buf()?;
        let end = memchr::memchr(b'\n', available);
        let piece = &available[..end.map_or(available.len(), |at| at + 1)];
        let n = piece.len();
        n_bytes += n as u64;
        if n_bytes <= most as u64 {
            buffer.extend_from_slice(piece);
        } else {
            *buffer = Vec::new();
        }
        reader.consume(n);
        if end.is_none() && n > 0 {
            continue;
        }
        return Ok(if n_bytes == 0 {
            Read::End
        } else if n_bytes > most as u64 {
            Read::TooLong(n_bytes)
        } else {
            Read::Line(n_bytes)
        });
    }
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use super::*;

    fn all(text: &[u8], capacity: usize) -> Vec<(Read, Vec<u8>)> {
        let mut reader = BufReader::with_capacity(capacity, text);
        let mut buffer = Vec::new();
        let mut found = Vec::new();
        loop {
            let read = next(&mut reader, &mut buffer, 4).unwrap();
            if read == Read::End {
                return found;
            }
            found.push((read, buffer.clone()));
        }
    }

    #[test]
    fn lines_are_read_and_long_ones_skipped() {
        for capacity in [1, 3, 100] {
            let found = all(b"ab\n\nlong line\nabc\nabcd\nx", capacity);
            let expected = [
                (Read::Line(3), b"ab\n".to_vec()),
                (Read::Line(1), b"\n".to_vec()),
                (Read::TooLong(10), Vec::new()),
                (Read::Line(4), b"abc\n".to_vec()),
                (Read::TooLong(5), Vec::new()),
                (Read::Line(1), b"x".to_vec()),
            ];
            assert_eq!(found, expected, "{capacity}");
        }
        assert_eq!(all(b"", 3), []);
    }
}
