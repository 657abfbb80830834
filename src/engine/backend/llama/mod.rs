//! The real backend: llama.cpp. The only user of its crates, and the only place with `unsafe`.
//!
//! - `load`: a model and its context from the daemon's parameters · `weights`: its weights, `stream` and
//!   `numbers` for weights that are read through a view
//! - `context`: the C calls, `batch` for their arrays · `log`: llama.cpp's log · `devices`: the devices that it
//!   can compute on
//! - `memory`: the memory that a loaded model takes, `measure`: what it would take
//! - `rpc`: devices of other machines
//! - `quantize`: converts the tensors of a file to other types
//! - `preparer`: what requests are prepared with · `tokenizer`, `special`: texts to tokens
//! - `sampling`: how a token is picked · `chain`: by what samplers · `grammar`: constraints
//! - `vocabulary`: whether two models have the same one
//! - `encoder`: when a projector is loaded, `projector_file`: from which file · `projector`: images, with
//!   `picture` and `webp` for their files and `encoder_cache` for recent ones
//!
//! llama.cpp ends the process on a failed assertion, on a CUDA error and on some broken files; the daemon is
//! another process for that reason. What can be checked before a call is checked here. Dropping a `Llama` frees
//! the context and the model; llama.cpp itself is started once and never stopped.

mod batch;
mod biases;
mod budget;
mod chain;
mod context;
mod devices;
mod encoder;
mod encoder_cache;
mod gate;
mod grammar;
mod jpeg;
mod load;
mod log;
mod measure;
mod memory;
mod numbers;
mod picture;
mod preparer;
mod projector;
mod projector_file;
mod quantize;
pub(crate) mod rpc;
mod sampling;
mod schema;
mod sound;
mod special;
mod stream;
#[cfg(test)]
pub(crate) mod tests;
mod tokenizer;
mod vocabulary;
mod webp;
mod weights;

use std::collections::HashMap;
use std::sync::Arc;

use llama_cpp_2::model::LlamaModel;
use rayon::iter::{
    IndexedParallelIterator, IntoParallelIterator, IntoParallelRefMutIterator, ParallelIterator,
};

use self::batch::{places, signed};
use self::context::{Context, Vectors};
pub(crate) use self::devices::devices;
use self::encoder::Encoder;
pub(crate) use self::measure::measure;
use self::preparer::Preparer;
pub(crate) use self::quantize::quantize;
pub(crate) use self::sampling::Sampler;
use super::{Backend, BackendError, Decoded, MediaEncoder, Pick, Row, SeqId, shortlist};
use crate::engine::interrupt::Interrupt;
use crate::engine::media::Media;
use crate::protocol::{LoadParams, LoadedInfo, Token};

/// Costly rows from which sampling in parallel pays off: the threads that computed the step still spin for a
/// while, waiting for the next one, and take CPU time from the threads that are woken here.
const PARALLEL_FROM: usize = 3;

/// llama.cpp's return code for a computation that the abort callback has ended.
const INTERRUPTED: i32 = 2;

/// A model with its context.
pub(crate) struct Llama {
    context: Context,
    model: Arc<LlamaModel>,
    preparer: Arc<Preparer>,
    encoder: Option<Encoder>,
    info: LoadedInfo,
    n_outputs_max: usize,
    /// The context is for embeddings (`LoadParams::embedding`).
    embedding: bool,
    /// For each row of the last decode call, its index among the rows of llama.cpp's last call.
    outputs: Vec<Option<i32>>,
    /// The last decode call delivered embeddings.
    embedded: bool,
}

impl Llama {
    /// Loads a model; calls `on_progress` with fractions between 0 and 1. An error carries llama.cpp's message.
    pub(crate) fn load(
        params: &LoadParams,
        on_progress: &mut dyn FnMut(f32),
    ) -> Result<Self, BackendError> {
        let loaded = load::load(params, on_progress)?;
        Ok(Self {
            context: loaded.context,
            preparer: Arc::new(Preparer::new(
                &loaded.model,
                loaded.info.clone(),
                &params.end_tokens,
            )),
            model: loaded.model,
            encoder: loaded.encoder,
            info: loaded.info,
            n_outputs_max: loaded.n_outputs_max,
            embedding: params.embedding,
            outputs: Vec::new(),
            embedded: false,
        })
    }

    /// Refuses rows for which llama.cpp would end the process.
    fn check(&self, rows: &[Row]) -> Result<(), BackendError> {
        let n_outputs = rows.iter().filter(|row| row.output).count();
        let reason = if rows.is_empty() {
            "no rows to evaluate".to_owned()
        } else if rows.len() > self.n_batch() {
            format!(
                "{} rows are more than a batch of {}",
                rows.len(),
                self.n_batch()
            )
        } else if n_outputs > self.n_outputs_max {
            format!(
                "{n_outputs} rows with output are more than {}",
                self.n_outputs_max
            )
        } else if let Some(row) = rows.iter().find(|row| !self.is_token(row.token)) {
            format!("`{}` is not a token of this model", row.token)
        } else if let Some(row) = rows.iter().find(|row| row.seq >= self.info.n_slots) {
            format!("`{}` is not a sequence of this context", row.seq)
        } else {
            return Ok(());
        };
        Err(BackendError(reason))
    }

    fn is_token(&self, token: Token) -> bool {
        u32::try_from(token).is_ok_and(|token| token < self.info.n_vocab)
    }

    fn evaluate(&mut self, rows: &[Row]) -> Result<Decoded, BackendError> {
        log::start();
        match self.context.decode(rows) {
            0 => Ok(Decoded::Done),
            1 => Ok(Decoded::NoSpace),
            INTERRUPTED => Ok(Decoded::Interrupted),
            code => Err(BackendError(match log::cause() {
                Some(cause) => format!("llama.cpp could not evaluate the batch ({code}): {cause}"),
                None => format!("llama.cpp could not evaluate the batch ({code})"),
            })),
        }
    }

    /// Removes what the first part of a call added, if its second part found no room.
    fn undo(&mut self, rows: &[Row]) {
        let mut begin: HashMap<SeqId, u32> = HashMap::new();
        for row in rows {
            let first = begin.entry(row.seq).or_insert(row.position);
            *first = row.position.min(*first);
        }
        for (seq, from) in begin {
            self.context.remove(signed(seq), signed(from), -1);
        }
    }
}

impl Backend for Llama {
    type Sampler = Sampler;
    type Preparer = Preparer;

    fn preparer(&self) -> &Arc<Preparer> {
        &self.preparer
    }

    fn info(&self) -> &LoadedInfo {
        &self.info
    }

    fn n_batch(&self) -> usize {
        usize::try_from(self.context.n_batch()).unwrap_or(usize::MAX)
    }

    fn n_outputs(&self) -> usize {
        self.n_outputs_max.min(self.n_batch())
    }

    /// A CPU can do that; a GPU computes to the end.
    fn heed(&mut self, interrupt: &Arc<Interrupt>) -> bool {
        self.context.heed(interrupt);
        self.info.vram_bytes == 0 && !self.context.is_recurrent()
    }

    fn decode(&mut self, rows: &[Row]) -> Result<Decoded, BackendError> {
        self.outputs.clear();
        self.check(rows)?;
        let decoded = self.evaluate(rows)?;
        if decoded == Decoded::Done {
            let outputs = (0..)
                .zip(rows)
                .map(|(index, row)| row.output.then_some(index));
            self.outputs.extend(outputs);
            self.embedded = self.embedding;
        }
        Ok(decoded)
    }

    /// Takes two calls for a generative model: first the rows that only fill the cache, then, with embeddings
    /// switched on, the rows with outputs. With embeddings on for all rows, llama.cpp would compute a whole
    /// vocabulary's logits for every row.
    fn decode_embeddings(&mut self, rows: &[Row]) -> Result<Decoded, BackendError> {
        if self.embedding {
            return self.decode(rows);
        }
        self.outputs.clear();
        self.check(rows)?;
        let (last, first): (Vec<Row>, Vec<Row>) = rows.iter().partition(|row| row.output);
        if !first.is_empty() {
            let decoded = self.evaluate(&first)?;
            if decoded != Decoded::Done {
                return Ok(decoded);
            }
        }
        if last.is_empty() {
            self.outputs.resize(rows.len(), None);
            return Ok(Decoded::Done);
        }
        self.context.set_embeddings(true);
        let decoded = self.evaluate(&last);
        self.context.set_embeddings(false);
        let decoded = decoded?;
        if decoded != Decoded::Done {
            self.undo(&first);
            return Ok(decoded);
        }
        let mut index = 0..;
        let outputs = rows
            .iter()
            .map(|row| if row.output { index.next() } else { None });
        self.outputs.extend(outputs);
        self.embedded = true;
        Ok(Decoded::Done)
    }

    fn take_encoder(&mut self) -> Option<Box<dyn MediaEncoder>> {
        let encoder = self.encoder.take()?;
        Some(Box::new(encoder))
    }

    fn decode_media(
        &mut self,
        seq: SeqId,
        position: u32,
        media: &Media,
    ) -> Result<Decoded, BackendError> {
        self.outputs.clear();
        let n_rows = media.tokens.len();
        let n_embd = media.rows.embeddings.len() / n_rows;
        let n_call = self.n_batch();
        for begin in (0..n_rows).step_by(n_call) {
            let end = n_rows.min(begin + n_call);
            let vectors = Vectors {
                embeddings: &media.rows.embeddings[begin * n_embd..end * n_embd],
                places: &places(media, position, begin..end),
                is_seen_at_once: media.rows.is_seen_at_once,
            };
            log::start();
            match self.context.decode_vectors(signed(seq), &vectors) {
                0 => {}
                // The part of the image that was added is removed again.
                1 if begin == 0 || self.context.remove(signed(seq), signed(position), -1) => {
                    return Ok(Decoded::NoSpace);
                }
                code => {
                    let cause = log::cause().unwrap_or_default();
                    let message =
                        format!("llama.cpp could not evaluate an image ({code}): {cause}");
                    return Err(BackendError(message));
                }
            }
        }
        Ok(Decoded::Done)
    }

    fn sample(&mut self, picks: &mut [Pick<'_, Sampler>]) -> Vec<Result<Token, BackendError>> {
        let rows: Vec<_> = picks.iter().map(|pick| self.logits(pick.row)).collect();
        let pick = |(pick, logits): (&mut Pick<'_, Sampler>, Option<&[f32]>)| match logits {
            Some(logits) => pick.sampler.pick(logits),
            None => Err(BackendError(format!("row {} has no logits", pick.row))),
        };
        let n_costly = picks.iter().filter(|pick| pick.sampler.is_costly()).count();
        if n_costly < PARALLEL_FROM {
            picks.iter_mut().zip(rows).map(pick).collect()
        } else {
            let rows = rows.into_par_iter();
            picks.par_iter_mut().zip(rows).map(pick).collect()
        }
    }

    fn likeliest(&self, row: usize) -> Option<(Token, f32)> {
        shortlist::likeliest(self.logits(row)?)
    }

    fn same_vocabulary(&self, other: &Self) -> Result<(), BackendError> {
        vocabulary::compare(&self.model, &other.model)
            .map_err(|difference| BackendError(format!("their vocabularies differ: {difference}")))
    }

    fn logits(&self, row: usize) -> Option<&[f32]> {
        if self.embedding {
            return None;
        }
        let index = *self.outputs.get(row)?;
        self.context.logits(index?)
    }

    fn embedding(&self, seq: SeqId, last_row: usize) -> Option<Vec<f32>> {
        let index = self.outputs.get(last_row).copied()??;
        if !self.embedded {
            return None;
        }
        let vector = if self.context.is_pooled() {
            self.context.pooled_embedding(signed(seq))
        } else {
            self.context.row_embedding(index)
        };
        vector.map(<[f32]>::to_vec)
    }

    fn is_windowed(&self) -> bool {
        self.context.window() > 0 || self.context.is_recurrent()
    }

    fn floor(&self, seq: SeqId) -> u32 {
        let Some((first, last)) = self.context.positions(signed(seq)) else {
            return 0;
        };
        if self.context.is_recurrent() {
            return last + 1;
        }
        // Later rows attend to a window; part of it may be gone already.
        let window = self.context.window();
        if window == 0 || first == 0 {
            return 0;
        }
        (first + window).min(last + 1)
    }

    /// A window keeps everything that the first new row attends to until the call is over: what it drops by
    /// then is outside the window of every later position, too.
    fn can_take_back(&self, _: SeqId, _: usize) -> bool {
        !self.context.is_recurrent()
    }

    fn remove(&mut self, seq: SeqId, from: u32, to: Option<u32>) -> bool {
        let Some((first, last)) = self.context.positions(signed(seq)) else {
            return true;
        };
        if from > last || to.is_some_and(|to| to <= from) {
            return true;
        }
        let window = self.context.window();
        if window > 0 && from > 0 {
            // Rows after `from` attend to a window; part of it may be gone already. And a gap in the middle
            // would have to be closed by a shift, which such a memory refuses.
            let whole = first <= from.saturating_sub(window);
            let tail = to.is_none_or(|to| to > last);
            if !whole || !(tail || self.info.can_shift) {
                return false;
            }
        }
        self.context
            .remove(signed(seq), signed(from), to.map_or(-1, signed))
    }

    fn copy(&mut self, from: SeqId, to: SeqId, len: u32) {
        self.context.copy(signed(from), signed(to), signed(len));
    }

    fn shift(&mut self, seq: SeqId, from: u32, delta: i32) {
        if self.info.can_shift {
            self.context.shift(signed(seq), signed(from), delta);
        }
    }

    fn save(&self, seq: SeqId) -> Option<Vec<u8>> {
        self.context.save(signed(seq))
    }

    fn load(&mut self, seq: SeqId, state: &[u8], n_tokens: u32) -> bool {
        self.context.load(signed(seq), state)
            && self
                .context
                .positions(signed(seq))
                .is_some_and(|(_, last)| last + 1 == n_tokens)
    }
}
