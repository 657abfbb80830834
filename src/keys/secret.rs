//! The text of a key, and its hash.
//!
//! A key has 256 random bits, so one round of SHA-256 is as good as a slow hash: nothing can be guessed.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand_core::{OsRng, RngCore as _};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

/// The prefix of every key, by which scanners for leaked secrets recognize it.
const PREFIX: &str = "drover_";

const BYTES: usize = 32;

/// The hash of a key, in hexadecimal digits.
pub(super) type Hash = String;

/// A new key, shown once to the client that asked for it.
pub struct Secret(String);

impl Secret {
    pub(super) fn random() -> Self {
        let mut bytes = [0; BYTES];
        OsRng.fill_bytes(&mut bytes);
        Self(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes)))
    }

    /// The text that clients send.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret")
    }
}

/// Whether a text has the format of a key. Some programs insist on a key and send any text, which does not.
pub fn looks_like_key(text: &str) -> bool {
    text.starts_with(PREFIX)
}

pub(super) fn hash(key: &str) -> Hash {
    let digest = Sha256::digest(key.as_bytes());
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Compares in constant time.
pub(super) fn is_equal(a: &Hash, b: &Hash) -> bool {
    a.as_bytes().ct_eq(b.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_long_and_never_the_same() {
        let [a, b] = [(); 2].map(|()| Secret::random());
        assert_ne!(a.reveal(), b.reveal());
        assert!(looks_like_key(a.reveal()) && !looks_like_key("ollama"));
        assert_eq!(a.reveal().len(), PREFIX.len() + 43);
        assert_eq!(format!("{a:?}"), "Secret");
        assert!(is_equal(&hash(a.reveal()), &hash(a.reveal())));
        assert!(!is_equal(&hash(a.reveal()), &hash(b.reveal())));
    }

    #[test]
    fn the_hash_is_sha_256() {
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(hash("abc"), expected);
    }
}
