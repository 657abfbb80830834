//! Drafts from the text itself and from its client's prediction: what followed the newest tokens at an earlier
//! occurrence.

use super::predictor::Predictor;
use super::{Candidate, Drafter, Price, Terms, Text};
use crate::protocol::{RequestId, Token};

/// A predictor for the sequence in each slot.
#[derive(Debug)]
pub(in crate::engine) struct PromptLookup {
    slots: Vec<(RequestId, Predictor)>,
}

impl PromptLookup {
    pub(in crate::engine) fn new(n_slots: usize) -> Self {
        let slots = std::iter::repeat_with(|| (RequestId::default(), Predictor::default()));
        Self {
            slots: slots.take(n_slots).collect(),
        }
    }

    fn predict(&mut self, text: &Text<'_>, is_end: &dyn Fn(Token) -> bool) -> Vec<Token> {
        let (id, predictor) = &mut self.slots[text.slot];
        if *id != text.id {
            (*id, *predictor) = (text.id, Predictor::expecting(text.prediction));
        }
        predictor.observe(text.tokens);
        let mut drafts = predictor.draft(text.tokens, text.n_most);
        let end = drafts.iter().position(|&token| is_end(token));
        drafts.truncate(end.unwrap_or(drafts.len()));
        drafts
    }
}

impl Drafter for PromptLookup {
    fn is_asked_for(&self) -> bool {
        false
    }

    fn draft(&mut self, texts: &[Text<'_>], terms: &Terms<'_>) -> Vec<Vec<Token>> {
        let mut drafts: Vec<_> = texts
            .iter()
            .map(|text| self.predict(text, terms.is_end))
            .collect();
        let candidate = |(text, drafts): (&Text<'_>, &Vec<Token>)| Candidate {
            odds: self.slots[text.slot].1.odds(drafts.len()),
        };
        let candidates: Vec<_> = texts.iter().zip(&drafts).map(candidate).collect();
        let counts = terms.choose(&candidates, Price::default());
        for (drafts, count) in drafts.iter_mut().zip(counts) {
            drafts.truncate(count);
        }
        drafts
    }

    fn forget(&mut self, slot: usize) {
        self.slots[slot].1.forget();
    }
}
