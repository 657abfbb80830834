//! A cache of recently encoded images: a conversation sends all its images with each turn.

use quick_cache::Weighter;
use quick_cache::unsync::Cache;

use crate::engine::media::Piece;

/// Most bytes of embeddings that are cached.
const MOST: u64 = 256 << 20;

/// How many images of a usual size (256 rows of 2,560 numbers) are cached.
const N_USUAL: usize = 100;

/// The encoded pieces of files, by digest.
pub(super) type EncoderCache = Cache<String, Vec<Piece>, Weight>;

/// Measures cached pieces in bytes.
#[derive(Debug, Clone)]
pub(super) struct Weight;

impl Weighter<String, Vec<Piece>> for Weight {
    fn weight(&self, _: &String, pieces: &Vec<Piece>) -> u64 {
        size(pieces).max(1) as u64
    }
}

/// Makes an empty cache.
pub(super) fn new() -> EncoderCache {
    Cache::with_weighter(N_USUAL, MOST, Weight)
}

fn size(pieces: &[Piece]) -> usize {
    let sizes = pieces.iter().map(|piece| match piece {
        Piece::Tokens(tokens) => size_of_val(tokens.as_slice()),
        Piece::Media(media) => size_of_val(media.rows.embeddings.as_slice()),
    });
    sizes.sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::media::{Media, Rows, tokens};

    fn image(fingerprint: u64, n_bytes: usize) -> Vec<Piece> {
        let media = Media {
            tokens: tokens(fingerprint, 4, 4),
            rows: Rows {
                embeddings: vec![0.0; n_bytes / 4],
                ..Rows::default()
            },
        };
        vec![Piece::Tokens(vec![1]), Piece::Media(media.into())]
    }

    #[test]
    fn what_is_kept_has_a_bound() {
        let mut cache = new();
        let n_bytes = usize::try_from(MOST).unwrap() / 3 - 8;
        for fingerprint in 0..8 {
            cache.insert(fingerprint.to_string(), image(fingerprint, n_bytes));
        }
        assert!(cache.weight() <= MOST && cache.len() <= 3);
        let Piece::Media(media) = &cache.get("7").unwrap()[1] else {
            panic!("no image");
        };
        assert_eq!(media.tokens, tokens(7, 4, 4));
    }
}
