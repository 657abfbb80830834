//! How the fake prepares requests.
//!
//! | Mark | Where | Effect |
//! | --- | --- | --- |
//! | `[[read N]]` | in a text | its part takes N milliseconds to tokenize |
//! | `[[note NAME]]` | in a text | the log says each time that it is tokenized |
//! | `[[compile N]]` | in a constraint | it takes N milliseconds to compile |

use std::time::Duration;

use super::{FakeSampler, vocab, wait};
use crate::engine::backend::{BackendError, Ends, PairEnds, Part, Preparer, SamplerSpec};
use crate::protocol::{Constraint, LoadedInfo, Token};

/// Prepares requests for the fake.
pub(crate) struct FakePreparer {
    info: LoadedInfo,
    ends: Ends,
    pair_ends: PairEnds,
    /// The answer to everything.
    answer: Option<String>,
}

/// A constraint; only its presence matters.
pub(crate) struct FakeGrammar;

impl FakePreparer {
    pub(super) fn new(info: LoadedInfo, answer: Option<String>) -> Self {
        let ends = Ends {
            before: if info.add_bos {
                vec![vocab::BOS]
            } else {
                Vec::new()
            },
            after: Vec::new(),
        };
        let pair_ends = PairEnds {
            before: ends.before.clone(),
            between: vec![vocab::END],
            after: vec![vocab::END],
        };
        Self {
            info,
            ends,
            pair_ends,
            answer,
        }
    }
}

impl Preparer for FakePreparer {
    type Sampler = FakeSampler;
    type Grammar = FakeGrammar;

    fn info(&self) -> &LoadedInfo {
        &self.info
    }

    fn cut(&self, text: &str, parse_special: bool) -> Result<Vec<Part>, BackendError> {
        Ok(vocab::cut(text, parse_special))
    }

    fn tokenize_part(&self, part: &str) -> Vec<Token> {
        wait_as_marked(part, "[[read ");
        note(part);
        vocab::bytes(part)
    }

    fn ends(&self) -> &Ends {
        &self.ends
    }

    fn pair_ends(&self) -> &PairEnds {
        &self.pair_ends
    }

    fn append_piece(&self, token: Token, special: bool, out: &mut Vec<u8>) {
        vocab::append_piece(token, special, out);
    }

    fn is_end(&self, token: Token) -> bool {
        vocab::is_end(token)
    }

    fn cached_grammar(&self, constraint: &Constraint) -> Option<FakeGrammar> {
        matches!(constraint, Constraint::JsonObject).then_some(FakeGrammar)
    }

    fn compile(&self, constraint: &Constraint) -> Result<FakeGrammar, BackendError> {
        match constraint {
            Constraint::JsonObject => {}
            Constraint::JsonSchema(text) => {
                serde_json::from_str::<serde_json::Value>(text)
                    .map_err(|error| BackendError(format!("invalid schema: {error}")))?;
                wait_as_marked(text, "[[compile ");
            }
            Constraint::Regex(text) | Constraint::Lark(text) => wait_as_marked(text, "[[compile "),
        }
        Ok(FakeGrammar)
    }

    fn sampler(
        &self,
        spec: &SamplerSpec<'_>,
        grammar: Option<FakeGrammar>,
    ) -> Result<FakeSampler, BackendError> {
        FakeSampler::new(spec, grammar.is_some(), self.answer.clone())
    }
}

/// Logs a text that has a `note` mark.
fn note(part: &str) {
    const MARK: &str = "[[note ";
    let name = part
        .split_once(MARK)
        .and_then(|(_, rest)| rest.split_once("]]"));
    if let Some((name, _)) = name {
        tracing::debug!("tokenized {name}");
    }
}

/// Waits for as long as a mark in a text says.
fn wait_as_marked(text: &str, mark: &str) {
    let number = text.split_once(mark).and_then(|(_, rest)| {
        let (number, _) = rest.split_once("]]")?;
        number.trim().parse().ok()
    });
    wait(Duration::from_millis(number.unwrap_or(0)));
}
