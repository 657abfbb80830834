//! Signatures of thinking blocks. Clients store them and send them back unchanged.
//!
//! Thinking that the client does not want to see travels inside its signature. The next request brings it back, so the
//! model sees the same conversation although the server stores nothing. The signature protects nothing, since a client
//! may put any text into the history anyway.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

/// The prefix of a signature that holds the text.
const HIDDEN: &str = "drover-thinking.";

/// The prefix of a signature for a text that is in the block itself.
const SHOWN: &str = "drover-digest.";

/// Makes the signature of a thinking block, piece by piece.
#[derive(Debug, Clone)]
pub(super) enum Signer {
    Hidden(String),
    Shown(Sha256),
}

impl Signer {
    pub(super) fn new(is_hidden: bool) -> Self {
        if is_hidden {
            Self::Hidden(String::new())
        } else {
            Self::Shown(Sha256::new())
        }
    }

    pub(super) fn push(&mut self, text: &str) {
        match self {
            Self::Hidden(thinking) => thinking.push_str(text),
            Self::Shown(digest) => digest.update(text),
        }
    }

    pub(super) fn finish(self) -> String {
        match self {
            Self::Hidden(text) => HIDDEN.to_owned() + &URL_SAFE_NO_PAD.encode(text),
            Self::Shown(digest) => SHOWN.to_owned() + &URL_SAFE_NO_PAD.encode(digest.finalize()),
        }
    }
}

/// The thinking that a signature holds; `None` for other servers' signatures.
pub(super) fn thinking_in(signature: &str) -> Option<String> {
    let text = signature.strip_prefix(HIDDEN)?;
    String::from_utf8(URL_SAFE_NO_PAD.decode(text).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signature(is_hidden: bool, pieces: &[&str]) -> String {
        let mut signer = Signer::new(is_hidden);
        for piece in pieces {
            signer.push(piece);
        }
        signer.finish()
    }

    #[test]
    fn hidden_thinking_comes_back() {
        let hidden = signature(true, &["What is it?", " Straße."]);
        assert!(!hidden.contains("What"));
        assert_eq!(thinking_in(&hidden).unwrap(), "What is it? Straße.");
    }

    #[test]
    fn others_hold_nothing() {
        let shown = signature(false, &["a", "b"]);
        assert_eq!(shown, signature(false, &["ab"]));
        assert_ne!(shown, signature(false, &["ba"]));
        for other in [&*shown, "", "EqQBCgIYAg==", "drover-thinking.%%"] {
            assert_eq!(thinking_in(other), None, "{other}");
        }
    }
}
