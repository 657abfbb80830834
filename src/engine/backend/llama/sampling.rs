//! Samples a token from a row of logits: llama-server's chain with Ollama's options.
//!
//! [`chain`](super::chain) has the samplers and their order. A constraint comes first: tokens that it forbids
//! are not candidates.

use std::sync::Arc;

use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::sampling::LlamaSampler;
use llama_cpp_2::token::LlamaToken;
use llama_cpp_2::token::data::LlamaTokenData;
use llama_cpp_2::token::data_array::LlamaTokenDataArray;

use super::biases::Biases;
use super::budget::Budget;
use super::chain::{self, LastDry};
use super::gate::Gate;
use super::grammar::Grammar;
use crate::engine::backend::shortlist::{self, Shortlist};
use crate::engine::backend::{BackendError, SamplerSpec};
use crate::protocol::Token;

/// The sampler of one sequence.
pub(crate) struct Sampler {
    kind: Kind,
    biases: Biases,
    /// How many tokens are still picked with the `endless` biases, which exclude end tokens.
    n_endless: u32,
    endless: Biases,
    constraint: Option<Constraint>,
    /// Limits the thinking; `None` = there is no limit, or it no longer matters.
    budget: Option<Budget>,
    /// For the texts of tokens.
    model: Arc<LlamaModel>,
}

struct Constraint {
    grammar: Grammar,
    /// `None` = the constraint applies from the first token.
    gate: Option<Gate>,
}

enum Kind {
    /// The token with the highest raw logit: needs no candidate array.
    Best,
    Chain {
        chain: LlamaSampler,
        /// If the chain has a top-k, the tokens that it can choose from.
        shortlist: Option<Shortlist>,
        /// A reused buffer.
        candidates: LlamaTokenDataArray,
    },
}

impl Sampler {
    pub(super) fn new(
        model: Arc<LlamaModel>,
        spec: &SamplerSpec<'_>,
        grammar: Option<Grammar>,
        budget: Option<Budget>,
        (last_dry, more_ends): (&LastDry, &[Token]),
    ) -> Result<Self, BackendError> {
        chain::check(spec.params)?;
        let biases = Biases::of(&model, spec.params);
        // A constraint itself decides where the text is complete.
        let n_endless = match spec.params {
            _ if grammar.is_some() => 0,
            params if params.ignore_eos => u32::MAX,
            params => params.min_tokens,
        };
        let endless = if n_endless > 0 {
            biases.without(end_tokens(&model).chain(more_ends.iter().copied()))
        } else {
            Biases::default()
        };
        let samplers = chain::samplers(&model, spec, last_dry);
        // A fully greedy chain consists of its last sampler, which is what `Best` does.
        let is_greedy = spec.params.temperature <= 0.0 && samplers.len() == 1;
        let kind = if is_greedy && biases.is_empty() && endless.is_empty() && grammar.is_none() {
            Kind::Best
        } else {
            let mut chain = LlamaSampler::chain(samplers, true);
            let seen = chain::n_seen(spec).min(spec.prompt.len());
            let seen = &spec.prompt[spec.prompt.len() - seen..];
            chain.accept_many(seen.iter().map(|token| LlamaToken(*token)));
            let biased = biases.tokens().chain(endless.tokens());
            let mut shortlist = chain::shortlist(biased, spec);
            if let Some(shortlist) = &mut shortlist {
                seen.iter().for_each(|token| shortlist.accept(*token));
            }
            Kind::Chain {
                chain,
                shortlist,
                candidates: LlamaTokenDataArray::new(Vec::new(), false),
            }
        };
        let constraint = grammar.map(|grammar| Constraint {
            grammar,
            gate: Gate::new(spec.exempt),
        });
        Ok(Self {
            kind,
            biases,
            n_endless,
            endless,
            constraint,
            budget,
            model,
        })
    }

    /// Whether picking takes so long that another thread is worth waking.
    pub(super) fn is_costly(&self) -> bool {
        !matches!(self.kind, Kind::Best)
    }

    /// Picks a token and accepts it.
    pub(super) fn pick(&mut self, logits: &[f32]) -> Result<Token, BackendError> {
        let Some(budget) = &mut self.budget else {
            return self.pick_freely(logits);
        };
        let forced = budget.forced();
        let token = match forced {
            Some(token) => token,
            None => self.pick_freely(logits)?,
        };
        let piece = piece(&self.model, token);
        if forced.is_some() {
            if let Some(gate) = self.constraint.as_mut().and_then(|held| held.gate.as_mut()) {
                gate.accept(&piece);
            }
            self.kind.accept(token);
        }
        self.budget.take_if(|budget| !budget.accept(&piece));
        Ok(token)
    }

    fn pick_freely(&mut self, logits: &[f32]) -> Result<Token, BackendError> {
        let Some(constraint) = &mut self.constraint else {
            let biases = if self.n_endless > 0 {
                &self.endless
            } else {
                &self.biases
            };
            let token = self.kind.choose(logits, biases, None)?;
            self.kind.accept(token);
            if self.n_endless < u32::MAX {
                self.n_endless = self.n_endless.saturating_sub(1);
            }
            return Ok(token);
        };
        if constraint
            .gate
            .as_ref()
            .is_some_and(|gate| !gate.is_passed())
        {
            let token = self.kind.choose(logits, &self.biases, None)?;
            let piece = piece(&self.model, token);
            let gate = constraint.gate.as_mut();
            if gate.is_some_and(|gate| gate.accept(&piece)) {
                self.kind.accept(token);
                return Ok(token);
            }
        }
        let grammar = Some(&mut constraint.grammar);
        let token = self.kind.choose(logits, &self.biases, grammar)?;
        self.kind.accept(token);
        constraint.grammar.accept(token)?;
        Ok(token)
    }
}

/// The tokens at which a text ends.
fn end_tokens(model: &LlamaModel) -> impl Iterator<Item = Token> {
    let vocab = model.vocab();
    (0..model.n_vocab()).filter(move |token| vocab.is_eog(LlamaToken(*token)))
}

/// The text of a token.
fn piece(model: &LlamaModel, token: Token) -> Vec<u8> {
    let mut piece = Vec::new();
    let vocab = model.vocab();
    vocab.token_to_piece_into(LlamaToken(token), &mut piece, true, None);
    piece
}

impl Kind {
    fn choose(
        &mut self,
        logits: &[f32],
        biases: &Biases,
        grammar: Option<&mut Grammar>,
    ) -> Result<Token, BackendError> {
        let token = match self {
            Self::Best => shortlist::best(logits),
            Self::Chain {
                chain,
                shortlist,
                candidates,
            } => {
                fill(candidates, logits, shortlist.as_mut(), grammar)?;
                biases.apply(&mut candidates.data);
                chain.apply(candidates);
                candidates.selected_token().map(|token| token.0)
            }
        };
        token.ok_or_else(|| BackendError("no token can be picked".to_owned()))
    }

    /// Accepts a token.
    fn accept(&mut self, token: Token) {
        if let Self::Chain {
            chain, shortlist, ..
        } = self
        {
            chain.accept(LlamaToken(token));
            if let Some(shortlist) = shortlist {
                shortlist.accept(token);
            }
        }
    }
}

/// Fills the candidates from the logits, in ascending order of tokens.
fn fill(
    candidates: &mut LlamaTokenDataArray,
    logits: &[f32],
    shortlist: Option<&mut Shortlist>,
    grammar: Option<&mut Grammar>,
) -> Result<(), BackendError> {
    candidates.selected = None;
    candidates.sorted = false;
    candidates.data.clear();
    let Some(grammar) = grammar else {
        if let Some(found) = shortlist.and_then(|shortlist| shortlist.find(logits)) {
            let found = found.iter().filter_map(|&token| {
                let logit = logits.get(usize::try_from(token).ok()?)?;
                Some(LlamaTokenData::new(LlamaToken(token), *logit, 0.0))
            });
            candidates.data.extend(found);
            return Ok(());
        }
        let all = (0..).zip(logits);
        let all = all.map(|(token, logit)| LlamaTokenData::new(LlamaToken(token), *logit, 0.0));
        candidates.data.extend(all);
        return Ok(());
    };
    grammar.allowed()?.iter_set_entries(|index| {
        if let (Some(logit), Ok(token)) = (logits.get(index), Token::try_from(index)) {
            let data = LlamaTokenData::new(LlamaToken(token), *logit, 0.0);
            candidates.data.push(data);
        }
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{SamplingParams, Xtc};

    const N_VOCAB: i32 = 50_000;

    /// A chain as requests get it by default, over a made-up vocabulary.
    fn chain(spec: &SamplerSpec<'_>, biases: Option<&Biases>) -> Kind {
        Kind::Chain {
            chain: LlamaSampler::chain(chain::without_model(N_VOCAB, spec), true),
            shortlist: biases.map(|biases| chain::shortlist(biases.tokens(), spec).unwrap()),
            candidates: LlamaTokenDataArray::new(Vec::new(), false),
        }
    }

    #[test]
    fn the_shortlist_picks_what_the_whole_vocabulary_picks() {
        let mut random = fastrand::Rng::with_seed(5);
        // No two are equal: the order of equal logits is arbitrary.
        let mut logits: Vec<f32> = (0..50_000_u16)
            .map(|rank| f32::from(rank) * 24.0 / 50_000.0 - 12.0)
            .collect();
        let often = Some(Xtc {
            probability: 0.7,
            threshold: 0.05,
        });
        for (top_k, presence_penalty, xtc) in [
            (1, 0.0, None),
            (40, 0.0, None),
            (40, 1.5, None),
            (40, 1.5, often),
            (200, -2.0, None),
        ] {
            let params = SamplingParams {
                top_k,
                presence_penalty,
                repeat_penalty: 1.3,
                repeat_last_n: 32,
                temperature: 1.5,
                top_p: 0.98,
                seed: Some(9),
                xtc,
                ..SamplingParams::default()
            };
            let exempt = crate::protocol::Exempt::default();
            let spec = SamplerSpec {
                params: &params,
                exempt: &exempt,
                prompt: &[],
                n_ctx: 1000,
            };
            let biases = Biases::new(vec![(7, 30.0), (8, f32::NEG_INFINITY)]);
            let (mut short, mut whole) = (chain(&spec, Some(&biases)), chain(&spec, None));
            let mut n_different = std::collections::HashSet::new();
            for _ in 0..200 {
                random.shuffle(&mut logits);
                let token = short.choose(&logits, &biases, None).unwrap();
                let expected = whole.choose(&logits, &biases, None).unwrap();
                assert_eq!(token, expected, "top_k {top_k}");
                let Kind::Chain { candidates, .. } = &short else {
                    unreachable!()
                };
                assert!(candidates.data.len() < 2_000, "the short way was taken");
                n_different.insert(token);
                short.accept(token);
                whole.accept(token);
            }
            assert!(n_different.len() > 5 || top_k == 1);
        }
    }

    #[test]
    fn a_shortlist_is_sure_or_none() {
        let mut shortlist = Shortlist::new(2, vec![5], 0);
        let mut logits = vec![0.0; 1000];
        logits[400] = 2.0;
        logits[900] = 3.0;
        logits[901] = 1.0;
        // A logit of minus infinity does no harm.
        logits[3] = f32::NEG_INFINITY;
        let found = shortlist.find(&logits).unwrap();
        assert!([5, 400, 900].iter().all(|token| found.contains(token)));
        logits[999] = f32::NAN;
        assert_eq!(shortlist.find(&logits), None);
        assert_eq!(Shortlist::new(2, Vec::new(), 0).find(&[1.0; 100]), None);
        let only_two = |index| if index < 2 { 1.0 } else { f32::NEG_INFINITY };
        let logits: Vec<f32> = (0..1000).map(only_two).collect();
        assert_eq!(shortlist.find(&logits), None);
    }
}
