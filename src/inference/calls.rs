//! Tool calls on their way to the client.

use crate::parser::Piece;

/// How tool calls from the parser are passed on.
#[derive(Debug, Default)]
pub(super) struct Calls {
    /// Each gets an id.
    are_named: bool,
    /// How many more are passed on; `None` = all.
    n_left: Option<usize>,
}

impl Calls {
    /// Each call gets an id; at most `most` are passed on.
    pub(super) fn named(most: Option<usize>) -> Self {
        Self {
            are_named: true,
            n_left: most,
        }
    }

    pub(super) fn told(&mut self, mut piece: Piece) -> Piece {
        if let Some(n_left) = &mut self.n_left {
            piece.tool_calls.truncate(*n_left);
            *n_left -= piece.tool_calls.len();
        }
        if self.are_named {
            for call in &mut piece.tool_calls {
                call.id = call_id();
            }
        }
        piece
    }
}

/// A new id in Ollama's form.
fn call_id() -> String {
    let alphabet = b"abcdefghijklmnopqrstuvwxyz0123456789";
    let sign = || char::from(alphabet[fastrand::usize(..alphabet.len())]);
    let signs: String = std::iter::repeat_with(sign).take(8).collect();
    format!("call_{signs}")
}
