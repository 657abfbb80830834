//! Processes generated tokens: text, stop strings, log-probabilities.

use super::detokenizer::Detokenizer;
use super::stop::StopFinder;
use crate::protocol::TokenLogprob;

/// The text side of one generation.
#[derive(Debug)]
pub(super) struct Output {
    detokenizer: Detokenizer,
    stop: StopFinder,
    /// Entries of tokens whose text is not yet released, with the byte at which that text begins.
    waiting: Vec<(usize, TokenLogprob)>,
    /// Bytes of text so far, and of the released part.
    n_bytes: usize,
    n_out: usize,
}

/// The output that one token released.
#[derive(Debug, Default)]
pub(super) struct Piece {
    pub(super) text: String,
    pub(super) logprobs: Vec<TokenLogprob>,
    /// The stop string that was found.
    pub(super) stop: Option<String>,
}

impl Output {
    pub(super) fn new(stops: &[String]) -> Self {
        Self {
            detokenizer: Detokenizer::default(),
            stop: StopFinder::new(stops),
            waiting: Vec::new(),
            n_bytes: 0,
            n_out: 0,
        }
    }

    /// Takes a token's bytes; searches for stop strings if it `may_stop`. Entries wait until the text of their
    /// token is released, so that none is lost while a possible stop string or half a character is held back.
    /// The entries of a stop string are dropped with it.
    pub(super) fn push(
        &mut self,
        bytes: &[u8],
        logprob: Option<TokenLogprob>,
        may_stop: bool,
    ) -> Piece {
        self.waiting
            .extend(logprob.map(|entry| (self.n_bytes, entry)));
        let text = self.detokenizer.push(bytes);
        self.n_bytes += text.len();
        let released = if may_stop {
            self.stop.push(&text)
        } else {
            self.stop.pass(text)
        };
        self.n_out += released.text.len();
        if released.stop.is_some() {
            let n_out = self.n_out;
            self.waiting.retain(|(begin, _)| *begin < n_out);
        }
        let logprobs = if released.text.is_empty() && released.stop.is_none() {
            Vec::new()
        } else {
            self.entries()
        };
        Piece {
            text: released.text,
            logprobs,
            stop: released.stop,
        }
    }

    /// Returns what was held back as a possible stop string.
    pub(super) fn finish(&mut self) -> Piece {
        Piece {
            text: self.stop.finish(),
            logprobs: self.entries(),
            stop: None,
        }
    }

    fn entries(&mut self) -> Vec<TokenLogprob> {
        self.waiting.drain(..).map(|(_, entry)| entry).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(token: i32) -> TokenLogprob {
        TokenLogprob {
            token,
            bytes: Vec::new(),
            logprob: 0.0,
            top: Vec::new(),
        }
    }

    #[test]
    fn every_token_keeps_its_entry_when_text_is_held_back() {
        let mut output = Output::new(&["###".to_owned()]);
        assert!(output.push(b"#", Some(entry(1)), true).logprobs.is_empty());
        let piece = output.push(b"a", Some(entry(2)), true);
        assert_eq!(piece.text, "#a");
        assert_eq!(piece.logprobs.len(), 2);
        assert!(
            output
                .push(b"\xc3", Some(entry(3)), true)
                .logprobs
                .is_empty()
        );
        let piece = output.finish();
        assert_eq!((piece.text.as_str(), piece.logprobs.len()), ("", 1));
    }

    #[test]
    fn entries_of_a_stop_string_go_with_it() {
        let tokens = |pieces: &[&[u8]]| {
            let mut output = Output::new(&["##".to_owned(), "é".to_owned()]);
            let mut tokens = Vec::new();
            for (bytes, token) in pieces.iter().zip(1..) {
                let piece = output.push(bytes, Some(entry(token)), true);
                tokens.extend(piece.logprobs.iter().map(|entry| entry.token));
                if piece.stop.is_some() {
                    break;
                }
            }
            tokens
        };
        assert_eq!(tokens(&[b"a", b"#", b"#"]), [1]);
        // Part of the second token's text was released.
        assert_eq!(tokens(&[b"a", b"b#", b"#"]), [1, 2]);
        assert_eq!(tokens(&[b"a", b"#", b"b", b"##"]), [1, 2, 3]);
        assert_eq!(tokens(&[b"a", b"\xc3", b"\xa9"]), [1]);
        assert_eq!(tokens(&[b"", b"##"]), [0; 0]);
    }

    #[test]
    fn a_stop_string_is_not_looked_for_before_it_may_stop() {
        let mut output = Output::new(&["##".to_owned()]);
        assert_eq!(output.push(b"a##", None, false).text, "a##");
        assert_eq!(output.push(b"b##", None, true).stop.as_deref(), Some("##"));
    }
}
