//! The stand-in's eyes: an image is any file that begins with `image`; it takes a row for each byte.
//!
//! Half of the rows share a position, as with models that count an image's longer side only. What it
//! shows does not matter to the answers, but the cache must hold it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::vocab;
use crate::engine::backend::MediaReader;
use crate::engine::media::{self, Media, Piece, Rows};
use crate::protocol::{Failure, FailureKind, PromptPart};

/// Reads prompts.
#[derive(Debug)]
pub(super) struct Reader {
    pub(super) add_bos: bool,
}

impl MediaReader for Reader {
    fn read(&mut self, parts: &[PromptPart], add_special: bool) -> Result<Vec<Piece>, Failure> {
        let mut pieces = Vec::new();
        // Like libmtmd, in one piece with the text that follows.
        let mut tokens = Vec::new();
        if add_special && self.add_bos {
            tokens.push(vocab::BOS);
        }
        for part in parts {
            match part {
                PromptPart::Text(text) => tokens.extend(vocab::tokenize(text, true)),
                PromptPart::Tokens(more) => tokens.extend(more),
                PromptPart::Media(text) => {
                    pieces.push(Piece::Tokens(std::mem::take(&mut tokens)));
                    pieces.push(Piece::Media(image(text)?.into()));
                }
            }
        }
        pieces.push(Piece::Tokens(tokens));
        Ok(pieces)
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
    let fingerprint = bytes.iter().fold(7_u64, |sum, &byte| {
        sum.wrapping_mul(31).wrapping_add(u64::from(byte))
    });
    Ok(Media {
        tokens: media::tokens(fingerprint, bytes.len(), bytes.len().div_ceil(2)),
        rows: Rows::default(),
    })
}
