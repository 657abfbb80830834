//! Raw bytes of an image or audio file that travel as base64 in JSON.

use std::borrow::Cow;
use std::fmt;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use utoipa::ToSchema;

use crate::json::BASE64;

/// The encoded file: PNG, JPEG, WebP, …; its type is detected where it is used. Clones share the bytes.
#[derive(Debug, Clone, PartialEq, Eq, ToSchema)]
#[schema(value_type = String, format = Byte)]
pub struct Image(pub Bytes);

/// Padded standard base64; like Go's decoder, it ignores unused trailing bits.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true),
);

impl Image {
    /// Decodes padded standard base64; line breaks are skipped, as in Go.
    ///
    /// # Errors
    /// Returns Ollama's text with the offset of the first bad byte.
    pub fn from_base64(text: &str) -> Result<Self, String> {
        let is_break = |c: char| matches!(c, '\n' | '\r');
        let text = if text.contains(is_break) {
            Cow::Owned(text.replace(is_break, ""))
        } else {
            Cow::Borrowed(text)
        };
        let decoded = LENIENT.decode(text.as_bytes());
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
        deserializer.deserialize_newtype_struct(BASE64, Base64)
    }
}

/// Decodes borrowed text without copying it first.
struct Base64;

impl<'de> de::Visitor<'de> for Base64 {
    type Value = Image;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a base64 text")
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, text: D) -> Result<Image, D::Error> {
        text.deserialize_str(self)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Image, E> {
        Image::from_base64(text).map_err(E::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_read_as_go_reads_it() {
        for text in ["aGVsbG8=", "aGVs\nbG8=\n", "aGVs\r\nbG8=", "aGVsbG9="] {
            assert_eq!(Image::from_base64(text).unwrap().0, "hello", "{text:?}");
        }
        for text in ["aGVsbG8", "aGVs bG8=", "aGVsbG8=?"] {
            let error = Image::from_base64(text).unwrap_err();
            assert!(
                error.starts_with("illegal base64 data at input byte "),
                "{error}"
            );
        }
    }
}
