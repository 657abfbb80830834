//! What requests are prepared with: the vocabulary, constraints and samplers of a loaded model.
//!
//! Once loaded, llama.cpp's vocabulary is only read, so several threads may use it.

use std::sync::Arc;

use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::token::LlamaToken;

use super::budget::Budget;
use super::chain::LastDry;
use super::grammar::{Grammar, Grammars};
use super::sampling::Sampler;
use super::tokenizer::Tokenizer;
use crate::engine::backend::{self, BackendError, Ends, PairEnds, Part, SamplerSpec};
use crate::protocol::{Constraint, LoadedInfo, Token};

/// The preparer of a model loaded by llama.cpp.
pub(crate) struct Preparer {
    info: LoadedInfo,
    model: Arc<LlamaModel>,
    tokenizer: Tokenizer,
    grammars: Grammars,
    last_dry: LastDry,
    /// Tokens that end an answer, besides those that llama.cpp knows.
    end_tokens: Vec<Token>,
}

impl Preparer {
    pub(super) fn new(model: &Arc<LlamaModel>, info: LoadedInfo, end_tokens: &[Token]) -> Self {
        Self {
            info,
            tokenizer: Tokenizer::new(Arc::clone(model)),
            grammars: Grammars::new(Arc::clone(model)),
            last_dry: LastDry::default(),
            end_tokens: end_tokens.to_vec(),
            model: Arc::clone(model),
        }
    }

    fn is_token(&self, token: Token) -> bool {
        u32::try_from(token).is_ok_and(|token| token < self.info.n_vocab)
    }
}

impl backend::Preparer for Preparer {
    type Sampler = Sampler;
    type Grammar = Grammar;

    fn info(&self) -> &LoadedInfo {
        &self.info
    }

    fn cut(&self, text: &str, parse_special: bool) -> Result<Vec<Part>, BackendError> {
        self.tokenizer.cut(text, parse_special)
    }

    fn tokenize_part(&self, part: &str) -> Vec<Token> {
        self.tokenizer.tokenize(part)
    }

    fn pair_ends(&self) -> &PairEnds {
        self.tokenizer.pair_ends()
    }

    fn ends(&self) -> &Ends {
        self.tokenizer.ends()
    }

    fn append_piece(&self, token: Token, special: bool, out: &mut Vec<u8>) {
        if self.is_token(token) {
            let vocab = self.model.vocab();
            vocab.token_to_piece_into(LlamaToken(token), out, special, None);
        }
    }

    fn is_end(&self, token: Token) -> bool {
        let is_known = self.is_token(token) && self.model.vocab().is_eog(LlamaToken(token));
        is_known || self.end_tokens.contains(&token)
    }

    fn cached_grammar(&self, constraint: &Constraint) -> Option<Grammar> {
        self.grammars.recall(constraint)
    }

    fn compile(&self, constraint: &Constraint) -> Result<Grammar, BackendError> {
        self.grammars.compile(constraint)
    }

    fn sampler(
        &self,
        spec: &SamplerSpec<'_>,
        grammar: Option<Grammar>,
    ) -> Result<Sampler, BackendError> {
        let budget = match &spec.exempt.thinking {
            Some(tags) if tags.n_most.is_some() => {
                Budget::new(tags, self.tokenize(&tags.forced, true)?)
            }
            _ => None,
        };
        Sampler::new(
            Arc::clone(&self.model),
            spec,
            grammar,
            budget,
            (&self.last_dry, &self.end_tokens),
        )
    }
}
