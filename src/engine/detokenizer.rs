//! Turns the bytes of tokens into whole UTF-8 text.
//!
//! A token may hold half a character. *Law:* however the bytes are cut, the text is the same: what
//! `String::from_utf8_lossy` makes of all of them, without an incomplete character at the end.

/// Collects bytes and returns whole characters.
#[derive(Debug, Default)]
pub(super) struct Detokenizer {
    /// An incomplete character; at most three bytes between calls.
    held: Vec<u8>,
}

impl Detokenizer {
    /// Takes the next bytes; returns the whole characters. Bytes that cannot become a character are replaced by
    /// U+FFFD.
    pub(super) fn push(&mut self, bytes: &[u8]) -> String {
        self.held.extend_from_slice(bytes);
        let mut text = String::new();
        let mut done = 0;
        for chunk in self.held.utf8_chunks() {
            text.push_str(chunk.valid());
            done += chunk.valid().len();
            let invalid = chunk.invalid();
            let is_last = done + invalid.len() == self.held.len();
            if is_last && is_incomplete(invalid) {
                break;
            }
            if !invalid.is_empty() {
                text.push(char::REPLACEMENT_CHARACTER);
                done += invalid.len();
            }
        }
        self.held.drain(..done);
        text
    }
}

/// Whether more bytes could make this a character.
fn is_incomplete(bytes: &[u8]) -> bool {
    match std::str::from_utf8(bytes) {
        Ok(_) => false,
        Err(error) => error.error_len().is_none(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn half_a_character_waits_for_its_other_half() {
        let mut detokenizer = Detokenizer::default();
        assert_eq!(detokenizer.push(b"a\xf0\x9f"), "a");
        assert_eq!(detokenizer.push(b"\x98\x80b"), "😀b");
    }

    #[test]
    fn a_character_that_cannot_become_one_is_replaced() {
        let mut detokenizer = Detokenizer::default();
        assert_eq!(detokenizer.push(b"\xe2\x82"), "");
        assert_eq!(detokenizer.push(b"a"), "\u{fffd}a");
    }

    proptest! {
        #[test]
        fn every_split_gives_the_lossy_text(
            pieces in prop::collection::vec(
                prop::collection::vec(prop::sample::select(&b"a\xc3\xa4\xf0\x9f\x98\x80\xff\xe2\x82\xac\xed\xa0"[..]), 0..4),
                0..10,
            ),
        ) {
            let mut detokenizer = Detokenizer::default();
            let mut text = String::new();
            for piece in &pieces {
                text.push_str(&detokenizer.push(piece));
            }
            // A full stop ends every character, so an incomplete one becomes one replacement character.
            let bytes = [pieces.concat(), b".".to_vec()].concat();
            let lossy = String::from_utf8_lossy(&bytes).into_owned();
            let unfinished = if detokenizer.held.is_empty() { "." } else { "\u{fffd}." };
            prop_assert_eq!(text + unfinished, lossy);
        }
    }
}
