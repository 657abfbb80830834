//! The fake's vocabulary: 256 bytes, then special tokens.

use crate::engine::backend::Part;
use crate::protocol::Token;

/// Special tokens in order, from 256 on.
const SPECIAL: [&str; 6] = [
    "<|bos|>",
    "<|eos|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|tool|>",
    "<|pad|>",
];

pub(super) const N_VOCAB: u32 = 262;
const _: () = assert!(256 + SPECIAL.len() == N_VOCAB as usize);

pub(super) const BOS: Token = 256;
pub(super) const END: Token = 257;
pub(super) const TURN_START: Token = 258;
pub(super) const TURN_END: Token = 259;

/// A full stop.
pub(super) const FILLER: Token = 46;

/// Most bytes of a part of a text.
const PART: usize = 1024;

/// Cuts a text at its special tokens, and long stretches into parts.
pub(super) fn cut(text: &str, parse_special: bool) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut begin = 0;
    let mut at = 0;
    while at < text.len() {
        let rest = &text[at..];
        let special = SPECIAL
            .iter()
            .zip(BOS..)
            .find(|(name, _)| parse_special && rest.starts_with(**name));
        let n_bytes = rest.chars().next().map_or(1, char::len_utf8);
        let next = at + special.map_or(n_bytes, |(name, _)| name.len());
        if begin < at && (special.is_some() || at - begin >= PART) {
            parts.push(Part::Text(begin..at));
            begin = at;
        }
        if let Some((_, token)) = special {
            parts.push(Part::Token(token));
            begin = next;
        }
        at = next;
    }
    if begin < text.len() {
        parts.push(Part::Text(begin..text.len()));
    }
    parts
}

/// Text without special tokens → tokens.
pub(super) fn bytes(text: &str) -> Vec<Token> {
    text.bytes().map(Token::from).collect()
}

/// Text → tokens, without BOS.
pub(super) fn tokenize(text: &str, parse_special: bool) -> Vec<Token> {
    let parts = cut(text, parse_special).into_iter();
    let tokens = parts.flat_map(|part| match part {
        Part::Token(token) => vec![token],
        Part::Text(range) => bytes(&text[range]),
    });
    tokens.collect()
}

pub(super) fn append_piece(token: Token, special: bool, out: &mut Vec<u8>) {
    if let Ok(byte) = u8::try_from(token) {
        out.push(byte);
    } else if special {
        let index = usize::try_from(token - BOS).ok();
        let name = index.and_then(|index| SPECIAL.get(index));
        out.extend_from_slice(name.map_or(b"", |name| name.as_bytes()));
    }
}

pub(super) fn is_end(token: Token) -> bool {
    matches!(token, END | TURN_END)
}

/// The text of tokens, without the special tokens that frame it.
pub(super) fn text(tokens: &[Token]) -> String {
    let mut bytes = Vec::with_capacity(tokens.len());
    for &token in tokens {
        append_piece(token, token > TURN_END, &mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Logits by which this token is likely, and the next one somewhat likely.
pub(super) fn logits(token: Token) -> Vec<f32> {
    let mut logits = vec![0.0; N_VOCAB as usize];
    if let Ok(index) = usize::try_from(token) {
        let n_vocab = logits.len();
        logits[(index + 1) % n_vocab] = 5.0;
        logits[index % n_vocab] = 9.0;
    }
    logits
}
