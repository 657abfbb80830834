//! A SHA-256 digest: one type, one spelling.

// STUB (owner: model/store helper): serde as `sha256:<hex>`, FromStr accepting `:` or `-`, Display.

/// 32 bytes, printed as `sha256:<64 lower-case hex digits>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest([u8; 32]);

/// The text is not `sha256:` or `sha256-` and 64 hex digits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid digest format")]
pub struct InvalidDigest;

impl Digest {
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Returns the 64 hex digits without prefix.
    pub fn hex(&self) -> String {
        todo!()
    }

    /// Returns the blob's file name, `sha256-<hex>`.
    pub fn file_name(&self) -> String {
        todo!()
    }
}

impl std::str::FromStr for Digest {
    type Err = InvalidDigest;

    fn from_str(_text: &str) -> Result<Self, InvalidDigest> {
        todo!()
    }
}

impl std::fmt::Display for Digest {
    fn fmt(&self, _f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        todo!()
    }
}
