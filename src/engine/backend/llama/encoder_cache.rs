//! Images that were encoded lately: a conversation sends all its images with each turn.

use std::collections::VecDeque;

use crate::engine::media::Piece;

/// Bytes of embeddings that are kept.
const MOST: usize = 256 << 20;

/// The least recently used one first.
#[derive(Debug, Default)]
pub(super) struct EncoderCache {
    /// What became of files, by their digests.
    images: VecDeque<(String, Vec<Piece>)>,
    n_bytes: usize,
}

impl EncoderCache {
    /// The image in the file with this digest.
    pub(super) fn find(&mut self, digest: &str) -> Option<Vec<Piece>> {
        let index = self.images.iter().position(|(known, _)| known == digest)?;
        let found = self.images.remove(index)?;
        let pieces = found.1.clone();
        self.images.push_back(found);
        Some(pieces)
    }

    /// Keeps an image, and as many of the others as there is room for.
    pub(super) fn keep(&mut self, digest: String, pieces: Vec<Piece>) {
        self.n_bytes += size(&pieces);
        self.images.push_back((digest, pieces));
        while self.n_bytes > MOST && self.images.len() > 1 {
            if let Some((_, gone)) = self.images.pop_front() {
                self.n_bytes -= size(&gone);
            }
        }
    }
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
    fn what_was_used_longest_ago_goes_first() {
        let mut cache = EncoderCache::default();
        for fingerprint in 0..3 {
            cache.keep(fingerprint.to_string(), image(fingerprint, MOST / 3 - 4));
        }
        let again = cache.find("0").unwrap();
        let Piece::Media(media) = &again[1] else {
            panic!("no image");
        };
        assert_eq!(media.tokens, tokens(0, 4, 4));
        cache.keep("3".to_owned(), image(3, MOST / 3 - 4));
        let kept = ["0", "1", "2", "3"].map(|digest| cache.find(digest).is_some());
        assert_eq!(kept, [true, false, true, true]);
    }
}
