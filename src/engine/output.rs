//! What becomes of generated tokens: text, stop strings, log-probabilities.

use super::detokenizer::Detokenizer;
use super::stop::StopFinder;
use crate::protocol::TokenLogprob;

/// The text side of one generation.
#[derive(Debug)]
pub(super) struct Output {
    detokenizer: Detokenizer,
    stop: StopFinder,
    /// Entries of tokens whose text is not out yet.
    waiting: Vec<TokenLogprob>,
}

/// What one token brought to light.
#[derive(Debug, Default)]
pub(super) struct Piece {
    pub(super) text: String,
    pub(super) logprobs: Vec<TokenLogprob>,
    /// A stop string was found.
    pub(super) stopped: bool,
}

impl Output {
    pub(super) fn new(stops: &[String]) -> Self {
        Self {
            detokenizer: Detokenizer::default(),
            stop: StopFinder::new(stops),
            waiting: Vec::new(),
        }
    }

    /// Takes a token's bytes. Entries wait until the text of their token is known to the client,
    /// so that none is lost where a stop string or half a character is held back.
    pub(super) fn push(&mut self, bytes: &[u8], logprob: Option<TokenLogprob>) -> Piece {
        self.waiting.extend(logprob);
        let released = self.stop.push(&self.detokenizer.push(bytes));
        let logprobs = if released.text.is_empty() && !released.stopped {
            Vec::new()
        } else {
            std::mem::take(&mut self.waiting)
        };
        Piece {
            text: released.text,
            logprobs,
            stopped: released.stopped,
        }
    }

    /// Gives out what was held back as a possible stop string.
    pub(super) fn finish(&mut self) -> Piece {
        Piece {
            text: self.stop.finish(),
            logprobs: std::mem::take(&mut self.waiting),
            stopped: false,
        }
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
        assert!(output.push(b"#", Some(entry(1))).logprobs.is_empty());
        let piece = output.push(b"a", Some(entry(2)));
        assert_eq!(piece.text, "#a");
        assert_eq!(piece.logprobs.len(), 2);
        assert!(output.push(b"\xc3", Some(entry(3))).logprobs.is_empty());
        let piece = output.finish();
        assert_eq!((piece.text.as_str(), piece.logprobs.len()), ("", 1));
    }
}
