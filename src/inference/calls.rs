//! Passes tool calls on to the client.

use crate::parser::Piece;

/// How tool calls from the parser are passed on.
#[derive(Debug, Default)]
pub(super) struct Calls {
    /// Each call gets an id.
    are_named: bool,
    /// Parts of calls are passed on, too.
    have_parts: bool,
    /// How many more are passed on; `None` = all.
    n_left: Option<usize>,
    /// The id of a call that has begun.
    begun: Option<String>,
}

impl Calls {
    /// Each call gets an id; at most `most` are passed on.
    pub(super) fn named(most: Option<usize>, have_parts: bool) -> Self {
        Self {
            are_named: true,
            have_parts,
            n_left: most,
            begun: None,
        }
    }

    pub(super) fn told(&mut self, mut piece: Piece) -> Piece {
        if !self.have_parts || self.n_left == Some(0) {
            piece.parts.clear();
        }
        if let Some(n_left) = &mut self.n_left {
            piece.tool_calls.truncate(*n_left);
            *n_left -= piece.tool_calls.len();
        }
        piece.parts.dedup_by(|next, part| {
            let goes_on = next.name.is_empty();
            if goes_on {
                part.arguments.push_str(&next.arguments);
            }
            goes_on
        });
        for part in &mut piece.parts {
            part.id.clone_from(self.begun.get_or_insert_with(call_id));
        }
        if self.are_named {
            for call in &mut piece.tool_calls {
                call.id = self.begun.take().unwrap_or_else(call_id);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::{CallPart, ToolCall};

    fn part() -> Piece {
        Piece {
            parts: vec![CallPart::default()],
            ..Piece::default()
        }
    }

    fn whole() -> Piece {
        Piece {
            tool_calls: vec![ToolCall::default()],
            ..Piece::default()
        }
    }

    #[test]
    fn a_call_has_the_id_of_its_parts() {
        let mut calls = Calls::named(None, true);
        let first = calls.told(part()).parts[0].id.clone();
        assert_eq!(calls.told(part()).parts[0].id, first);
        assert_eq!(calls.told(whole()).tool_calls[0].id, first);
        assert_ne!(calls.told(whole()).tool_calls[0].id, first);
        assert_ne!(calls.told(part()).parts[0].id, first);
    }

    #[test]
    fn parts_that_come_together_are_one() {
        let mut piece = part();
        piece.parts[0].name = "f".to_owned();
        piece.parts[0].arguments = "{".to_owned();
        piece.parts.extend(["a", "}"].map(|arguments| CallPart {
            arguments: arguments.to_owned(),
            ..CallPart::default()
        }));
        let told = Calls::named(None, true).told(piece).parts;
        assert_eq!((told.len(), told[0].arguments.as_str()), (1, "{a}"));
    }

    #[test]
    fn parts_are_told_of_calls_that_are_passed_on() {
        let mut calls = Calls::named(Some(1), true);
        assert_eq!(calls.told(part()).parts.len(), 1);
        assert_eq!(calls.told(whole()).tool_calls.len(), 1);
        assert!(calls.told(part()).is_empty() && calls.told(whole()).is_empty());
        assert!(Calls::named(None, false).told(part()).is_empty());
    }
}
