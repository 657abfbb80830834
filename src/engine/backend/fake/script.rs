//! What the fake answers, and the marks in a question that change it.
//!
//! | Mark | Effect |
//! | --- | --- |
//! | `[[repeat N]]` | the answer N times, separated by spaces |
//! | `[[say TEXT]]` | this text instead of the question's |
//! | `[[slow N]]` | each token takes N milliseconds more |
//! | `[[abort N]]` | the process aborts instead of picking token N (from 0, the default) |
//! | `[[hang N]]` | the engine never comes back from picking token N |
//! | `[[error N]]` | picking token N fails |
//! | `[[try WHAT ARGUMENT]]` | the answer is what became of it ([`attempt`](super::attempt)) |
//! | `[[nan]]` | the embedding of a text with this is not a number |
//!
//! Where no end token may be picked, full stops follow the answer. Under a constraint the answer is the JSON
//! object `{"answer": TEXT}`.

use super::{attempt, vocab};
use crate::engine::backend::{BackendError, SamplerSpec};
use crate::protocol::Token;

/// The answer to one prompt, and how much of it was given.
#[derive(Debug)]
pub(crate) struct FakeSampler {
    /// Prompt and answer so far.
    said: Vec<Token>,
    n_prompt: usize,
    answer: Vec<Token>,
    /// Tokens before which no end token is picked.
    n_least: usize,
    marks: Marks,
}

#[derive(Debug, Default)]
struct Marks {
    repeat: Option<usize>,
    say: Option<String>,
    slow_ms: u64,
    abort: Option<usize>,
    hang: Option<usize>,
    error: Option<usize>,
    attempt: Option<String>,
}

impl FakeSampler {
    /// `fixed` is the answer to everything.
    pub(super) fn new(
        spec: &SamplerSpec<'_>,
        is_constrained: bool,
        fixed: Option<String>,
    ) -> Result<Self, BackendError> {
        if !spec.params.temperature.is_finite() || spec.prompt.len() >= spec.n_ctx as usize {
            return Err(BackendError(
                "these sampling parameters make no sense".to_owned(),
            ));
        }
        let (question, marks) = Marks::read(&question(spec.prompt));
        let tried = marks.attempt.as_deref().map(attempt::run);
        let said = fixed.or(tried).or_else(|| marks.say.clone());
        let is_scripted = said.is_some();
        let mut answer = said.unwrap_or_else(|| question.trim().to_owned());
        if answer.is_empty() && !is_scripted {
            "ok".clone_into(&mut answer);
        }
        if let Some(times) = marks.repeat {
            answer = vec![answer; times].join(" ");
        }
        if is_constrained && !is_scripted {
            answer = serde_json::json!({ "answer": answer }).to_string();
        }
        let mut answer = vocab::tokenize(&answer, true);
        answer.push(vocab::END);
        Ok(Self {
            said: spec.prompt.to_vec(),
            n_prompt: spec.prompt.len(),
            answer,
            n_least: if spec.params.ignore_eos {
                usize::MAX
            } else {
                spec.params.min_tokens as usize
            },
            marks,
        })
    }

    pub(super) fn slow_ms(&self) -> u64 {
        self.marks.slow_ms
    }

    /// Picks the next token; fails unless the cache holds what was said.
    pub(super) fn next(&mut self, held: &[Token]) -> Result<Token, BackendError> {
        let n_given = self.said.len() - self.n_prompt;
        if self.marks.abort == Some(n_given) {
            tracing::error!("the fake aborts as asked");
            std::process::abort();
        }
        while self.marks.hang == Some(n_given) {
            std::thread::park();
        }
        if self.marks.error == Some(n_given) {
            return Err(BackendError("the fake fails as asked".to_owned()));
        }
        if !is_shortened(&self.said, held) {
            return Err(BackendError(
                "the cache does not hold what was said".to_owned(),
            ));
        }
        let mut token = self.answer.get(n_given).copied().unwrap_or(vocab::END);
        if token == vocab::END && n_given < self.n_least {
            token = vocab::FILLER;
        }
        self.said.push(token);
        Ok(token)
    }
}

/// The token of a text that follows the longest match with the end of `held`; the first token if nothing
/// matches.
pub(super) fn follow(text: &str, held: &[Token]) -> Token {
    let text = vocab::tokenize(text, true);
    let n_common = |end: usize| {
        let pairs = text[..end].iter().rev().zip(held.iter().rev());
        pairs.take_while(|(a, b)| a == b).count()
    };
    let best = (0..=text.len()).rev().max_by_key(|&end| n_common(end));
    let next = best.filter(|&end| n_common(end) > 0).unwrap_or(0);
    text.get(next).copied().unwrap_or(vocab::END)
}

/// Whether `held` is `said`, or a prefix and a suffix of it (after a context shift).
fn is_shortened(said: &[Token], held: &[Token]) -> bool {
    let front = held.iter().zip(said).take_while(|(a, b)| a == b).count();
    let back = held.iter().rev().zip(said.iter().rev());
    let back = back.take_while(|(a, b)| a == b).count();
    held.len() <= said.len() && back > 0 && front + back >= held.len()
}

/// The last user turn of a `ChatML` prompt, else the whole prompt.
fn question(prompt: &[Token]) -> String {
    let turns = prompt.split(|&token| token == vocab::TURN_START);
    let user = turns.rev().find_map(|turn| {
        let turn = turn.split(|&token| token == vocab::TURN_END).next()?;
        vocab::text(turn).strip_prefix("user\n").map(str::to_owned)
    });
    user.unwrap_or_else(|| vocab::text(prompt))
}

impl Marks {
    /// Removes the marks from a text.
    fn read(text: &str) -> (String, Self) {
        let mut marks = Self::default();
        let mut plain = String::new();
        let mut rest = text;
        while let Some((before, tail)) = rest.split_once("[[") {
            plain.push_str(before);
            let Some((mark, tail)) = tail.split_once("]]") else {
                plain.push_str("[[");
                rest = tail;
                continue;
            };
            let (name, argument) = mark.split_once(' ').unwrap_or((mark, ""));
            if !marks.set(name, argument) {
                plain.push_str("[[");
                plain.push_str(mark);
                plain.push_str("]]");
            }
            rest = tail;
        }
        plain.push_str(rest);
        (plain, marks)
    }

    fn set(&mut self, name: &str, argument: &str) -> bool {
        let number = argument.trim().parse::<usize>().ok();
        match name {
            "repeat" => self.repeat = number,
            "say" => self.say = Some(argument.to_owned()),
            "slow" => self.slow_ms = number.unwrap_or(0) as u64,
            "abort" => self.abort = number.or(Some(0)),
            "hang" => self.hang = number.or(Some(0)),
            "error" => self.error = number.or(Some(0)),
            "try" => self.attempt = Some(argument.to_owned()),
            _ => return false,
        }
        true
    }
}

/// A vector that depends only on the tokens, on each of them.
pub(super) fn embedding(tokens: &[Token], n_embd: u32) -> Vec<f32> {
    let is_nan = vocab::text(tokens).contains("[[nan]]");
    let value = |index: u32| {
        if is_nan {
            return f32::NAN;
        }
        let mut hash = 0x811c_9dc5_u32 ^ index;
        for token in tokens {
            hash = (hash ^ token.cast_unsigned()).wrapping_mul(0x0100_0193);
            hash ^= hash >> 15;
        }
        f32::from(i16::from_ne_bytes([
            hash.to_ne_bytes()[1],
            hash.to_ne_bytes()[2],
        ])) / 32768.0
    };
    (0..n_embd).map(value).collect()
}
