//! Cohere's North and Command A: blocks of thinking, text and actions.

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::chat::ToolCall;
use crate::families::shared::call::{Counter, call};
use crate::families::shared::tagged::{continues_content, earliest, find_from, thinks_by_default};
use crate::parser::held::{drive, overlap_any, take_decided};
use crate::parser::{ParseError, Parser, Piece, Start};

const THINK_END: &str = "<|END_THINKING|>";
const TEXT: &str = "<|START_TEXT|>";
const TEXT_END: &str = "<|END_TEXT|>";
const ACTION: &str = "<|START_ACTION|>";
const ACTION_END: &str = "<|END_ACTION|>";
const TURN_END: &str = "<|END_OF_TURN_TOKEN|>";
/// The tag that older models write before text.
const RESPONSE: &str = "<|START_RESPONSE|>";
const RESPONSE_END: &str = "<|END_RESPONSE|>";

pub(super) const PRESERVED: &[&str] = &[
    "<|START_THINKING|>",
    THINK_END,
    TEXT,
    TEXT_END,
    ACTION,
    ACTION_END,
    RESPONSE,
    RESPONSE_END,
];

const OPENING: [&str; 4] = [TEXT, RESPONSE, ACTION, TURN_END];
const CLOSING: [&str; 3] = [TEXT_END, RESPONSE_END, TURN_END];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Thinking,
    /// Between blocks.
    Between,
    Content,
    Action,
}

/// The parser of one answer.
#[derive(Debug)]
struct Cohere {
    state: State,
    held: String,
    n_searched: usize,
    counter: Counter,
}

pub(super) fn new(start: &Start<'_>) -> Box<dyn Parser> {
    let state = if continues_content(start) {
        State::Content
    } else if start
        .in_thinking
        .unwrap_or_else(|| thinks_by_default(start))
    {
        State::Thinking
    } else {
        State::Between
    };
    Box::new(Cohere {
        state,
        held: String::new(),
        n_searched: 0,
        counter: Counter::default(),
    })
}

impl Cohere {
    fn step(&mut self, piece: &mut Piece) -> bool {
        match self.state {
            State::Thinking => {
                let Some(at) = self.held.find(THINK_END) else {
                    piece.thinking += &take_decided(&mut self.held, &[THINK_END]);
                    return false;
                };
                piece.thinking.push_str(self.held[..at].trim_end());
                self.go_on(at + THINK_END.len(), State::Between)
            }
            State::Between => self.between(),
            State::Content => {
                let Some((at, tag)) = earliest(&self.held, &CLOSING) else {
                    let decided = self.held.len() - overlap_any(&self.held, &CLOSING);
                    piece.content.extend(self.held.drain(..decided));
                    return false;
                };
                piece.content.push_str(&self.held[..at]);
                self.go_on(at + tag.len(), State::Between)
            }
            State::Action => {
                let Some(at) = find_from(&self.held, ACTION_END, self.n_searched) else {
                    self.n_searched = self.held.len();
                    return false;
                };
                let calls = actions(&self.held[..at]);
                piece.tool_calls.extend(self.counter.number(calls));
                self.go_on(at + ACTION_END.len(), State::Between)
            }
        }
    }

    /// Takes the tag of the next block; other text is content.
    fn between(&mut self) -> bool {
        let blank = self.held.len() - self.held.trim_start().len();
        self.held.drain(..blank);
        if let Some(tag) = OPENING.iter().find(|tag| self.held.starts_with(**tag)) {
            let state = match *tag {
                ACTION => State::Action,
                TURN_END => State::Between,
                _ => State::Content,
            };
            return self.go_on(tag.len(), state);
        }
        if OPENING.iter().any(|tag| tag.starts_with(&self.held)) {
            return false;
        }
        self.state = State::Content;
        true
    }

    fn go_on(&mut self, from: usize, state: State) -> bool {
        self.held.drain(..from);
        self.n_searched = 0;
        self.state = state;
        true
    }
}

impl Parser for Cohere {
    fn push(&mut self, text: &str) -> Result<Piece, ParseError> {
        self.held.push_str(text);
        drive(|piece| Ok(self.step(piece)))
    }

    fn finish(&mut self) -> Result<Piece, ParseError> {
        let rest = std::mem::take(&mut self.held);
        let mut piece = Piece::default();
        match self.state {
            State::Action => piece.tool_calls = self.counter.number(actions(&rest)),
            State::Content | State::Between => piece.content = rest,
            State::Thinking => {}
        }
        Ok(piece)
    }

    fn cut(&mut self) -> Piece {
        let is_text = self.state != State::Action;
        let piece = self.finish().unwrap_or_default();
        // Held text may be the beginning of a tag, so it is dropped.
        if is_text { Piece::default() } else { piece }
    }
}

#[derive(Debug, Deserialize)]
struct Action {
    #[serde(default)]
    tool_name: String,
    #[serde(default)]
    parameters: Option<Map<String, Value>>,
}

impl From<Action> for ToolCall {
    fn from(action: Action) -> Self {
        call(action.tool_name, action.parameters.unwrap_or_default())
    }
}

/// Reads a list of calls; of a broken list, the objects that are complete.
fn actions(text: &str) -> Vec<ToolCall> {
    let text = text.trim();
    if let Ok(list) = serde_json::from_str::<Vec<Action>>(text) {
        return list.into_iter().map(ToolCall::from).collect();
    }
    let whole = objects(text).into_iter();
    whole
        .filter_map(|object| match serde_json::from_str::<Action>(object) {
            Ok(action) => Some(action.into()),
            Err(error) => {
                tracing::warn!(%error, "a tool call could not be read and is left out");
                None
            }
        })
        .collect()
}

/// The outermost objects of a text.
fn objects(text: &str) -> Vec<&str> {
    let mut objects = Vec::new();
    let (mut depth, mut start) = (0_u32, 0);
    let (mut in_string, mut escaped) = (false, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if in_string => escaped = true,
            '"' => in_string = !in_string,
            _ if in_string => {}
            '{' => {
                if depth == 0 {
                    start = at;
                }
                depth += 1;
            }
            '}' if depth > 0 => {
                depth -= 1;
                if depth == 0 {
                    objects.push(&text[start..=at]);
                }
            }
            _ => {}
        }
    }
    objects
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parser::cut::{check_cuts, joined};

    #[test]
    fn blocks_are_told_apart() {
        let text = "hm <|END_THINKING|><|START_RESPONSE|>Ok.<|END_RESPONSE|><|START_ACTION|>[\n\
            {\"tool_call_id\": \"0\", \"tool_name\": \"f\", \"parameters\": {\"a\": 1}}\n\
            {\"tool_name\": \"g\"}]<|END_ACTION|><|END_OF_TURN_TOKEN|>";
        let piece = joined(&mut *new(&Start::default()), [text]).unwrap();
        assert_eq!(
            (piece.thinking.as_str(), piece.content.as_str()),
            ("hm", "Ok.")
        );
        let names: Vec<_> = piece
            .tool_calls
            .iter()
            .map(|call| &call.function.name)
            .collect();
        assert_eq!(names, ["f", "g"]);
    }

    #[test]
    fn cuts_do_not_matter() {
        check_cuts(
            || new(&Start::default()),
            r#"[a <\n]{0,4}(<\|END_THINKING\|>)?[ \n]?((<\|START_TEXT\|>)?[b <\n]{0,4}(<\|END_TEXT\|>)?)?(<\|START_ACTION\|>\[\{"tool_name": "[<f]"\}\]<\|END_ACTION\|>)?[c \n]{0,2}"#,
        );
    }
}
