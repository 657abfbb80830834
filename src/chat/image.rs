//! Raw bytes of an image (or sound) that travel as base64 in JSON.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The undecoded file: PNG, JPEG, WebP, …; its kind is sniffed where it is used. Copies share it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image(pub Bytes);

impl Image {
    /// Decodes padded standard base64.
    ///
    /// # Errors
    /// Returns Ollama's text with the offset of the first bad byte.
    pub fn from_base64(text: &str) -> Result<Self, String> {
        let decoded = STANDARD.decode(text);
        decoded.map(|file| Self(file.into())).map_err(|error| {
            let offset = match error {
                base64::DecodeError::InvalidByte(offset, _)
                | base64::DecodeError::InvalidLastSymbol(offset, _) => offset,
                base64::DecodeError::InvalidLength(_) | base64::DecodeError::InvalidPadding => {
                    text.len()
                }
            };
            format!("illegal base64 data at input byte {offset}")
        })
    }
}

impl Serialize for Image {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Image {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        Self::from_base64(&text).map_err(de::Error::custom)
    }
}
