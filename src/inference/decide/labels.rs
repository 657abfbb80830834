//! Labels: single tokens with which a model names an option.

use std::collections::{BTreeMap, BTreeSet};

use super::{Question, QuestionKind};
use crate::inference::error::{RequestError, invalid};
use crate::protocol::Token;

/// Letters for the options of choices; if they do not suffice, pairs of letters follow.
const LETTERS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";

const DIGITS: [&str; super::MOST_LEVELS] = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"];

/// All words that count as yes, and as no; the prompt shows the first one.
const YES: [&str; 2] = ["yes", "Yes"];
const NO: [&str; 2] = ["no", "No"];

/// The label of an option.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Label {
    /// As the prompt shows it.
    pub(super) text: String,
    /// The tokens that count as this label.
    pub(super) tokens: Vec<Token>,
}

/// The labels that are single tokens in a model's vocabulary at the start of an answer.
#[derive(Debug, Default)]
pub(super) struct Labels(BTreeMap<String, Token>);

/// The texts that these questions may use as labels. Models also say them with a leading space.
pub(super) fn wanted(questions: &[Question]) -> Vec<String> {
    let (mut n_options, mut n_levels, mut has_yes_no) = (0, 0, false);
    for question in questions {
        match &question.kind {
            QuestionKind::Choice(options) => n_options = n_options.max(options.len()),
            QuestionKind::Score(levels) => n_levels = n_levels.max(levels.len()),
            QuestionKind::YesNo { .. } => has_yes_no = true,
        }
    }
    let n_codes = match n_options {
        0 => 0,
        n if n <= LETTERS.len() => LETTERS.len(),
        _ => usize::MAX,
    };
    let digits = DIGITS.iter().take(n_levels);
    let words = YES.iter().chain(&NO).filter(|_| has_yes_no);
    let texts = codes().take(n_codes);
    let texts = texts.chain(digits.chain(words).map(|&text| text.to_owned()));
    texts.flat_map(|text| [format!(" {text}"), text]).collect()
}

/// `A` to `Z`, then `AA` to `ZZ`.
fn codes() -> impl Iterator<Item = String> {
    let pairs = LETTERS
        .chars()
        .flat_map(|a| LETTERS.chars().map(move |b| String::from_iter([a, b])));
    LETTERS.chars().map(String::from).chain(pairs)
}

impl Labels {
    /// Finds the labels from the tokens of a prompt, and those of the prompt followed by each text.
    pub(super) fn new(
        texts: Vec<String>,
        prompt: &[Token],
        tokens: impl Iterator<Item = Vec<Token>>,
    ) -> Self {
        let known = texts.into_iter().zip(tokens);
        let known = known.filter_map(|(text, tokens)| match tokens.strip_prefix(prompt) {
            Some(&[token]) => Some((text, token)),
            _ => None,
        });
        Self(known.collect())
    }

    /// The labels of a question's options.
    ///
    /// # Errors
    /// The vocabulary has no tokens for them.
    pub(super) fn of(&self, question: &Question) -> Result<Vec<Label>, RequestError> {
        let labels: Vec<Label> = match &question.kind {
            QuestionKind::Choice(options) => codes()
                .filter_map(|code| self.label(&[&code]))
                .take(options.len())
                .collect(),
            QuestionKind::Score(levels) => {
                let digits = DIGITS.iter().take(levels.len());
                digits.filter_map(|digit| self.label(&[digit])).collect()
            }
            QuestionKind::YesNo { .. } => {
                let words = [&YES, &NO].into_iter();
                words.filter_map(|words| self.label(words)).collect()
            }
        };
        let tokens = || labels.iter().flat_map(|label| &label.tokens);
        let is_clear = tokens().collect::<BTreeSet<_>>().len() == tokens().count();
        if is_clear && labels.len() == n_options(question) {
            return Ok(labels);
        }
        let message = format!(
            "question \"{}\" cannot be asked: this model's vocabulary does not have {} that are one token each",
            question.name,
            match &question.kind {
                QuestionKind::Choice(options) => format!("{} labels", options.len()),
                QuestionKind::Score(_) => "digits".to_owned(),
                QuestionKind::YesNo { .. } => "\"yes\" and \"no\"".to_owned(),
            }
        );
        Err(invalid(message).about("questions", "unsupported_value"))
    }

    /// A label that each of these words counts as; `None` = the vocabulary has none of them.
    fn label(&self, words: &[&str]) -> Option<Label> {
        let forms = words
            .iter()
            .flat_map(|word| [(*word).to_owned(), format!(" {word}")]);
        let mut tokens = Vec::new();
        for token in forms.filter_map(|form| self.0.get(&form)) {
            if !tokens.contains(token) {
                tokens.push(*token);
            }
        }
        (!tokens.is_empty()).then(|| Label {
            text: words[0].to_owned(),
            tokens,
        })
    }
}

fn n_options(question: &Question) -> usize {
    match &question.kind {
        QuestionKind::Choice(options) => options.len(),
        QuestionKind::Score(levels) => levels.len(),
        QuestionKind::YesNo { .. } => 2,
    }
}
