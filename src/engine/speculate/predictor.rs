//! Predicts one sequence's next tokens, with their probabilities.
//!
//! A prediction follows the place that matched for as long as it is right. It is compared with every new token,
//! whether it was put into a batch or not. That costs nothing, and it shows for which sequences drafting pays
//! off, and when that changes, without trying.

use super::lookup::{Lookup, Match, N_GRAM};
use super::record::Record;
use crate::protocol::Token;

/// The most tokens that are noted at once: a long prompt must not hold up a step.
const INTAKE: usize = 16 * 1024;

/// Upper bounds of the classes of matches: the longer a match, the more probably it continues.
const CLASSES: [usize; 4] = [N_GRAM, 2 * N_GRAM, 4 * N_GRAM, 8 * N_GRAM];

/// An output that begins as the client expects is worth as much as a match of this length.
const EXPECTED: usize = 4 * N_GRAM + 1;

/// How often a draft is right, for each class and the one above, before anything is known about a sequence;
/// cautious, because a wrong draft costs time and a missed right one does not.
const FIRST_DRAFT: [f64; 5] = [0.3, 0.45, 0.6, 0.8, 0.9];

/// The lookup of one sequence, and its record.
#[derive(Debug)]
pub(in crate::engine) struct Predictor {
    lookup: Lookup,
    /// The place whose token is predicted to come next.
    next: Option<Match>,
    /// What the client expects the output to be, and after it the text; empty if it expects nothing.
    expected: Vec<Token>,
    n_expected: usize,
    /// All tokens were noted once: from then on every new token is predicted. The tokens before, the prompt,
    /// are not the model's own, and say nothing about how predictable its output is.
    has_begun: bool,
    classes: [Record; FIRST_DRAFT.len()],
}

impl Default for Predictor {
    fn default() -> Self {
        Self {
            lookup: Lookup::default(),
            next: None,
            expected: Vec::new(),
            n_expected: 0,
            has_begun: false,
            classes: FIRST_DRAFT.map(Record::new),
        }
    }
}

impl Predictor {
    /// A predictor for a sequence whose output is expected to be mostly `expected`.
    pub(in crate::engine) fn expecting(expected: &[Token]) -> Self {
        Self {
            expected: expected.to_vec(),
            n_expected: expected.len(),
            ..Self::default()
        }
    }

    /// Notes the tokens that have come since the last call.
    pub(in crate::engine) fn observe(&mut self, tokens: &[Token]) {
        if self.n_expected == 0 {
            self.note(tokens);
            return;
        }
        let mut text = std::mem::take(&mut self.expected);
        let n_known = text.len() - self.n_expected;
        text.extend_from_slice(tokens.get(n_known..).unwrap_or_default());
        let had_begun = self.has_begun;
        self.note(&text);
        if self.has_begun && !had_begun {
            self.next = begin(&text[..self.n_expected], tokens).or(self.next.take());
        }
        self.expected = text;
    }

    fn note(&mut self, tokens: &[Token]) {
        let end = tokens.len().min(self.lookup.len() + INTAKE);
        for index in self.lookup.len()..end {
            self.lookup.note(tokens);
            let known = &tokens[..=index];
            self.judge(known);
            self.has_begun |= known.len() == tokens.len();
            if self.has_begun && self.next.is_none() {
                let found = self.lookup.find(known);
                self.next = found.filter(|found| found.at != self.n_expected);
            }
        }
    }

    /// Compares the prediction with the newest token.
    fn judge(&mut self, known: &[Token]) {
        let Some(Match { at, len }) = self.next.take() else {
            return;
        };
        let is_right = known.last() == known.get(at);
        self.classes[class(len)].add(is_right);
        // Beyond the end of the client's expected text, nothing is predicted.
        if is_right && at + 1 != self.n_expected {
            self.next = Some(Match {
                at: at + 1,
                len: len + 1,
            });
        }
    }

    /// The tokens that probably come next, at most `n_most`; none until all of `tokens` was observed.
    pub(in crate::engine) fn draft(&self, tokens: &[Token], n_most: usize) -> Vec<Token> {
        let mut draft = Vec::new();
        let tokens = match self.n_expected {
            0 => tokens,
            _ => &self.expected,
        };
        let Some(next) = self.next.filter(|_| self.lookup.len() == tokens.len()) else {
            return draft;
        };
        let n_most = match self.n_expected.checked_sub(next.at) {
            Some(n_left @ 1..) => n_most.min(n_left),
            _ => n_most,
        };
        while draft.len() < n_most {
            // A place near the end runs into what is just being drafted: the text repeats itself.
            let index = next.at + draft.len();
            let token = match index.checked_sub(tokens.len()) {
                None => tokens[index],
                Some(index) => draft[index],
            };
            draft.push(token);
        }
        draft
    }

    /// For each of the next `n` tokens of a draft, the probability that it is right if all before it are.
    pub(in crate::engine) fn odds(&self, n: usize) -> Vec<f64> {
        let len = self.next.map_or(0, |next| next.len);
        let odds = (0..n).map(|index| self.classes[class(len + index)].odds());
        odds.collect()
    }

    /// Forgets the places, because the text has changed before its end; keeps the record.
    pub(in crate::engine) fn forget(&mut self) {
        self.lookup = Lookup::default();
        self.next = None;
        self.expected.truncate(self.n_expected);
        self.has_begun = false;
    }
}

/// Where an output continues in the expected text if it begins as expected. Its first token may differ, since a
/// tokenizer may put a space before a text.
fn begin(expected: &[Token], tokens: &[Token]) -> Option<Match> {
    let last = tokens.last()?;
    let place = expected
        .iter()
        .take(N_GRAM)
        .position(|token| token == last)?;
    (place + 1 < expected.len()).then_some(Match {
        at: place + 1,
        len: EXPECTED,
    })
}

/// The class of a match of this length.
fn class(len: usize) -> usize {
    CLASSES.partition_point(|&end| end < len)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The tokens of a text, one per byte.
    fn tokens(text: &str) -> Vec<Token> {
        text.bytes().map(Token::from).collect()
    }

    fn observed(text: &str, n_prompt: usize) -> Predictor {
        let mut predictor = Predictor::default();
        let tokens = tokens(text);
        predictor.observe(&tokens[..n_prompt]);
        predictor.observe(&tokens);
        predictor
    }

    fn draft(text: &str, n_most: usize) -> String {
        let draft = observed(text, text.len()).draft(&tokens(text), n_most);
        draft
            .iter()
            .map(|&token| char::from(u8::try_from(token).unwrap()))
            .collect()
    }

    #[test]
    fn a_draft_is_what_followed_before_and_goes_round_in_a_pattern() {
        assert_eq!(draft("the quick brown fox. the qu", 5), "ick b");
        assert_eq!(draft("abcdabcd", 7), "abcdabc");
        assert_eq!(draft("xaaaa", 4), "aaaa");
        assert_eq!(draft("all is new", 4), "");
        assert_eq!(draft("abcdabcd", 0), "");
    }

    #[test]
    fn a_right_prediction_is_followed_and_a_wrong_one_looked_up_anew() {
        let text = "abcdefg 1 abcdefg 2 abcd";
        let mut predictor = observed(text, text.len());
        // Of equally long matches, the newest is followed.
        let longer = format!("{text}efg");
        predictor.observe(&tokens(&longer));
        assert_eq!(predictor.draft(&tokens(&longer), 2), tokens(" 2"));
        let longer = format!("{longer} 1");
        predictor.observe(&tokens(&longer));
        assert_eq!(predictor.draft(&tokens(&longer), 3), tokens(" ab"));
    }

    #[test]
    fn the_record_tells_copies_from_chance() {
        let original = "let us see how a text that is copied fares; it should fare well enough ";
        let copied = observed(&original.repeat(4), original.len());
        assert!(copied.odds(1)[0] > 0.95, "{:?}", copied.odds(8));
        let mut random = fastrand::Rng::with_seed(1);
        let noise: String = (0..2000).map(|_| random.char('a'..='d')).collect();
        let noisy = observed(&noise, 10);
        let by_class: Vec<f64> = noisy.classes.iter().map(|record| record.odds()).collect();
        assert!((0.1..0.4).contains(&by_class[0]), "{by_class:?}");
        assert!(by_class[1] < 0.45, "{by_class:?}");
    }

    #[test]
    fn a_prompt_is_no_evidence() {
        let text = "abcabcabcabcabcabcabcabc";
        let predictor = observed(text, text.len());
        for (record, first) in predictor.classes.iter().zip(FIRST_DRAFT) {
            assert!((record.odds() - first).abs() < 1e-9);
        }
        assert!(!predictor.draft(&tokens(text), 1).is_empty());
    }

    #[test]
    fn a_long_prompt_is_taken_in_part_by_part() {
        let text = "0123456789".repeat(INTAKE / 10 + 1);
        let mut predictor = Predictor::default();
        predictor.observe(&tokens(&text));
        assert!(predictor.draft(&tokens(&text), 1).is_empty());
        predictor.observe(&tokens(&text));
        assert_eq!(predictor.draft(&tokens(&text), 2), tokens("01"));
    }

    #[test]
    fn what_was_forgotten_is_looked_up_anew() {
        let text = "one two three one two";
        let mut predictor = observed(text, text.len());
        predictor.forget();
        assert!(predictor.draft(&tokens(text), 3).is_empty());
        let shifted = &text[4..];
        predictor.observe(&tokens(shifted));
        assert_eq!(predictor.draft(&tokens(shifted), 3), tokens(" th"));
    }

    #[test]
    fn what_a_client_expects_is_foretold_from_the_beginning_on_and_again_after_a_change() {
        let expected = tokens("let total = sum(values);");
        let mut text = tokens("Rename it. ");
        let mut predictor = Predictor::expecting(&expected);
        text.extend(tokens("l"));
        predictor.observe(&text);
        assert_eq!(predictor.draft(&text, 4), tokens("et t"));
        assert!(predictor.odds(1)[0] > 0.7);
        text.extend(tokens("et all = s"));
        predictor.observe(&text);
        assert_eq!(predictor.draft(&text, 100), tokens("um(values);"));
        text.extend(tokens("um(values);"));
        predictor.observe(&text);
        // The prediction ends there.
        assert!(predictor.draft(&text, 4).is_empty());
        // A context shift.
        let rest = text.split_off(11);
        predictor.forget();
        predictor.observe(&rest);
        text = rest;
        text.extend(tokens(" let total = "));
        predictor.observe(&text);
        assert_eq!(predictor.draft(&text, 3), tokens("sum"));
    }

    proptest! {
        #[test]
        fn any_way_of_observing_comes_to_the_same(
            text in "[ab]{1,40}",
            mut cuts in prop::collection::vec(1..40_usize, 1..6),
        ) {
            let all = tokens(&text);
            cuts.sort_unstable();
            let n_prompt = cuts[0].min(all.len());
            let mut pieces = Predictor::default();
            for cut in cuts {
                pieces.observe(&all[..cut.min(all.len())]);
            }
            pieces.observe(&all);
            let whole = observed(&text, n_prompt);
            prop_assert_eq!(pieces.draft(&all, 8), whole.draft(&all, 8));
            prop_assert_eq!(pieces.odds(8), whole.odds(8));
        }

        #[test]
        fn odds_are_probabilities(text in "[abc]{0,60}", n_prompt in 0..60_usize) {
            let n_prompt = n_prompt.min(text.len());
            for odds in observed(&text, n_prompt).odds(40) {
                prop_assert!((0.0..=1.0).contains(&odds));
            }
        }
    }
}
