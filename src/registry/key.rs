//! The key that identifies this user to registries: an OpenSSH ed25519 key, as in Ollama.

use std::io::{ErrorKind, Write as _};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rand_core::OsRng;
use signature::Signer as _;
use ssh_key::private::{Ed25519Keypair, KeypairData};
use ssh_key::{Algorithm, LineEnding, PrivateKey, Signature};

use super::RegistryError;

/// An ed25519 key pair.
#[derive(Debug)]
pub struct Key {
    pair: Ed25519Keypair,
    /// SSH's wire form of the public key, in base64.
    public: String,
}

impl Key {
    /// Reads the key, or makes one if there is none. An existing key is never changed: it is the user's
    /// account.
    ///
    /// # Errors
    /// Fails when the key cannot be read or made, or is not an ed25519 key.
    pub fn load_or_create(path: &Path) -> Result<Self, RegistryError> {
        let failed = |error: &dyn std::fmt::Display| {
            RegistryError::Key(format!(
                "the key `{}` cannot be used: {error}",
                path.display()
            ))
        };
        let text = match fs_err::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                match create(path).map_err(|error| failed(&error))? {
                    Some(key) => return Ok(key),
                    // Another process made one meanwhile, so use that.
                    None => fs_err::read_to_string(path).map_err(|error| failed(&error))?,
                }
            }
            Err(error) => return Err(failed(&error)),
        };
        let private = PrivateKey::from_openssh(&text).map_err(|error| failed(&error))?;
        Self::of(&private).ok_or_else(|| failed(&"it is no ed25519 key"))
    }

    fn of(private: &PrivateKey) -> Option<Self> {
        let KeypairData::Ed25519(pair) = private.key_data() else {
            return None;
        };
        let public = private.public_key().to_openssh().ok()?;
        Some(Self {
            pair: pair.clone(),
            public: public.split(' ').nth(1)?.to_owned(),
        })
    }

    /// Returns the value of the `Authorization` header for a signed text.
    ///
    /// # Errors
    /// Fails when the key cannot sign.
    pub(super) fn authorization(&self, text: &str) -> Result<String, RegistryError> {
        let signature: Signature = self
            .pair
            .try_sign(text.as_bytes())
            .map_err(|error| RegistryError::Key(error.to_string()))?;
        Ok(format!(
            "{}:{}",
            self.public,
            STANDARD.encode(signature.as_bytes())
        ))
    }
}

/// Makes a key pair and writes both halves; the private one is never readable by others. `None` = another
/// process has made one.
fn create(path: &Path) -> Result<Option<Key>, Box<dyn std::error::Error>> {
    let folder = path.parent().ok_or("it has no folder")?;
    let private = PrivateKey::random(&mut OsRng, Algorithm::Ed25519)?;
    fs_err::create_dir_all(folder)?;
    // Readable by its owner only, and complete before it gets its name.
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(private.to_openssh(LineEnding::LF)?.as_bytes())?;
    file.as_file().sync_all()?;
    match file.persist_noclobber(path) {
        Ok(_) => {}
        Err(error) if error.error.kind() == ErrorKind::AlreadyExists => return Ok(None),
        Err(error) => return Err(error.error.into()),
    }
    let public = private.public_key().to_openssh()?;
    fs_err::write(path.with_extension("pub"), format!("{public}\n"))?;
    tracing::info!(path = %path.display(), %public, "a new key was made");
    Ok(Some(Key::of(&private).ok_or("no ed25519 key")?))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_key_is_made_once_and_kept() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join(".ollama/id_ed25519");
        let first = Key::load_or_create(&path).unwrap();
        let mode = fs_err::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let line = fs_err::read_to_string(path.with_extension("pub")).unwrap();
        assert_eq!(line, format!("ssh-ed25519 {}\n", first.public));
        let second = Key::load_or_create(&path).unwrap();
        let signed = [&first, &second].map(|key| key.authorization("text").unwrap());
        assert_eq!(signed[0], signed[1]);
        let left = fs_err::read_dir(folder.path().join(".ollama"))
            .unwrap()
            .count();
        assert_eq!(left, 2);
    }

    #[test]
    fn what_is_no_key_is_told_and_left_alone() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("id_ed25519");
        fs_err::write(&path, "secret").unwrap();
        let error = Key::load_or_create(&path).unwrap_err().to_string();
        assert!(error.contains("id_ed25519"), "{error}");
        assert_eq!(fs_err::read_to_string(&path).unwrap(), "secret");
    }
}
