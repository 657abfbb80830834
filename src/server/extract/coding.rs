//! Compressed bodies (`Content-Encoding`).
//!
//! *Invariant:* memory is reserved before it is written to, so that a small body cannot become a large one
//! unnoticed.

use std::io::Read;

use axum::http::{HeaderMap, header};
use flate2::read::MultiGzDecoder;

use super::memory::Share;
use super::too_large;
use crate::server::error::ApiError;

/// The largest window of zstd, as a power of two: what RFC 8878 asks every decoder to support. Clients that compress
/// ordinary bodies use less.
const WINDOW_LOG: u32 = 23;

/// Bytes that are decompressed at once.
const STEP: usize = 64 << 10;

/// A compression format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coding {
    Gzip,
    Zstd,
}

impl Coding {
    /// The coding that the headers name. Other codings are left alone, as in Ollama: such a body is not valid JSON.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        let name = headers.get(header::CONTENT_ENCODING)?.to_str().ok()?;
        match name.trim().to_ascii_lowercase().as_str() {
            "gzip" | "x-gzip" => Some(Self::Gzip),
            "zstd" => Some(Self::Zstd),
            _ => None,
        }
    }

    /// The bytes that decompression takes besides the result.
    pub(super) fn n_fixed(self, body: &[u8]) -> usize {
        match self {
            Self::Gzip => body.len(),
            Self::Zstd => body.len() + window(body).min(1 << WINDOW_LOG),
        }
    }

    /// Decompresses a body of at most `limit` bytes; `share` covers [`Self::n_fixed`]. Blocks.
    ///
    /// # Errors
    /// The body is damaged or too large, or there is not enough memory.
    pub(super) fn decode(
        self,
        body: &[u8],
        limit: usize,
        mut share: Share,
    ) -> Result<(Vec<u8>, Share), ApiError> {
        let broken = |_| ApiError::invalid("failed to decompress request body");
        let n_fixed = self.n_fixed(body);
        let mut reader: Box<dyn Read + '_> = match self {
            Self::Gzip => Box::new(MultiGzDecoder::new(body)),
            Self::Zstd => {
                let mut decoder = zstd::Decoder::with_buffer(body).map_err(broken)?;
                decoder.window_log_max(WINDOW_LOG).map_err(broken)?;
                // A second frame could have a larger window.
                Box::new(decoder.single_frame())
            }
        };
        let mut decoded = Vec::new();
        loop {
            share.try_grow(n_fixed + 2 * (decoded.len() + STEP))?;
            // At most doubles what is allocated.
            let step = reader.by_ref().take(STEP as u64);
            let n = { step }.read_to_end(&mut decoded).map_err(broken)?;
            if decoded.len() > limit {
                return Err(too_large(limit));
            }
            if n == 0 {
                break;
            }
        }
        drop(reader);
        decoded.shrink_to_fit();
        share.shrink(decoded.len());
        Ok((decoded, share))
    }
}

/// The window size in a zstd frame's header (RFC 8878, 3.1.1.1.2), or the content size if that is given instead.
fn window(body: &[u8]) -> usize {
    const UNKNOWN: usize = usize::MAX;
    let Some(&[descriptor, next, ..]) = body.get(4..) else {
        return UNKNOWN;
    };
    // One segment: the window is the content.
    if descriptor & 0x20 != 0 {
        let length = zstd::zstd_safe::get_frame_content_size(body);
        let length = length.ok().flatten();
        return length.map_or(UNKNOWN, |n| usize::try_from(n).unwrap_or(UNKNOWN));
    }
    let base = 1_usize << (10 + (next >> 3));
    base + base / 8 * usize::from(next & 7)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::error::ErrorKind;
    use crate::server::extract::memory::Memory;
    use crate::server::origin::Origin;

    fn share() -> Share {
        Memory::new(Some(64 << 20)).share(Origin::LOCAL)
    }

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        writer.write_all(text).unwrap();
        writer.finish().unwrap()
    }

    #[test]
    fn what_was_compressed_comes_back() {
        for length in [0, 1, STEP - 1, STEP, STEP + 1, 1 << 20] {
            let text = vec![b'x'; length];
            let bodies = [
                (Coding::Gzip, gzip(&text)),
                (Coding::Zstd, zstd::encode_all(&text[..], 3).unwrap()),
            ];
            for (coding, body) in bodies {
                let (decoded, _) = coding.decode(&body, 1 << 20, share()).unwrap();
                assert_eq!(decoded, text, "{coding:?} {length}");
                let refused = coding.decode(&body, length.saturating_sub(1), share());
                let too_large = refused.err().map(|error| error.kind);
                assert_eq!(too_large, (length > 0).then_some(ErrorKind::TooLarge));
            }
        }
    }

    #[test]
    fn a_bomb_costs_no_more_than_there_is() {
        // A gigabyte of zeros, compressed to some kilobytes; the limit is 64 MiB.
        let bomb = zstd::encode_all(std::io::repeat(0).take(1 << 30), 3).unwrap();
        assert!(bomb.len() < 1 << 20);
        let refused = Coding::Zstd.decode(&bomb, usize::MAX, share()).unwrap_err();
        assert!(matches!(
            refused.kind,
            ErrorKind::Overloaded | ErrorKind::TooLarge
        ));
        // A window that needs much memory at once.
        let mut writer = zstd::Encoder::new(Vec::new(), 3).unwrap();
        writer.window_log(27).unwrap();
        writer.write_all(&vec![0; 1 << 20]).unwrap();
        let wide = writer.finish().unwrap();
        let refused = Coding::Zstd.decode(&wide, usize::MAX, share()).unwrap_err();
        assert_eq!(refused.message, "failed to decompress request body");
    }

    #[test]
    fn what_is_damaged_is_refused() {
        let zstd = zstd::encode_all(&b"hello hello hello"[..], 3).unwrap();
        for (coding, body) in [
            (Coding::Gzip, b"{}".to_vec()),
            (Coding::Zstd, b"{}".to_vec()),
            (Coding::Gzip, gzip(b"hello")[..10].to_vec()),
            (Coding::Zstd, zstd[..zstd.len() - 2].to_vec()),
            (Coding::Gzip, Vec::new()),
        ] {
            let refused = coding.decode(&body, 1 << 20, share());
            assert!(refused.is_err(), "{coding:?} {body:?}");
        }
    }

    #[test]
    fn the_window_is_what_a_frame_says() {
        let whole = zstd::bulk::compress(&[1; 5000], 3).unwrap();
        assert_eq!(window(&whole), 5000);
        let streamed = zstd::encode_all(&[1; 5000][..], 3).unwrap();
        assert_eq!(window(&streamed), 2 << 20);
        assert_eq!(window(b"{}"), usize::MAX);
        assert_eq!(Coding::Zstd.n_fixed(b"{}"), 2 + (1 << WINDOW_LOG));
    }

    #[test]
    fn only_known_codings_count() {
        let of = |name: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_ENCODING, name.parse().unwrap());
            Coding::of(&headers)
        };
        assert_eq!(of("ZSTD"), Some(Coding::Zstd));
        assert_eq!(of("gzip"), Some(Coding::Gzip));
        assert_eq!(of("identity"), None);
        assert_eq!(of("br"), None);
        assert_eq!(Coding::of(&HeaderMap::new()), None);
    }
}
