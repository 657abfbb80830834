//! STUB
use super::Metadata;
/// Why stock llama.cpp refuses a file.
pub fn refusal(_metadata: &Metadata) -> Option<String> {
    None
}
