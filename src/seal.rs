//! Signed texts that clients keep for us: if a text comes back unchanged, it is known to be ours.
//!
//! The key is made once and kept in drover's state folder. A text is not encrypted: it is the client's own
//! conversation.

use std::fmt;
use std::io::{self, ErrorKind, Write as _};
use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac as _};
use rand_core::{OsRng, RngCore as _};
use sha2::Sha256;

/// The prefix of every sealed text, with the version of the format.
const MARK: &str = "dr1.";

const KEY_BYTES: usize = 32;

/// The key; cheap to clone.
#[derive(Clone)]
pub struct Seal {
    key: Arc<[u8; KEY_BYTES]>,
}

impl fmt::Debug for Seal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Seal")
    }
}

impl Seal {
    /// Makes a key that is not stored and ends with the process.
    pub fn random() -> Self {
        let mut key = [0; KEY_BYTES];
        OsRng.fill_bytes(&mut key);
        Self { key: Arc::new(key) }
    }

    /// Reads the key, or makes one that only the user can read. Blocks.
    ///
    /// # Errors
    /// The key cannot be read or written, or the file holds something else.
    pub fn load_or_create(path: &Path) -> io::Result<Self> {
        match Self::load(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            other => return other,
        }
        let seal = Self::random();
        let folder = path.parent().unwrap_or(Path::new("."));
        private_folder(folder)?;
        // Readable only by its owner, and complete before it gets its name.
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(seal.key.as_slice())?;
        file.as_file().sync_all()?;
        match file.persist_noclobber(path) {
            Ok(_) => Ok(seal),
            // Another process made a key meanwhile; use that one.
            Err(error) if error.error.kind() == ErrorKind::AlreadyExists => Self::load(path),
            Err(error) => Err(error.error),
        }
    }

    fn load(path: &Path) -> io::Result<Self> {
        let bytes = fs_err::read(path)?;
        let key = <[u8; KEY_BYTES]>::try_from(bytes.as_slice());
        let key = key.map_err(|_| io::Error::new(ErrorKind::InvalidData, "it is no key"))?;
        Ok(Self { key: Arc::new(key) })
    }

    /// Signs a text; `purpose` separates texts of different uses.
    pub fn close(&self, purpose: &str, text: &str) -> String {
        let signature = self.mac(purpose, text).finalize().into_bytes();
        let mut sealed = MARK.to_owned();
        URL_SAFE_NO_PAD.encode_string(signature, &mut sealed);
        sealed.push('.');
        URL_SAFE_NO_PAD.encode_string(text, &mut sealed);
        sealed
    }

    /// The text of a sealed one; `None` if it is not ours, or was changed.
    pub fn open(&self, purpose: &str, sealed: &str) -> Option<String> {
        let (signature, text) = sealed.strip_prefix(MARK)?.split_once('.')?;
        let text = URL_SAFE_NO_PAD.decode(text).ok()?;
        let text = String::from_utf8(text).ok()?;
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        self.mac(purpose, &text).verify_slice(&signature).ok()?;
        Some(text)
    }

    fn mac(&self, purpose: &str, text: &str) -> Hmac<Sha256> {
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(self.key.as_slice()) else {
            unreachable!("HMAC takes keys of any length");
        };
        mac.update(purpose.as_bytes());
        mac.update(&[0]);
        mac.update(text.as_bytes());
        mac
    }
}

fn private_folder(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn what_was_closed_can_be_opened_by_the_same_key_for_the_same_purpose() {
        let (ours, theirs) = (Seal::random(), Seal::random());
        for text in ["", "so be it", "ä.b.c\n"] {
            let sealed = ours.close("thinking", text);
            assert_eq!(ours.open("thinking", &sealed).as_deref(), Some(text));
            assert_eq!(ours.open("summary", &sealed), None);
            assert_eq!(theirs.open("thinking", &sealed), None);
        }
        assert!(!ours.close("thinking", "so be it").contains("so be it"));
    }

    #[test]
    fn a_changed_text_is_not_ours() {
        let seal = Seal::random();
        let sealed = seal.close("thinking", "so be it");
        for at in 0..sealed.len() {
            let mut bytes = sealed.clone().into_bytes();
            bytes[at] ^= 1;
            // The last bits of base64 may be unused, but a change of them is refused, too.
            let changed = String::from_utf8(bytes).unwrap();
            assert_eq!(seal.open("thinking", &changed), None, "{changed}");
        }
        for foreign in ["", "dr1.", "dr1..", "gAAAAABo", &sealed[..sealed.len() - 1]] {
            assert_eq!(seal.open("thinking", foreign), None, "{foreign}");
        }
    }

    #[test]
    fn the_key_is_made_once_and_is_private() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state/seal.key");
        let first = Seal::load_or_create(&path).unwrap();
        let mode = fs_err::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let second = Seal::load_or_create(&path).unwrap();
        let sealed = first.close("thinking", "x");
        assert_eq!(second.open("thinking", &sealed).as_deref(), Some("x"));
        fs_err::write(&path, "short").unwrap();
        assert!(Seal::load_or_create(&path).is_err());
    }
}
