//! What the engine needs of an inference library: the interface between scheduling and computing.
//!
//! `llama` is the real one (the only user of `llama-cpp-2`), `fake` a deterministic one for tests. A
//! [`Backend`] belongs to the engine thread; other threads prepare requests with its [`Preparer`] meanwhile.

#[cfg(any(test, feature = "fake"))]
pub(crate) mod fake;
#[cfg(feature = "llama")]
pub(crate) mod llama;
#[cfg(any(feature = "llama", feature = "bench"))]
pub(super) mod shortlist;

use std::ops::Range;
use std::sync::Arc;

use super::interrupt::Interrupt;
use super::media::{Media, Piece};
pub(crate) use super::row::{Row, SeqId};
use crate::protocol::{Constraint, Exempt, Failure, LoadedInfo, PromptPart, SamplingParams, Token};

/// The outcome of a decode call that did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decoded {
    Done,
    /// The pool has no room for these rows: free cells or try fewer. Nothing was changed.
    NoSpace,
    /// It was interrupted ([`Backend::heed`]). Some of the rows may be in the cache.
    Interrupted,
}

/// An error of the library; the text is for the client or the log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct BackendError(pub(crate) String);

/// How a sequence's tokens are picked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SamplerSpec<'a> {
    pub(crate) params: &'a SamplingParams,
    /// The output that the constraint does not apply to.
    #[cfg_attr(
        not(feature = "llama"),
        expect(dead_code, reason = "the fake's answers are given, not constrained")
    )]
    pub(crate) exempt: &'a Exempt,
    /// Tokens of the prompt: penalties apply to them, the constraint does not.
    pub(crate) prompt: &'a [Token],
    /// The request's context: the window of `repeat_last_n: -1`.
    pub(crate) n_ctx: u32,
}

/// One row to sample from.
pub(crate) struct Pick<'a, S> {
    /// Index of the row in the last decode call.
    pub(crate) row: usize,
    pub(crate) sampler: &'a mut S,
}

/// How much of its context a prompt has taken.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Room {
    pub(crate) n_taken: usize,
    pub(crate) n_ctx: usize,
}

/// Encodes the images of prompts, on a separate thread.
pub(crate) trait MediaEncoder: Send {
    /// Checks the images of a prompt, without decoding any of them.
    ///
    /// # Errors
    /// A file is not an image, or the images are too large, each or together.
    fn check(&self, parts: &[PromptPart]) -> Result<(), Failure>;

    /// Encodes an image or a sound (base64 of its file), with the model's own special tokens around it.
    ///
    /// # Errors
    /// The model cannot see or hear this file, or there is no room for it.
    fn encode_file(&mut self, file: &str, room: Room) -> Result<Vec<Piece>, Failure>;
}

/// A part of a text that is tokenized by itself: the tokens of all parts together are the tokens of the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Part {
    /// The text of a special token, as that token.
    Token(Token),
    /// A range of bytes of the text, without special tokens.
    Text(Range<usize>),
}

/// The tokens that the vocabulary puts around every text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Ends {
    pub(crate) before: Vec<Token>,
    pub(crate) after: Vec<Token>,
}

/// The tokens around and between a query and a document, as llama-server adds them for rerankers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct PairEnds {
    pub(crate) before: Vec<Token>,
    pub(crate) between: Vec<Token>,
    pub(crate) after: Vec<Token>,
}

/// What several threads prepare requests with at once: it is only read.
///
/// *Invariant:* no call takes long, whatever a client has sent, except [`Self::compile`]. Long texts are passed
/// in parts of bounded length.
pub(crate) trait Preparer: Send + Sync + 'static {
    /// The sampler of one sequence: random generator, penalties, constraint.
    type Sampler: Send + 'static;

    /// A compiled constraint in its initial state.
    type Grammar: Send + 'static;

    /// What is known about the loaded model.
    fn info(&self) -> &LoadedInfo;

    /// Cuts a text into parts. With `parse_special` the texts of all special tokens become those tokens, else
    /// only the texts of those that the vocabulary treats as text.
    fn cut(&self, text: &str, parse_special: bool) -> Result<Vec<Part>, BackendError>;

    /// Tokenizes a part of a text.
    fn tokenize_part(&self, part: &str) -> Vec<Token>;

    /// The tokens around every text.
    fn ends(&self) -> &Ends;

    fn pair_ends(&self) -> &PairEnds;

    /// Appends a token's bytes; those of special tokens only if `special` is set.
    fn append_piece(&self, token: Token, special: bool, out: &mut Vec<u8>);

    /// Whether a token ends the generation.
    fn is_end(&self, token: Token) -> bool;

    /// A constraint that was compiled recently.
    fn cached_grammar(&self, constraint: &Constraint) -> Option<Self::Grammar>;

    /// Compiles a constraint, which can take seconds and a large stack.
    fn compile(&self, constraint: &Constraint) -> Result<Self::Grammar, BackendError>;

    /// Makes a sampler.
    fn sampler(
        &self,
        spec: &SamplerSpec<'_>,
        grammar: Option<Self::Grammar>,
    ) -> Result<Self::Sampler, BackendError>;

    /// Tokenizes a text that is known to be short.
    fn tokenize(&self, text: &str, parse_special: bool) -> Result<Vec<Token>, BackendError> {
        let mut tokens = Vec::new();
        for part in self.cut(text, parse_special)? {
            match part {
                Part::Token(token) => tokens.push(token),
                Part::Text(range) => tokens.append(&mut self.tokenize_part(&text[range])),
            }
        }
        Ok(tokens)
    }
}

/// A loaded model with its context. Dropping it frees everything.
pub(crate) trait Backend {
    /// The sampler of one sequence, as the preparer makes it.
    type Sampler: Send + 'static;

    type Preparer: Preparer<Sampler = Self::Sampler>;

    /// What requests for this model are prepared with.
    fn preparer(&self) -> &Arc<Self::Preparer>;

    /// What is known about the loaded model.
    fn info(&self) -> &LoadedInfo;

    /// Most rows of one decode call.
    fn n_batch(&self) -> usize;

    /// Most rows of one decode call that may have outputs.
    fn n_outputs(&self) -> usize;

    /// Appends a token's bytes; those of special tokens only if `special` is set.
    fn append_piece(&self, token: Token, special: bool, out: &mut Vec<u8>) {
        self.preparer().append_piece(token, special, out);
    }

    /// Whether a token ends the generation.
    fn is_end(&self, token: Token) -> bool {
        self.preparer().is_end(token)
    }

    /// From now on calls of `decode` and `decode_embeddings` end early when the interrupt is due. False if the
    /// device cannot do that.
    fn heed(&mut self, interrupt: &Arc<Interrupt>) -> bool;

    /// Evaluates rows. The rows of a sequence must be in order and continue what it holds.
    fn decode(&mut self, rows: &[Row]) -> Result<Decoded, BackendError>;

    /// `decode` for rows of which at least one needs an embedding; the others are as in `decode`. Each
    /// sequence's outputs come last among its rows.
    fn decode_embeddings(&mut self, rows: &[Row]) -> Result<Decoded, BackendError> {
        self.decode(rows)
    }

    /// The encoder for images, if the model was loaded with a projector. Given away once.
    fn take_encoder(&mut self) -> Option<Box<dyn MediaEncoder>>;

    /// Evaluates an image at the next position of a sequence, as a whole or not at all.
    fn decode_media(
        &mut self,
        seq: SeqId,
        position: u32,
        media: &Media,
    ) -> Result<Decoded, BackendError>;

    /// Samples a token for each of these rows, in parallel where that pays off; the samplers accept the tokens.
    /// A row without an output is an error.
    fn sample(&mut self, picks: &mut [Pick<'_, Self::Sampler>])
    -> Vec<Result<Token, BackendError>>;

    /// The most probable token of a row of the last decode call, and its approximate probability.
    fn likeliest(&self, row: usize) -> Option<(Token, f32)>;

    /// Whether another model has the same vocabulary, so that it can draft for this one.
    fn same_vocabulary(&self, other: &Self) -> Result<(), BackendError>;

    /// The raw logits of a row of the last decode call, `n_vocab` long.
    fn logits(&self, row: usize) -> Option<&[f32]>;

    /// The embedding of a sequence whose rows were all in the last `decode_embeddings` call (`last_row` is the
    /// index of its last one, an output): pooled as the model says, or the last row's vector if it says
    /// nothing; not normalized.
    fn embedding(&self, seq: SeqId, last_row: usize) -> Option<Vec<f32>>;

    /// Whether a sequence that has run on cannot be cut back everywhere, because earlier parts are gone
    /// (sliding windows) or were never kept (recurrent state).
    fn is_windowed(&self) -> bool;

    /// The fewest positions to which a sequence can be cut back, apart from zero. Called only for a memory that
    /// `is_windowed`.
    fn floor(&self, seq: SeqId) -> u32;

    /// Whether, after the next decode call added at most `1 + n_rows` rows to a sequence, the last
    /// `n_rows` of them can be dropped again.
    fn can_take_back(&self, seq: SeqId, n_rows: usize) -> bool;

    /// Drops positions `from..to` (`None` = to the end). False if this memory cannot do that (sliding windows,
    /// recurrent state); then nothing was changed.
    fn remove(&mut self, seq: SeqId, from: u32, to: Option<u32>) -> bool;

    /// Shares positions `0..len` of one sequence with another, empty one.
    fn copy(&mut self, from: SeqId, to: SeqId, len: u32);

    /// Moves the positions from `from` on by `delta`.
    fn shift(&mut self, seq: SeqId, from: u32, delta: i32);

    /// Serializes what a sequence's cells hold; `None` if this memory cannot do that.
    fn save(&self, seq: SeqId) -> Option<Vec<u8>>;

    /// Fills an empty sequence with `n_tokens` positions from a state that `save` made with the same model and
    /// settings. False if there is no room or the bytes are not such a state; the sequence may then hold
    /// anything.
    fn load(&mut self, seq: SeqId, state: &[u8], n_tokens: u32) -> bool;
}
