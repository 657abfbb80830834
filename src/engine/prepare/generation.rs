//! Turns the parameters of a generation into a sequence that can run.

use std::collections::VecDeque;
use std::time::Instant;

use super::reading::Reading;
use super::{Prepared, Terms, limits};
use crate::engine::backend::{MediaEncoder, Preparer, Room, SamplerSpec};
use crate::engine::media::Piece;
use crate::engine::output::Output;
use crate::engine::prompt::{self, Prompt};
use crate::engine::schedule::sequence::Made;
use crate::protocol::cut::cut_middle;
use crate::protocol::{
    Constraint, Failure, FailureKind, GenerateParams, PromptPart, RequestId, Token,
};

/// The tokens of a prompt that is too long are counted up to this number, for the error message.
const COUNTED: usize = 256 << 10;

/// A generation in preparation.
pub(super) struct Generation<P: Preparer> {
    params: GenerateParams,
    n_ctx: u32,
    /// The parts that are still to be tokenized or encoded.
    parts: VecDeque<PromptPart>,
    /// The text that is being tokenized.
    reading: Option<Reading>,
    has_images: bool,
    /// The images' headers were checked.
    is_checked: bool,
    /// The vocabulary's tokens are put around the prompt.
    adds_ends: bool,
    pieces: Vec<Piece>,
    /// Tokens and rows of the pieces.
    n_tokens: usize,
    /// Set when all parts are done.
    prompt: Option<Prompt>,
    /// Tokenized after the prompt.
    prediction: Vec<Token>,
    is_cut: bool,
    grammar: Option<P::Grammar>,
}

/// What a generation needs next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// Another slice of time.
    Time,
    /// An image encoded.
    Media,
    /// Its constraint compiled.
    Compiler,
    /// Nothing more.
    Nothing,
}

impl<P: Preparer> Generation<P> {
    pub(super) fn new(mut params: GenerateParams, terms: &Terms<P>) -> Result<Self, Failure> {
        if terms.is_embedding {
            return Err(prompt::failure(
                FailureKind::Unsupported,
                "this model computes embeddings and cannot generate text",
            ));
        }
        limits::check_generation(&mut params)?;
        let n_pool = terms.n_ctx_pool();
        let n_ctx = match params.n_ctx {
            0 => n_pool,
            n_ctx => n_ctx.min(n_pool),
        };
        let parts: VecDeque<PromptPart> = std::mem::take(&mut params.prompt).into();
        let is_media = |part: &PromptPart| matches!(part, PromptPart::Media(_));
        let begins_with_tokens = matches!(parts.front(), None | Some(PromptPart::Tokens(_)));
        let mut generation = Self {
            n_ctx,
            reading: None,
            has_images: parts.iter().any(is_media),
            is_checked: false,
            adds_ends: params.add_special && !begins_with_tokens,
            pieces: Vec::new(),
            n_tokens: 0,
            prompt: None,
            prediction: Vec::new(),
            is_cut: false,
            grammar: None,
            parts,
            params,
        };
        if generation.adds_ends {
            generation.push(Piece::Tokens(terms.preparer.ends().before.clone()));
        }
        Ok(generation)
    }

    /// Prepares a prompt whose tokens are only counted; it need not fit the context.
    pub(super) fn counted(mut params: GenerateParams, terms: &Terms<P>) -> Result<Self, Failure> {
        params.cut = false;
        params.constraint = None;
        params.prompt_logprobs = None;
        params.prediction.clear();
        let generation = Self::new(params, terms)?;
        Ok(Self {
            n_ctx: u32::MAX,
            ..generation
        })
    }

    /// The number of the prompt's tokens, once all of it was read.
    pub(super) fn n_prompt(&self) -> u32 {
        let prompt = self.prompt.as_ref();
        let n_tokens = prompt.map_or(self.n_tokens, |prompt| prompt.tokens.len());
        u32::try_from(n_tokens).unwrap_or(u32::MAX)
    }

    pub(super) fn constraint(&self) -> Option<&Constraint> {
        self.params.constraint.as_ref()
    }

    pub(super) fn set_grammar(&mut self, grammar: P::Grammar) {
        self.grammar = Some(grammar);
    }

    /// Does a slice of the work; returns what is needed next.
    pub(super) fn advance(&mut self, terms: &Terms<P>) -> Result<Need, Failure> {
        if self.has_images && !self.is_checked {
            return Ok(Need::Media);
        }
        if let Some(reading) = &mut self.reading {
            let more = reading.advance(&*terms.preparer);
            if self.prompt.is_some() {
                // Drafts beyond the context can never be accepted.
                if !more || reading.len() >= self.n_ctx as usize {
                    let tokens = self.reading.take().map(Reading::into_tokens);
                    self.prediction = tokens.unwrap_or_default();
                }
                return Ok(Need::Time);
            }
            let n_tokens = self.n_tokens + reading.len();
            if more && !self.params.cut && n_tokens >= COUNTED.max(self.n_ctx as usize) {
                let many = format!("more than {n_tokens}");
                return Err(prompt::too_long(&many, self.n_ctx as usize));
            }
            if !more {
                let tokens = self.reading.take().map(Reading::into_tokens);
                self.push(Piece::Tokens(tokens.unwrap_or_default()));
            }
            return Ok(Need::Time);
        }
        match self.parts.pop_front() {
            Some(PromptPart::Text(text)) => {
                let reading = Reading::new(&*terms.preparer, text, true);
                self.reading = Some(reading.map_err(|error| prompt::refused(&error))?);
                return Ok(Need::Time);
            }
            Some(PromptPart::Tokens(tokens)) => {
                prompt::check(terms.preparer.info(), &tokens)?;
                self.push(Piece::Tokens(tokens));
                return Ok(Need::Time);
            }
            Some(image @ PromptPart::Media(_)) => {
                self.parts.push_front(image);
                return Ok(Need::Media);
            }
            None => {}
        }
        if self.prompt.is_none() {
            self.prompt = Some(self.join(terms)?);
        }
        if !self.params.prediction.is_empty() {
            let text = std::mem::take(&mut self.params.prediction);
            let reading = Reading::new(&*terms.preparer, text, false);
            self.reading = Some(reading.map_err(|error| prompt::refused(&error))?);
            return Ok(Need::Time);
        }
        if let (Some(constraint), None) = (&self.params.constraint, &self.grammar) {
            self.grammar = terms.preparer.cached_grammar(constraint);
            if self.grammar.is_none() {
                return Ok(Need::Compiler);
            }
        }
        Ok(Need::Nothing)
    }

    /// On the first call checks all images; afterwards encodes one.
    pub(super) fn encode(&mut self, encoder: &mut dyn MediaEncoder) -> Result<(), Failure> {
        if !self.is_checked {
            self.is_checked = true;
            return encoder.check(self.parts.make_contiguous());
        }
        if let Some(PromptPart::Media(image)) = self.parts.front() {
            let room = Room {
                n_taken: self.n_tokens,
                n_ctx: self.n_ctx as usize,
            };
            for piece in encoder.encode_file(image, room)? {
                self.push(piece);
            }
            self.parts.pop_front();
            prompt::check_length(self.n_tokens, self.n_ctx as usize)?;
        }
        Ok(())
    }

    /// Adds a piece; tokens are appended to preceding tokens.
    fn push(&mut self, piece: Piece) {
        match piece {
            Piece::Media(media) => {
                self.n_tokens += media.tokens.len();
                self.pieces.push(Piece::Media(media));
            }
            Piece::Tokens(mut tokens) => {
                self.n_tokens += tokens.len();
                match self.pieces.last_mut() {
                    Some(Piece::Tokens(before)) if !before.is_empty() => before.append(&mut tokens),
                    Some(Piece::Tokens(before)) => *before = tokens,
                    _ => self.pieces.push(Piece::Tokens(tokens)),
                }
            }
        }
    }

    /// Puts the pieces of the prompt together.
    fn join(&mut self, terms: &Terms<P>) -> Result<Prompt, Failure> {
        if self.adds_ends {
            self.push(Piece::Tokens(terms.preparer.ends().after.clone()));
        }
        let has_bos = self.adds_ends && terms.preparer.info().add_bos;
        let mut prompt = Prompt::join(std::mem::take(&mut self.pieces), has_bos)?;
        if self.params.cut && !self.has_images {
            let cut = self.cut(&prompt.tokens, terms);
            self.is_cut = cut.is_some();
            prompt.tokens = cut.unwrap_or(prompt.tokens);
        }
        prompt::check_length(prompt.tokens.len(), self.n_ctx as usize)?;
        limits::check_prompt_logprobs(&self.params, prompt.tokens.len(), self.has_images)?;
        Ok(prompt)
    }

    /// What is left of a prompt that is too long.
    fn cut(&self, tokens: &[Token], terms: &Terms<P>) -> Option<Vec<Token>> {
        let n_bos = i32::from(terms.preparer.info().add_bos);
        let n_keep = match self.params.n_keep {
            all if all < 0 => all,
            n_keep => n_keep.saturating_add(n_bos),
        };
        cut_middle(tokens, self.n_ctx, n_keep)
    }

    /// Makes the sequence.
    pub(super) fn finish(
        self,
        id: RequestId,
        arrived: Instant,
        terms: &Terms<P>,
    ) -> Result<Prepared<P::Sampler>, Failure> {
        let preparer = &*terms.preparer;
        let prompt = self.prompt.unwrap_or_default();
        let spec = SamplerSpec {
            params: &self.params.sampling,
            exempt: &self.params.exempt,
            prompt: &prompt.text(),
            n_ctx: self.n_ctx,
        };
        let sampler = preparer.sampler(&spec, self.grammar);
        let sampler = sampler.map_err(|error| prompt::refused(&error))?;
        let made = Made {
            n_ctx: self.n_ctx,
            prompt,
            prediction: self.prediction,
            is_cut: self.is_cut,
            sampler,
            output: Output::new(&self.params.stop),
            preserved: prompt::preserved(preparer, &self.params.preserved),
            params: self.params,
        };
        Ok(Prepared::Generation(Box::new(made.sequence(id, arrived))))
    }
}
