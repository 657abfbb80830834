//! Images that were encoded lately: a conversation sends all its images with each turn.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::engine::media::Media;

/// Bytes of embeddings that are kept.
const MOST: usize = 256 << 20;

/// The least recently used one first.
#[derive(Debug, Default)]
pub(super) struct Recall {
    images: VecDeque<(u64, Arc<Media>)>,
    n_bytes: usize,
}

impl Recall {
    /// The image with this fingerprint.
    pub(super) fn find(&mut self, fingerprint: u64) -> Option<Arc<Media>> {
        let index = self
            .images
            .iter()
            .position(|(known, _)| *known == fingerprint)?;
        let found = self.images.remove(index)?;
        let media = Arc::clone(&found.1);
        self.images.push_back(found);
        Some(media)
    }

    /// Keeps an image, and as many of the others as there is room for.
    pub(super) fn keep(&mut self, fingerprint: u64, media: Media) -> Arc<Media> {
        let media = Arc::new(media);
        self.n_bytes += size(&media);
        self.images.push_back((fingerprint, Arc::clone(&media)));
        while self.n_bytes > MOST && self.images.len() > 1 {
            if let Some((_, gone)) = self.images.pop_front() {
                self.n_bytes -= size(&gone);
            }
        }
        media
    }
}

fn size(media: &Media) -> usize {
    size_of_val(media.rows.embeddings.as_slice())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::media::{Rows, tokens};

    fn image(fingerprint: u64, n_bytes: usize) -> Media {
        Media {
            tokens: tokens(fingerprint, 4, 4),
            rows: Rows {
                embeddings: vec![0.0; n_bytes / 4],
                ..Rows::default()
            },
        }
    }

    #[test]
    fn what_was_used_longest_ago_goes_first() {
        let mut recall = Recall::default();
        for fingerprint in 0..3 {
            recall.keep(fingerprint, image(fingerprint, MOST / 3));
        }
        let again = recall.find(0).unwrap();
        assert_eq!(again.tokens, tokens(0, 4, 4));
        recall.keep(3, image(3, MOST / 3));
        let kept = [0, 1, 2, 3].map(|fingerprint| recall.find(fingerprint).is_some());
        assert_eq!(kept, [true, false, true, true]);
    }
}
