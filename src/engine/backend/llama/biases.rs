//! Adds requests' biases to the logits of single tokens, in one pass over the candidates: unless the candidates
//! are the whole vocabulary, llama.cpp's sampler searches all biases for each candidate.

use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::token::data::LlamaTokenData;

use crate::protocol::{SamplingParams, Token};

/// In ascending order, each token once.
#[derive(Debug, Default)]
pub(super) struct Biases(Vec<(Token, f32)>);

impl Biases {
    /// The request's biases, and the model's own list of tokens that are never output.
    pub(super) fn of(model: &LlamaModel, params: &SamplingParams) -> Self {
        let vocab = model.vocab();
        let never = vocab.suppress_tokens().iter();
        let never = never.map(|token| (token.0, f32::NEG_INFINITY));
        let all = params.logit_bias.iter().copied().chain(never);
        let is_token = |&(token, _): &(Token, f32)| (0..model.n_vocab()).contains(&token);
        Self::new(all.filter(is_token).collect())
    }

    pub(super) fn new(mut biases: Vec<(Token, f32)>) -> Self {
        biases.sort_by_key(|(token, _)| *token);
        // Several biases for one token add up.
        biases.dedup_by(|next, kept| {
            let is_same = next.0 == kept.0;
            if is_same {
                kept.1 += next.1;
            }
            is_same
        });
        Self(biases)
    }

    /// The same biases, but these tokens are never picked.
    pub(super) fn without(&self, tokens: impl Iterator<Item = Token>) -> Self {
        let never = tokens.map(|token| (token, f32::NEG_INFINITY));
        Self::new(self.0.iter().copied().chain(never).collect())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn tokens(&self) -> impl Iterator<Item = Token> {
        self.0.iter().map(|(token, _)| *token)
    }

    /// Adds the biases to candidates, which are in ascending order.
    pub(super) fn apply(&self, candidates: &mut [LlamaTokenData]) {
        let mut biases = self.0.iter().peekable();
        for candidate in candidates {
            let token = candidate.id().0;
            while biases.next_if(|(of, _)| *of < token).is_some() {}
            match biases.peek() {
                Some(&&(of, bias)) if of == token => candidate.set_logit(candidate.logit() + bias),
                Some(_) => {}
                None => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use llama_cpp_2::token::LlamaToken;

    use super::*;

    #[test]
    fn each_candidate_gets_what_its_token_has() {
        let biases = Biases::new(vec![
            (7, 1.0),
            (2, f32::NEG_INFINITY),
            (7, 0.5),
            (9, 3.0),
            (5, 2.0),
        ]);
        let candidate = |token| LlamaTokenData::new(LlamaToken(token), 1.0, 0.0);
        let mut candidates: Vec<_> = [1, 2, 7, 8, 9, 11].map(candidate).into();
        biases.apply(&mut candidates);
        let logits: Vec<f32> = candidates.iter().map(LlamaTokenData::logit).collect();
        assert_eq!(logits, [1.0, f32::NEG_INFINITY, 2.5, 1.0, 4.0, 1.0]);
        assert_eq!(biases.tokens().collect::<Vec<_>>(), [2, 5, 7, 9]);
    }
}
