//! What the engine asks of an inference library: the seam between scheduling and computing.
//!
//! `llama` is the real one (the only user of `llama-cpp-2`), `fake` a deterministic stand-in for
//! tests. Everything here is called by the engine thread.

#[cfg(any(test, feature = "fake"))]
pub(crate) mod fake;
#[cfg(feature = "llama")]
pub(crate) mod llama;
#[cfg(any(feature = "llama", feature = "bench"))]
pub(super) mod shortlist;

use super::media::{Media, Piece};
use crate::protocol::{Constraint, Exempt, Failure, LoadedInfo, PromptPart, SamplingParams, Token};

/// A KV sequence of the unified pool, below the number that the model was loaded with.
pub(crate) type SeqId = u32;

/// One token of a decode call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) token: Token,
    /// Position in its sequence, from 0.
    pub(crate) position: u32,
    pub(crate) seq: SeqId,
    /// Logits (or an embedding) are wanted for this row.
    pub(crate) output: bool,
}

/// What came of a decode call that did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decoded {
    Done,
    /// The pool has no room for these rows: free cells or try fewer. Nothing was changed.
    NoSpace,
}

/// Why the library could not do something; the text is for the client or the log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct BackendError(pub(crate) String);

/// How a sequence's tokens are picked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SamplerSpec<'a> {
    pub(crate) params: &'a SamplingParams,
    pub(crate) constraint: Option<&'a Constraint>,
    /// What comes before the constraint holds.
    #[cfg_attr(
        not(feature = "llama"),
        expect(dead_code, reason = "the fake's answers are given, not constrained")
    )]
    pub(crate) exempt: &'a Exempt,
    /// Tokens that the penalties have seen already; the constraint has not.
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

/// Reads prompts with images, on a thread of its own.
pub(crate) trait MediaReader: Send {
    /// Looks over the images of a prompt, without decoding any of them.
    ///
    /// # Errors
    /// One of them is no image, or they are too large, each or together.
    fn check(&self, parts: &[PromptPart]) -> Result<(), Failure>;

    /// Turns a part of a prompt into tokens and encoded images.
    ///
    /// # Errors
    /// It is no image that the model can see.
    fn read(&mut self, part: &PromptPart) -> Result<Vec<Piece>, Failure>;

    /// The tokens that stand before and behind every prompt.
    fn ends(&self) -> [Vec<Token>; 2];
}

/// A loaded model with its context. Dropping it frees everything.
pub(crate) trait Backend {
    /// State of one sequence's sampling: random generator, penalties, constraint.
    type Sampler: Send;

    /// What became of the load.
    fn info(&self) -> &LoadedInfo;

    /// Most rows of one decode call.
    fn n_batch(&self) -> usize;

    /// Most rows of one decode call whose output may be asked for.
    fn n_outputs(&self) -> usize;

    /// Text → tokens.
    #[expect(
        clippy::fn_params_excessive_bools,
        reason = "llama.cpp's own two switches, passed through under their names"
    )]
    fn tokenize(
        &self,
        text: &str,
        add_special: bool,
        parse_special: bool,
    ) -> Result<Vec<Token>, BackendError>;

    /// Appends a token's bytes; those of special tokens only if `special` is set.
    fn append_piece(&self, token: Token, special: bool, out: &mut Vec<u8>);

    /// Whether a token ends the generation.
    fn is_end(&self, token: Token) -> bool;

    /// Evaluates rows. Rows of one sequence come in order and continue what it holds.
    fn decode(&mut self, rows: &[Row]) -> Result<Decoded, BackendError>;

    /// `decode` for rows of which at least one wants an embedding; all others are as in `decode`.
    /// Each sequence's outputs come last among its rows.
    fn decode_embeddings(&mut self, rows: &[Row]) -> Result<Decoded, BackendError> {
        self.decode(rows)
    }

    /// The reader of prompts with images, if the model was loaded with a projector. Given away once.
    fn take_reader(&mut self) -> Option<Box<dyn MediaReader>>;

    /// Evaluates an image at the next position of a sequence, as a whole or not at all.
    fn decode_media(
        &mut self,
        seq: SeqId,
        position: u32,
        media: &Media,
    ) -> Result<Decoded, BackendError>;

    /// Makes a sampler.
    fn sampler(&self, spec: &SamplerSpec<'_>) -> Result<Self::Sampler, BackendError>;

    /// Picks a token for each of these rows and tells their samplers of it, in parallel where that
    /// pays. Rows whose output was not asked for are an error.
    fn sample(&mut self, picks: &mut [Pick<'_, Self::Sampler>])
    -> Vec<Result<Token, BackendError>>;

    /// The likeliest token of a row of the last decode call, and about how probable it is.
    fn likeliest(&self, row: usize) -> Option<(Token, f32)>;

    /// Whether the tokens of another model mean the same, so that it can guess for this one.
    fn same_vocabulary(&self, other: &Self) -> Result<(), BackendError>;

    /// The raw logits of a row of the last decode call, `n_vocab` long.
    fn logits(&self, row: usize) -> Option<&[f32]>;

    /// The embedding of a sequence whose rows were all in the last `decode_embeddings` call
    /// (`last_row` is the index of its last one, an output): pooled as the model says, the last
    /// row's vector if it says nothing, without normalisation.
    fn embedding(&self, seq: SeqId, last_row: usize) -> Option<Vec<f32>>;

    /// Whether a sequence that has run on cannot be cut back everywhere: parts of what came before
    /// are gone (sliding windows) or were never kept (recurrent state).
    fn is_windowed(&self) -> bool;

    /// Whether a sequence can be cut back to its first `len` positions.
    fn can_cut(&self, seq: SeqId, len: u32) -> bool;

    /// Whether, after the next decode call added at most `1 + n_rows` rows to a sequence, the last
    /// `n_rows` of them can be dropped again.
    fn can_take_back(&self, seq: SeqId, n_rows: usize) -> bool;

    /// Drops positions `from..to` (`None` = to the end). False when this memory cannot do that
    /// (sliding windows, recurrent state); then nothing was changed.
    fn remove(&mut self, seq: SeqId, from: u32, to: Option<u32>) -> bool;

    /// Shares positions `0..len` of one sequence with another, empty one.
    fn copy(&mut self, from: SeqId, to: SeqId, len: u32);

    /// Moves the positions from `from` on by `delta`.
    fn shift(&mut self, seq: SeqId, from: u32, delta: i32);

    /// Writes down what a sequence's cells hold; `None` if this memory cannot.
    fn save(&self, seq: SeqId) -> Option<Vec<u8>>;

    /// Fills an empty sequence with `n_tokens` positions from what `save` wrote down, of the same
    /// model with the same settings. False when there is no room or the bytes are no such state; the
    /// sequence may then hold anything.
    fn load(&mut self, seq: SeqId, state: &[u8], n_tokens: u32) -> bool;
}
