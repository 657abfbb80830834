//! The functions that a conversation has called, since tool results need their names.

use std::collections::HashMap;

use crate::chat::{Block, Turn};

/// Names by call id. A search through the turns would take time proportional to their number for each result.
#[derive(Debug, Default)]
pub(super) struct Called(HashMap<String, String>);

impl Called {
    /// Records a call; of several with one id the last counts.
    pub(super) fn note(&mut self, id: &str, name: &str) {
        if !id.is_empty() {
            self.0.insert(id.to_owned(), name.to_owned());
        }
    }

    /// Records the calls of a turn.
    pub(super) fn note_turn(&mut self, turn: &Turn) {
        for block in &turn.blocks {
            if let Block::ToolUse(call) = block {
                self.note(&call.id, &call.function.name);
            }
        }
    }

    /// The function of a call; empty = not known.
    pub(super) fn name_of(&self, id: &str) -> String {
        self.0.get(id).cloned().unwrap_or_default()
    }
}
