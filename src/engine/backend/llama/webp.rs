//! Reads the sizes of the frames in a WebP file.
//!
//! A file in the extended format starts with the image's size, but the decoder trusts each frame's own size: it
//! decodes a frame before it notices that the frame does not fit.

/// The error for a file that is shorter than its chunks claim.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Cut;

/// Width and height of every frame with lossy compression; the others are checked by the decoder.
///
/// # Errors
/// A chunk claims to extend past the end of the file. The decoder would allocate memory for it.
pub(super) fn frames(file: &[u8]) -> Result<Vec<(u32, u32)>, Cut> {
    let mut sizes = Vec::new();
    let Some(chunks) = file.get(12..) else {
        return Ok(sizes);
    };
    for chunk in Chunks(chunks) {
        let (name, data) = chunk?;
        match name {
            b"VP8 " => sizes.extend(size(data)),
            b"ANMF" => {
                for chunk in Chunks(data.get(16..).unwrap_or_default()) {
                    let (name, data) = chunk?;
                    if name == b"VP8 " {
                        sizes.extend(size(data));
                    }
                }
            }
            _ => {}
        }
    }
    Ok(sizes)
}

/// Reads a frame's size from its header, after three bytes and a three-byte signature.
fn size(frame: &[u8]) -> Option<(u32, u32)> {
    let side = |at: usize| {
        let bytes = frame.get(at..)?.first_chunk()?;
        Some(u32::from(u16::from_le_bytes(*bytes) & 0x3fff))
    };
    Some((side(6)?, side(8)?))
}

/// The chunks of a RIFF file: a name, a length, that many bytes, one more if the length is odd.
struct Chunks<'a>(&'a [u8]);

impl<'a> Iterator for Chunks<'a> {
    type Item = Result<(&'a [u8; 4], &'a [u8]), Cut>;

    fn next(&mut self) -> Option<Self::Item> {
        let (name, rest) = self.0.split_first_chunk::<4>()?;
        let (length, rest) = rest.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
        let Some((data, rest)) = rest.split_at_checked(length) else {
            self.0 = &[];
            return Some(Err(Cut));
        };
        self.0 = rest.get(length % 2..).unwrap_or_default();
        Some(Ok((name, data)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(name: &[u8; 4], data: &[u8]) -> Vec<u8> {
        let length = u32::try_from(data.len()).unwrap().to_le_bytes();
        let pad = &[0][..data.len() % 2];
        [&name[..], &length, data, pad].concat()
    }

    fn file(chunks: &[Vec<u8>]) -> Vec<u8> {
        let head: &[u8] = b"RIFF\0\0\0\0WEBP";
        [head, &chunks.concat()].concat()
    }

    fn frame(width: u16, height: u16) -> Vec<u8> {
        let sides = [width.to_le_bytes(), height.to_le_bytes()].concat();
        let data = [&[0, 0, 0, 0x9d, 0x01, 0x2a], &sides[..], &[0; 3]].concat();
        chunk(b"VP8 ", &data)
    }

    #[test]
    fn frames_are_found_wherever_they_are() {
        let animated = [vec![0; 16], frame(30, 40)].concat();
        let parts = [
            chunk(b"VP8X", &[0; 10]),
            chunk(b"EXIF", b"odd"),
            frame(16383, 2),
            chunk(b"ANMF", &animated),
        ];
        assert_eq!(frames(&file(&parts)), Ok(vec![(16383, 2), (30, 40)]));
        assert_eq!(frames(b"RIFF"), Ok(vec![]));
    }

    #[test]
    fn pieces_end_within_the_file() {
        let mut whole = file(&[frame(1, 1), chunk(b"EXIF", b"even")]);
        assert!(frames(&whole).is_ok());
        whole.truncate(whole.len() - 1);
        assert_eq!(frames(&whole), Err(Cut));
    }
}
