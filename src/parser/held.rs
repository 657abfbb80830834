//! Held-back text: the end of a text that may be the start of a tag, and how parsers work through it.

use super::{ParseError, Piece};

/// Runs a parser's steps over the text that it holds, until a step needs more text.
pub(crate) fn drive(
    mut step: impl FnMut(&mut Piece) -> Result<bool, ParseError>,
) -> Result<Piece, ParseError> {
    let mut piece = Piece::default();
    while step(&mut piece)? {}
    Ok(piece)
}

/// Length of the longest suffix of `text` that is a proper prefix of `tag`.
pub(crate) fn overlap(text: &str, tag: &str) -> usize {
    let longest = tag.len().saturating_sub(1).min(text.len());
    (1..=longest)
        .rev()
        .find(|&n| tag.is_char_boundary(n) && text.ends_with(&tag[..n]))
        .unwrap_or(0)
}

/// The same for several tags: the longest match counts.
pub(crate) fn overlap_any(text: &str, tags: &[&str]) -> usize {
    let lengths = tags.iter().map(|tag| overlap(text, tag));
    lengths.max().unwrap_or(0)
}

/// Takes the front of `held` that can no longer belong to a tag. Whitespace before a possible tag waits with
/// it.
pub(crate) fn take_decided(held: &mut String, tags: &[&str]) -> String {
    let undecided = overlap_any(held, tags);
    let decided = held[..held.len() - undecided].trim_end().len();
    held.drain(..decided).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_beginning_of_a_tag_waits() {
        assert_eq!(overlap("abc<to", "<tool>"), 3);
        assert_eq!(overlap("abc<tool>", "<tool>"), 0);
        assert_eq!(overlap("x<｜", "<｜end｜>"), 1 + '｜'.len_utf8());
        assert_eq!(overlap_any("a</", &["<think>", "</think>"]), 2);
        let mut held = "text \n<".to_owned();
        assert_eq!(take_decided(&mut held, &["<x>"]), "text");
        assert_eq!(held, " \n<");
    }
}
