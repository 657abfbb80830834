//! A deterministic fake model, for tests of everything around a model.
//!
//! A file counts as such a model if it is a GGUF whose `general.architecture` is `drover-fake` (in a build
//! without llama.cpp: any GGUF). Keys that it may have, all `u32`:
//!
//! | Key | Meaning |
//! | --- | --- |
//! | `drover-fake.context_length` | trained context, 8192 if absent |
//! | `drover-fake.embedding_length` | length of embeddings, 8 if absent |
//! | `drover-fake.attention.sliding_window` | the cache can be cut only within the window, and not shifted |
//! | `drover-fake.add_bos` | 0: prompts get no BOS |
//! | `drover-fake.step_us`, `drover-fake.row_us` | time of a decode call, and what each row adds |
//! | `drover-fake.answer` | the answer to everything; as a draft model: the text that it drafts from |
//! | `drover-fake.vocabulary` | files with other numbers do not have the same vocabulary |
//! | `drover-fake.load_ms` | time of loading, with ten reports of progress |
//! | `drover-fake.load_fault` | 1: loading fails; 2: it aborts the process |
//!
//! Tokens are bytes and a few special tokens ([`vocab`]). It answers the last `user` turn of a `ChatML` prompt
//! (or the whole prompt) with the same text; marks in the text change the answer ([`script`]), others how long
//! it takes to prepare a request ([`preparer`]). With a projector it also takes images ([`encoder`]). The cache
//! is real accounting ([`pool`]): cells run out, sharing counts, and a sequence whose cells do not hold what
//! was said fails, so that mistakes in prefix reuse show.

mod attempt;
mod encoder;
mod pool;
mod preparer;
mod script;
mod vocab;

use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Backend, BackendError, Decoded, MediaEncoder, Pick, Row, SeqId};
use crate::engine::interrupt::Interrupt;
use crate::engine::media::{self, Media};
use crate::protocol::{LoadParams, LoadedInfo, Token};
use pool::Pool;
pub(crate) use preparer::FakePreparer;
pub(crate) use script::FakeSampler;

/// The part of a file that is searched for keys.
const HEAD_BYTES: u64 = 64 * 1024;

/// Most rows of a call that may have outputs.
const N_OUTPUTS: usize = 32;

/// How often it checks for an interrupt while it computes.
const LOOK: Duration = Duration::from_millis(2);

/// The probability that it reports for its most probable token.
const SURE: f32 = 0.9;

/// The loaded fake.
pub(crate) struct Fake {
    info: LoadedInfo,
    preparer: Arc<FakePreparer>,
    n_batch: usize,
    pool: Pool,
    can_see: bool,
    answer: Option<String>,
    vocabulary: Option<u32>,
    step_us: u64,
    row_us: u64,
    interrupt: Option<Arc<Interrupt>>,
    /// The rows of the last decode call.
    rows: Vec<Row>,
    /// The logits of every output row of the last decode call: they favor the token that was sampled from the
    /// row, or else the row's own token.
    logits: Vec<Vec<f32>>,
}

/// Whether a file asks for the fake.
pub(crate) fn is_fake(path: &Path) -> bool {
    head(path).is_ok_and(|head| find(&head, b"drover-fake").is_some())
}

impl Fake {
    /// Loads a file.
    pub(crate) fn load(
        params: &LoadParams,
        progress: &mut dyn FnMut(f32),
    ) -> Result<Self, BackendError> {
        let head = head(&params.model.path).map_err(|error| BackendError(error.to_string()))?;
        if !head.starts_with(b"GGUF") {
            return Err(BackendError(
                "failed to load model: not a GGUF file".to_owned(),
            ));
        }
        let key = |name: &str| number(&head, name);
        match key("drover-fake.load_fault") {
            Some(1) => return Err(BackendError("failed to load model: as asked".to_owned())),
            Some(2) => std::process::abort(),
            _ => {}
        }
        let load_ms = u64::from(key("drover-fake.load_ms").unwrap_or(0));
        for part in 1_u8..=10 {
            wait(Duration::from_micros(load_ms * 100));
            progress(f32::from(part) / 10.0);
        }
        let window = key("drover-fake.attention.sliding_window").filter(|_| !params.whole_window);
        let info = LoadedInfo {
            n_ctx_pool: params.n_ctx_pool,
            n_ctx_train: key("drover-fake.context_length").unwrap_or(8192),
            n_slots: params.n_slots,
            n_vocab: vocab::N_VOCAB,
            n_embd: key("drover-fake.embedding_length").unwrap_or(8),
            n_params: 1000,
            add_bos: key("drover-fake.add_bos") != Some(0),
            can_shift: window.is_none(),
            size_bytes: fs_err::metadata(&params.model.path).map_or(0, |file| file.len()),
            ..LoadedInfo::default()
        };
        let answer = text(&head, "drover-fake.answer");
        Ok(Self {
            preparer: Arc::new(FakePreparer::new(info.clone(), answer.clone())),
            pool: Pool::new(
                params.n_ctx_pool as usize,
                params.n_slots as usize,
                window.map(|window| window as usize),
            ),
            info,
            can_see: params.projector.is_some(),
            n_batch: params.n_batch.max(1) as usize,
            vocabulary: key("drover-fake.vocabulary"),
            step_us: u64::from(key("drover-fake.step_us").unwrap_or(0)),
            row_us: u64::from(key("drover-fake.row_us").unwrap_or(0)),
            interrupt: None,
            answer,
            rows: Vec::new(),
            logits: Vec::new(),
        })
    }

    /// Cells in use.
    #[cfg(test)]
    pub(crate) fn n_used(&self) -> usize {
        self.pool.n_used()
    }

    /// The tokens in a sequence's cells.
    #[cfg(test)]
    pub(crate) fn held(&self, slot: usize) -> Vec<Token> {
        self.pool
            .tokens(SeqId::try_from(slot).unwrap_or(SeqId::MAX))
    }

    /// Takes cells away for good, so that not even one sequence fits.
    #[cfg(test)]
    pub(crate) fn shrink(&mut self, n_cells: usize) {
        self.pool.shrink(n_cells);
    }

    fn evaluate(&mut self, rows: &[Row]) -> Result<Decoded, BackendError> {
        if rows.is_empty() || rows.len() > self.n_batch {
            return Err(BackendError(format!("a batch of {} rows", rows.len())));
        }
        if !self.pool.extend(rows)? {
            return Ok(Decoded::NoSpace);
        }
        let time = Duration::from_micros(self.step_us + self.row_us * rows.len() as u64);
        if !self.compute(time) {
            return Ok(Decoded::Interrupted);
        }
        self.rows = rows.to_vec();
        let logits = |row: &Row| row.output.then(|| vocab::logits(row.token));
        let logits = rows.iter().map(|row| logits(row).unwrap_or_default());
        self.logits = logits.collect();
        Ok(Decoded::Done)
    }

    /// Takes the time of a call; false if it is interrupted.
    fn compute(&self, time: Duration) -> bool {
        let is_due = || self.interrupt.as_ref().is_some_and(|it| it.is_due());
        let end = Instant::now() + time;
        loop {
            if is_due() {
                return false;
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            wait(left.min(LOOK));
        }
    }

    fn pick(&self, pick: &mut Pick<'_, FakeSampler>) -> Result<Token, BackendError> {
        let row = self.rows.get(pick.row).filter(|row| row.output);
        let row = row.ok_or_else(|| BackendError("this row has no logits".to_owned()))?;
        let mut held = self.pool.tokens_to(row.seq, row.position);
        // Images do not matter to the answer.
        held.retain(|&token| token >= 0);
        pick.sampler.next(&held)
    }
}

impl Backend for Fake {
    type Sampler = FakeSampler;
    type Preparer = FakePreparer;

    fn preparer(&self) -> &Arc<FakePreparer> {
        &self.preparer
    }

    fn info(&self) -> &LoadedInfo {
        &self.info
    }

    fn n_batch(&self) -> usize {
        self.n_batch
    }

    fn n_outputs(&self) -> usize {
        self.n_batch.min(N_OUTPUTS)
    }

    fn heed(&mut self, interrupt: &Arc<Interrupt>) -> bool {
        self.interrupt = Some(Arc::clone(interrupt));
        true
    }

    fn decode(&mut self, rows: &[Row]) -> Result<Decoded, BackendError> {
        let n_outputs = rows.iter().filter(|row| row.output).count();
        if n_outputs > self.n_outputs() {
            return Err(BackendError(format!("a batch of {n_outputs} outputs")));
        }
        self.evaluate(rows)
    }

    fn decode_embeddings(&mut self, rows: &[Row]) -> Result<Decoded, BackendError> {
        self.evaluate(rows)
    }

    fn take_encoder(&mut self) -> Option<Box<dyn MediaEncoder>> {
        let reader = self.can_see.then(|| Box::new(encoder::Reader));
        reader.map(|reader| reader as Box<dyn MediaEncoder>)
    }

    fn decode_media(
        &mut self,
        seq: SeqId,
        position: u32,
        media: &Media,
    ) -> Result<Decoded, BackendError> {
        let cells = self.pool.see(seq, position, &media.tokens)?;
        Ok(if cells {
            Decoded::Done
        } else {
            Decoded::NoSpace
        })
    }

    fn sample(&mut self, picks: &mut [Pick<'_, FakeSampler>]) -> Vec<Result<Token, BackendError>> {
        let slowest = picks.iter().map(|pick| pick.sampler.slow_ms()).max();
        wait(Duration::from_millis(slowest.unwrap_or(0)));
        let mut picked = Vec::with_capacity(picks.len());
        for pick in picks {
            let token = self.pick(pick);
            if let (Ok(token), Some(logits)) = (&token, self.logits.get_mut(pick.row)) {
                *logits = vocab::logits(*token);
            }
            picked.push(token);
        }
        picked
    }

    fn likeliest(&self, row: usize) -> Option<(Token, f32)> {
        let row = self.rows.get(row).filter(|row| row.output)?;
        let held = self.pool.tokens_to(row.seq, row.position);
        let answer = self.answer.as_deref().unwrap_or_default();
        Some((script::follow(answer, &held), SURE))
    }

    fn same_vocabulary(&self, other: &Self) -> Result<(), BackendError> {
        if self.vocabulary == other.vocabulary {
            return Ok(());
        }
        Err(BackendError("their vocabularies differ".to_owned()))
    }

    fn logits(&self, row: usize) -> Option<&[f32]> {
        let logits = self.logits.get(row)?;
        (!logits.is_empty()).then_some(logits)
    }

    fn embedding(&self, seq: SeqId, last_row: usize) -> Option<Vec<f32>> {
        self.rows.get(last_row).filter(|row| row.seq == seq)?;
        Some(script::embedding(&self.pool.tokens(seq), self.info.n_embd))
    }

    fn is_windowed(&self) -> bool {
        self.pool.is_windowed()
    }

    fn floor(&self, seq: SeqId) -> u32 {
        self.pool.floor(seq)
    }

    fn can_take_back(&self, seq: SeqId, n_rows: usize) -> bool {
        self.pool.can_take_back(seq, n_rows)
    }

    fn remove(&mut self, seq: SeqId, from: u32, to: Option<u32>) -> bool {
        self.pool
            .remove(seq, from as usize, to.map(|to| to as usize))
    }

    fn copy(&mut self, from: SeqId, to: SeqId, len: u32) {
        self.pool.copy(from, to, len as usize);
    }

    fn shift(&mut self, seq: SeqId, from: u32, delta: i32) {
        self.pool.shift(seq, from, delta);
    }

    fn save(&self, seq: SeqId) -> Option<Vec<u8>> {
        let tokens = self.pool.tokens(seq);
        Some(
            tokens
                .iter()
                .flat_map(|token| token.to_le_bytes())
                .collect(),
        )
    }

    fn load(&mut self, seq: SeqId, state: &[u8], n_tokens: u32) -> bool {
        let tokens = state.as_chunks().0.iter();
        let tokens: Vec<Token> = tokens.map(|bytes| Token::from_le_bytes(*bytes)).collect();
        let n_positions = tokens.iter().filter(|&&token| media::takes_position(token));
        n_positions.count() == n_tokens as usize
            && matches!(self.pool.see(seq, 0, &tokens), Ok(true))
    }
}

/// Simulates the time that computing takes.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the event that others wait for"
)]
fn wait(time: Duration) {
    if !time.is_zero() {
        std::thread::sleep(time);
    }
}

fn head(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut head = Vec::new();
    fs_err::File::open(path)?
        .take(HEAD_BYTES)
        .read_to_end(&mut head)?;
    Ok(head)
}

/// The value of a `u32` key: its name, type number 4, then the value.
fn number(head: &[u8], key: &str) -> Option<u32> {
    let at = find(head, key.as_bytes())? + key.len();
    let value = head.get(at..at + 8)?.strip_prefix(&4_u32.to_le_bytes())?;
    Some(u32::from_le_bytes(value.try_into().ok()?))
}

/// The value of a text key: its name, type number 8, the length, the text.
fn text(head: &[u8], key: &str) -> Option<String> {
    let at = find(head, key.as_bytes())? + key.len();
    let rest = head.get(at..)?.strip_prefix(&8_u32.to_le_bytes())?;
    let (n_bytes, rest) = rest.split_first_chunk()?;
    let n_bytes = usize::try_from(u64::from_le_bytes(*n_bytes)).ok()?;
    String::from_utf8(rest.get(..n_bytes)?.to_vec()).ok()
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}
