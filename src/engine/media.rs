//! Images in a prompt, in the form that the model gets instead of tokens.
//!
//! An image takes a number of rows, each with an embedding instead of a token. In lists of tokens, negative
//! numbers that are derived from the image's content represent these rows. So code that compares prompts
//! (slots, copies, the host cache) distinguishes images by content without knowing about them.
//!
//! An image is evaluated as a whole, and a prefix never ends inside one ([`whole`]): in some models every
//! part of an image attends to the whole image, and some give all its parts one position.

use std::sync::Arc;

use crate::protocol::Token;

/// Marks a row without a position of its own: some models count only an image's longer side.
const STILL: u32 = 1 << 30;

/// Marks an image's first row.
const FIRST: u32 = 1 << 29;

/// An image, encoded for the model that was loaded.
#[derive(Debug)]
pub(crate) struct Media {
    /// The numbers that represent it in lists of tokens, one for each row; never empty.
    pub(crate) tokens: Vec<Token>,
    #[cfg_attr(
        not(feature = "llama"),
        expect(dead_code, reason = "the fake computes nothing")
    )]
    pub(crate) rows: Rows,
}

/// The embeddings that replace tokens.
#[derive(Debug, Default)]
#[cfg_attr(
    not(feature = "llama"),
    expect(dead_code, reason = "the fake computes nothing")
)]
pub(crate) struct Rows {
    /// One vector after the other, each as long as the model's input is wide.
    pub(crate) embeddings: Vec<f32>,
    /// Attention is not causal: each row attends to all rows.
    pub(crate) is_seen_at_once: bool,
    /// Time, height and width of each row counted from the image's first position; empty for models
    /// that have one position for each row.
    pub(crate) grid: Vec<[i32; 3]>,
}

/// A piece of a prepared prompt.
#[derive(Debug, Clone)]
pub(crate) enum Piece {
    Tokens(Vec<Token>),
    Media(Arc<Media>),
}

/// Numbers for `n_rows` rows that take `n_positions` positions, of an image with this fingerprint.
pub(crate) fn tokens(fingerprint: u64, n_rows: usize, n_positions: usize) -> Vec<Token> {
    let row = |index: usize| {
        let content = mix(fingerprint.wrapping_add(index as u64)) & (FIRST - 1);
        let first = if index == 0 { FIRST } else { 0 };
        let still = if index < n_positions { 0 } else { STILL };
        (1 << 31 | still | first | content).cast_signed()
    };
    (0..n_rows).map(row).collect()
}

/// The finalizer of `SplitMix64` (Steele, Lea, Flood: Fast splittable pseudorandom number generators).
fn mix(mut bits: u64) -> u32 {
    bits = bits.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((bits ^ (bits >> 31)) >> 32) as u32
}

fn has(token: Token, mark: u32) -> bool {
    token < 0 && token.cast_unsigned() & mark != 0
}

/// Whether a row has a position of its own.
pub(crate) fn takes_position(token: Token) -> bool {
    !has(token, STILL)
}

/// How many of these rows take no position.
pub(super) fn n_still(tokens: &[Token]) -> usize {
    tokens
        .iter()
        .filter(|&&token| !takes_position(token))
        .count()
}

/// Whether the first `len` tokens end inside an image.
fn is_inside(tokens: &[Token], len: usize) -> bool {
    let next = tokens.get(len);
    next.is_some_and(|&token| token < 0 && !has(token, FIRST))
}

/// The longest prefix of at most `len` tokens that does not end inside an image.
pub(super) fn whole(tokens: &[Token], len: usize) -> usize {
    let mut lens = (0..=len).rev();
    lens.find(|&len| !is_inside(tokens, len)).unwrap_or(0)
}

/// The shortest prefix of at least `len` tokens that does not end inside an image.
pub(super) fn whole_from(tokens: &[Token], len: usize) -> usize {
    let mut lens = len..tokens.len();
    lens.find(|&len| !is_inside(tokens, len))
        .unwrap_or(tokens.len())
}

/// The images of a prompt, by the index at which they begin.
#[derive(Debug, Clone, Default)]
pub(super) struct MediaSpans(Vec<(usize, Arc<Media>)>);

impl MediaSpans {
    pub(super) fn push(&mut self, at: usize, media: Arc<Media>) {
        self.0.push((at, media));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The image that begins at `place`.
    pub(super) fn at(&self, place: usize) -> Option<&Arc<Media>> {
        self.0
            .iter()
            .find(|(at, _)| *at == place)
            .map(|(_, media)| media)
    }

    /// Where the next image begins, at or after `from`.
    pub(super) fn next(&self, from: usize) -> Option<usize> {
        self.0.iter().map(|(at, _)| *at).find(|&at| at >= from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_known_by_its_content_and_is_never_cut() {
        let (cat, dog) = (tokens(1, 5, 5), tokens(2, 5, 5));
        assert_eq!(cat, tokens(1, 5, 5));
        assert!(cat.iter().zip(&dog).all(|(cat, dog)| cat != dog));
        assert!(cat.iter().all(|&token| token < 0));

        let prompt = [vec![7, 8], cat, dog, vec![9]].concat();
        let ends: Vec<_> = (0..=prompt.len()).map(|len| whole(&prompt, len)).collect();
        assert_eq!(ends, [0, 1, 2, 2, 2, 2, 2, 7, 7, 7, 7, 7, 12, 13]);
        let ends: Vec<_> = (0..=prompt.len())
            .map(|len| whole_from(&prompt, len))
            .collect();
        assert_eq!(ends, [0, 1, 2, 7, 7, 7, 7, 7, 12, 12, 12, 12, 12, 13]);
    }

    #[test]
    fn rows_without_a_position_are_counted() {
        let image = tokens(3, 12, 4);
        assert_eq!((image.len(), n_still(&image)), (12, 8));
        assert_eq!(n_still(&[1, 2, 3]), 0);
        assert_eq!(n_still(&tokens(3, 6, 6)), 0);
    }
}
