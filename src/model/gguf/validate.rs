//! Values on which llama.cpp would end its process instead of refusing the file.
//!
//! To be checked before a file is stored or loaded (GGUF compatibility notes §2.6).

use std::collections::HashSet;

use serde_json::Value;

use super::{GgufError, Metadata};

/// More layers than any known model has, and llama.cpp's own limit.
const MAX_BLOCKS: u64 = 512;

impl Metadata {
    /// Checks the numbers that a loader relies on.
    ///
    /// # Errors
    /// Names the first value that no loader can use.
    pub fn validate(&self) -> Result<(), GgufError> {
        let problem = self
            .bad_blocks()
            .or_else(|| self.bad_experts())
            .or_else(|| self.bad_text());
        problem.map_or(Ok(()), |reason| Err(GgufError::Invalid(reason)))
    }

    fn bad_blocks(&self) -> Option<String> {
        let blocks = self.number(".block_count");
        if let Some(blocks) = blocks.filter(|blocks| *blocks == 0 || *blocks > MAX_BLOCKS) {
            return Some(format!("`{}.block_count` is {blocks}", self.architecture()));
        }
        let heads = self.number(".nextn_predict_layers").unwrap_or(0);
        (blocks.is_some_and(|blocks| heads > blocks))
            .then(|| format!("`nextn_predict_layers` ({heads}) exceeds the number of blocks"))
    }

    fn bad_experts(&self) -> Option<String> {
        let experts = self.number(".expert_count").unwrap_or(0);
        let used = self.number(".expert_used_count").unwrap_or(0);
        let groups = self.number(".expert_group_count").unwrap_or(0);
        if used > experts || (experts > 0 && used == 0) {
            return Some(format!("{used} of {experts} experts are used"));
        }
        (experts > 0 && groups >= experts).then(|| format!("{groups} groups of {experts} experts"))
    }

    fn bad_text(&self) -> Option<String> {
        if let Some(kind) = self.get(".rope.scaling.type") {
            let known = matches!(kind.as_str(), Some("none" | "linear" | "yarn" | "longrope"));
            if !known {
                return Some(format!("unknown `rope.scaling.type` {kind}"));
            }
        }
        let tokens = self
            .get("tokenizer.ggml.tokens")
            .and_then(Value::as_array)?;
        let mut seen = HashSet::new();
        // Tokens that were no UTF-8 may have become equal; they prove nothing.
        tokens
            .iter()
            .filter_map(Value::as_str)
            .filter(|token| !token.contains('\u{fffd}'))
            .find(|token| !seen.insert(*token))
            .map(|token| format!("token {token:?} is in the vocabulary twice"))
    }
}
