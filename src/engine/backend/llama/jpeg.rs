//! Estimates what decoding a JPEG file takes, from its headers.
//!
//! Most files are decoded line by line. A file whose pixels come in several scans (mostly progressive ones) is
//! kept as coefficients until the last scan, two bytes for each, and every scan goes over all blocks, even a
//! scan of a few bytes.

/// What a file's headers say.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Work {
    /// Bytes of coefficients that are kept beside the pixels.
    pub(super) n_bytes: u64,
    pub(super) n_scans: usize,
}

/// Bytes of a coefficient.
const COEFFICIENT: u64 = 2;

/// Reads a file's segments. Broken ones are left to the decoder.
pub(super) fn work(file: &[u8]) -> Work {
    let mut work = Work::default();
    let mut frame = (0, false);
    let mut rest = file;
    while let Some((marker, behind)) = next(rest) {
        rest = behind;
        let has_length = !matches!(marker, 0x01 | 0xd0..=0xd8);
        let Some((length, _)) = rest.split_first_chunk().filter(|_| has_length) else {
            continue;
        };
        let length = usize::from(u16::from_be_bytes(*length));
        let data = rest.get(2..length).unwrap_or_default();
        match marker {
            // A frame header; three markers of this range are something else.
            0xc0..=0xcf if !matches!(marker, 0xc4 | 0xc8 | 0xcc) => {
                frame = (
                    n_coefficients(data).unwrap_or(0),
                    marker != 0xc0 && marker != 0xc1,
                );
            }
            0xda => work.n_scans += 1,
            0xd9 => break,
            _ => {}
        }
        rest = rest.get(length..).unwrap_or_default();
    }
    let (n_coefficients, is_progressive) = frame;
    if is_progressive || work.n_scans > 1 {
        work.n_bytes = n_coefficients * COEFFICIENT;
    }
    work
}

/// The next marker and what follows it; compressed data has no markers but restarts.
fn next(file: &[u8]) -> Option<(u8, &[u8])> {
    let mut rest = file;
    loop {
        let at = rest.iter().position(|&byte| byte == 0xff)?;
        rest = rest.get(at + 1..)?;
        match rest.first()? {
            0x00 | 0xff => {}
            marker => return Some((*marker, &rest[1..])),
        }
    }
}

/// Coefficients of a frame: blocks of eight by eight for each component, as far as its sampling goes.
fn n_coefficients(frame: &[u8]) -> Option<u64> {
    let side = |at: usize| {
        Some(u64::from(u16::from_be_bytes(
            *frame.get(at..)?.first_chunk()?,
        )))
    };
    let (height, width) = (side(1)?, side(3)?);
    let components = frame.get(6..)?.chunks_exact(3);
    let samplings = components.map(|component| {
        let sampling = component[1];
        (
            u64::from(sampling >> 4).max(1),
            u64::from(sampling & 15).max(1),
        )
    });
    let samplings: Vec<(u64, u64)> = samplings.take(4).collect();
    let most_across = samplings.iter().map(|(across, _)| *across).max()?;
    let most_down = samplings.iter().map(|(_, down)| *down).max()?;
    let units = width.div_ceil(8 * most_across) * height.div_ceil(8 * most_down);
    let blocks: u64 = samplings.iter().map(|(across, down)| across * down).sum();
    Some(units * blocks * 64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(marker: u8, data: &[u8]) -> Vec<u8> {
        let length = u16::try_from(data.len() + 2).unwrap().to_be_bytes();
        [&[0xff, marker], &length[..], data].concat()
    }

    fn frame(marker: u8, samplings: &[u8]) -> Vec<u8> {
        let mut data = vec![8];
        data.extend(600_u16.to_be_bytes());
        data.extend(800_u16.to_be_bytes());
        data.push(u8::try_from(samplings.len()).unwrap());
        data.extend(samplings.iter().flat_map(|sampling| [1, *sampling, 0]));
        segment(marker, &data)
    }

    fn file(frame: Vec<u8>, n_scans: usize) -> Vec<u8> {
        // An embedded thumbnail does not count.
        let thumbnail = segment(0xe1, &segment(0xda, &[0; 8]));
        let scan = [segment(0xda, &[0; 6]), vec![7, 0xff, 0x00, 0xff, 0xd3, 9]].concat();
        [
            vec![0xff, 0xd8],
            thumbnail,
            frame,
            scan.repeat(n_scans),
            vec![0xff, 0xd9, 0xff, 0xda],
        ]
        .concat()
    }

    #[test]
    fn coefficients_are_kept_where_there_are_several_scans() {
        let work_of =
            |marker, samplings: &[u8], n_scans| work(&file(frame(marker, samplings), n_scans));
        let expected = |n_bytes, n_scans| Work { n_bytes, n_scans };
        assert_eq!(work_of(0xc0, &[0x22, 0x11, 0x11], 1), expected(0, 1));
        // Subsampled colors: 1.5 values per pixel, whole units of 16 by 16.
        let n_bytes = 800 * 608 * 3;
        assert_eq!(work_of(0xc0, &[0x22, 0x11, 0x11], 3), expected(n_bytes, 3));
        assert_eq!(work_of(0xc2, &[0x22, 0x11, 0x11], 1), expected(n_bytes, 1));
        assert_eq!(
            work_of(0xc2, &[0x11, 0x11, 0x11], 10),
            expected(800 * 600 * 6, 10)
        );
        assert_eq!(work_of(0xc2, &[0x11], 900), expected(800 * 600 * 2, 900));
    }

    #[test]
    fn any_bytes_are_looked_through() {
        for file in [
            &b""[..],
            b"\xff",
            b"\xff\xc0",
            b"\xff\xc2\0\0",
            b"\xff\xc2\xff\xff\x08\0",
            b"\xff\xda\0\x01\xff\xda",
        ] {
            work(file);
        }
        assert_eq!(
            n_coefficients(&[8, 255, 255, 255, 255, 1, 0, 0xff, 0]),
            Some(4_308_609_600)
        );
    }
}
