//! The fake's encoder: an image is any file that begins with `image`; it takes a row for each byte.
//!
//! A file that begins with `image slow` takes 20 ms to encode.
//!
//! Half of the rows share a position, as with models that count only an image's longer side. An image does not
//! matter to the answers, but the cache must hold it.

use std::thread;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::engine::backend::{MediaEncoder, Room};
use crate::engine::media::{self, Media, Piece, Rows};
use crate::protocol::{Failure, FailureKind, PromptPart};

const SLOW: Duration = Duration::from_millis(20);

/// Encodes images.
#[derive(Debug)]
pub(super) struct Reader;

impl MediaEncoder for Reader {
    fn check(&self, _parts: &[PromptPart]) -> Result<(), Failure> {
        Ok(())
    }

    fn encode_file(&mut self, file: &str, _room: Room) -> Result<Vec<Piece>, Failure> {
        Ok(vec![Piece::Media(image(file)?.into())])
    }
}

fn image(text: &str) -> Result<Media, Failure> {
    let bytes = STANDARD.decode(text).unwrap_or_default();
    if !bytes.starts_with(b"image") {
        return Err(Failure {
            kind: FailureKind::Invalid,
            message: "this is no image".to_owned(),
        });
    }
    if bytes.starts_with(b"image slow") {
        thread::park_timeout(SLOW);
    }
    let fingerprint = bytes.iter().fold(7_u64, |sum, &byte| {
        sum.wrapping_mul(31).wrapping_add(u64::from(byte))
    });
    Ok(Media {
        tokens: media::tokens(fingerprint, bytes.len(), bytes.len().div_ceil(2)),
        rows: Rows::default(),
    })
}
