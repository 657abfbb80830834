//! The engine: owns the model's context and everything that is going on in it.
//!
//! [`Engine::handle`] takes commands, [`Engine::step`] computes once, [`Engine::take_events`]
//! gives out what is to be told. No channel, no thread: given its commands and the times that its
//! steps took, it decides the same.

use std::time::Instant;

use super::admission::Admission;
use super::backend::{Backend, SamplerSpec};
use super::batcher::Budget;
use super::embed::EmbedJob;
use super::media::Piece;
use super::output::Output;
use super::prompt::{self, Prompt};
use super::sequence::{Clock, Sequence};
use super::slot::Slots;
use super::speculate::{Guesser, PromptLookup};
use super::spill::Spill;
use super::step_times::StepTimes;
use super::to_u32;
use crate::protocol::{
    Command, EmbedParams, Event, Failure, FailureKind, GenerateParams, RequestId, Speculation,
    Token, Update,
};

/// Counts for the daemon's metrics.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) n_cached: usize,
    pub(super) n_generated: usize,
    pub(super) n_evicted: usize,
    pub(super) n_parked: usize,
    pub(super) n_preempted: usize,
    pub(super) n_spilled: usize,
    pub(super) n_restored: usize,
}

/// A loaded model at work.
pub(super) struct Engine<B: Backend> {
    pub(super) backend: B,
    pub(super) slots: Slots,
    /// Who runs in which slot.
    pub(super) running: Vec<Option<Sequence<B::Sampler>>>,
    pub(super) waiting: Admission<Sequence<B::Sampler>>,
    pub(super) embeds: Admission<EmbedJob>,
    pub(super) budget: Budget,
    pub(super) speculation: Speculation,
    pub(super) guesser: Box<dyn Guesser>,
    /// What is kept of slots that were needed.
    pub(super) spill: Spill,
    /// How long calls take that evaluate no prompts.
    pub(super) step_times: StepTimes,
    /// What has happened since the last report.
    pub(super) tally: Tally,
    /// What the current step has produced.
    pub(super) updates: Vec<Update>,
    pub(super) events: Vec<Event>,
    n_arrived: u64,
    /// Decode calls, for the turn of sequences that do not generate together.
    pub(super) n_calls: usize,
    /// The context is made for embeddings and has no logits.
    pub(super) is_embedding: bool,
}

impl<B: Backend> Engine<B> {
    pub(super) fn new(backend: B, is_embedding: bool, speculation: Speculation) -> Self {
        let n_slots = backend.info().n_slots.max(1) as usize;
        let on_gpu = backend.info().vram_bytes > 0;
        Self {
            slots: Slots::new(n_slots),
            running: std::iter::repeat_with(|| None).take(n_slots).collect(),
            waiting: Admission::default(),
            embeds: Admission::default(),
            budget: Budget::new(backend.n_batch().max(1), on_gpu),
            speculation,
            guesser: Box::new(PromptLookup::new(n_slots)),
            spill: Spill::off(),
            step_times: StepTimes::default(),
            tally: Tally::default(),
            updates: Vec::new(),
            events: Vec::new(),
            n_arrived: 0,
            n_calls: 0,
            is_embedding,
            backend,
        }
    }

    /// Lets somebody else guess what sequences say next.
    pub(super) fn guess_with(&mut self, guesser: impl Guesser + 'static) {
        self.guesser = Box::new(guesser);
    }

    /// Whether a step would do something.
    pub(super) fn has_work(&self) -> bool {
        self.is_running() || !self.waiting.is_empty() || !self.embeds.is_empty()
    }

    /// What is to be told, in order.
    pub(super) fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    /// Takes a command; `Load`, `Probe` and `Shutdown` are not the engine's.
    pub(super) fn handle(&mut self, command: Command) {
        let answer = match command {
            Command::Generate { id, params } => {
                self.generate(id, *params);
                Ok(None)
            }
            Command::Embed { id, params } => {
                self.embed(id, params);
                Ok(None)
            }
            Command::Tokenize {
                id,
                texts,
                add_special,
                parse_special,
            } => {
                let tokenize = |text: &String| {
                    if add_special && parse_special {
                        prompt::with_special(&self.backend, text)
                    } else {
                        self.backend.tokenize(text, add_special, parse_special)
                    }
                };
                let tokens: Result<_, _> = texts.iter().map(tokenize).collect();
                tokens
                    .map(|tokens| Some(Event::Tokenized { id, tokens }))
                    .map_err(|error| (id, prompt::refused(&error)))
            }
            Command::Detokenize { id, tokens } => self
                .detokenize(&tokens)
                .map(|text| Some(Event::Detokenized { id, text }))
                .map_err(|failure| (id, failure)),
            Command::Ping { id } => Ok(Some(Event::Pong { id })),
            Command::Cancel { id } => {
                self.cancel(id);
                Ok(None)
            }
            Command::Load(_) | Command::Quantize(_) | Command::Probe | Command::Shutdown => {
                Ok(None)
            }
        };
        match answer {
            Ok(event) => self.events.extend(event),
            Err((id, failure)) => self.fail(id, failure),
        }
    }

    fn generate(&mut self, id: RequestId, mut params: GenerateParams) {
        let parts = std::mem::take(&mut params.prompt);
        let prompt = prompt::tokenize(&self.backend, &parts, params.add_special);
        self.enter(id, params, prompt);
    }

    /// Takes a request whose prompt was read.
    pub(super) fn generate_read(
        &mut self,
        id: RequestId,
        params: GenerateParams,
        pieces: Result<Vec<Piece>, Failure>,
    ) {
        let has_bos = params.add_special && self.backend.info().add_bos;
        let prompt = pieces.and_then(|pieces| Prompt::join(pieces, has_bos));
        self.enter(id, params, prompt);
    }

    fn enter(&mut self, id: RequestId, params: GenerateParams, prompt: Result<Prompt, Failure>) {
        let sequence = match prompt.and_then(|prompt| self.accept(id, params, prompt)) {
            Ok(sequence) => sequence,
            Err(failure) => return self.fail(id, failure),
        };
        let n_prompt = to_u32(sequence.n_prompt);
        self.events.push(Event::Started { id, n_prompt });
        let client = sequence.params.client.clone();
        self.waiting.push(sequence.priority(), &client, sequence);
    }

    fn accept(
        &mut self,
        id: RequestId,
        params: GenerateParams,
        prompt: Prompt,
    ) -> Result<Sequence<B::Sampler>, Failure> {
        let arrived = Instant::now();
        if self.is_embedding {
            return Err(prompt::failure(
                FailureKind::Unsupported,
                "this model computes embeddings and cannot generate text",
            ));
        }
        let n_pool = self.backend.info().n_ctx_pool;
        let n_ctx = match params.n_ctx {
            0 => n_pool,
            n_ctx => n_ctx.min(n_pool),
        };
        prompt::check_length(prompt.tokens.len(), n_ctx as usize)?;
        let spec = SamplerSpec {
            params: &params.sampling,
            constraint: params.constraint.as_ref(),
            exempt: &params.exempt,
            prompt: &prompt.text(),
            n_ctx,
        };
        let sampler = self
            .backend
            .sampler(&spec)
            .map_err(|error| prompt::refused(&error))?;
        self.n_arrived += 1;
        Ok(Sequence {
            id,
            n_ctx: n_ctx as usize,
            n_prompt: prompt.tokens.len(),
            tokens: prompt.tokens,
            gallery: prompt.gallery,
            n_generated: 0,
            n_drafted: 0,
            n_accepted: 0,
            sampler,
            output: Output::new(&params.stop),
            preserved: prompt::preserved(&self.backend, &params.preserved),
            params,
            order: self.n_arrived,
            is_protected: false,
            follows: None,
            boundaries: Vec::new(),
            clock: Clock::new(arrived),
        })
    }

    fn embed(&mut self, id: RequestId, params: EmbedParams) {
        let (priority, client) = (params.priority, params.client.clone());
        self.embeds
            .push(priority, &client, EmbedJob::new(id, params));
    }

    fn detokenize(&self, tokens: &[Token]) -> Result<String, Failure> {
        prompt::check(&self.backend, tokens)?;
        let mut bytes = Vec::new();
        for &token in tokens {
            self.backend.append_piece(token, true, &mut bytes);
        }
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Ends a request without a word. What it has in the cache stays for the next one.
    fn cancel(&mut self, id: RequestId) {
        let is_it = |running: &Option<Sequence<B::Sampler>>| {
            running.as_ref().is_some_and(|sequence| sequence.id == id)
        };
        if let Some(slot) = self.running.iter().position(is_it) {
            self.release(slot);
            return;
        }
        if self.waiting.remove(|sequence| sequence.id == id).is_none() {
            self.embeds.remove(|job| job.id == id);
        }
    }

    /// Takes the sequence out of a slot, which becomes idle.
    pub(super) fn release(&mut self, slot: usize) -> Option<Sequence<B::Sampler>> {
        self.slots.touch(slot);
        self.guesser.forget(slot);
        self.running[slot].take()
    }

    pub(super) fn fail(&mut self, id: RequestId, failure: Failure) {
        self.events.push(Event::Failed { id, failure });
    }

    pub(super) fn is_running(&self) -> bool {
        self.running.iter().any(Option::is_some)
    }

    /// The slots in which somebody runs.
    pub(super) fn busy(&self) -> Vec<usize> {
        let slots = 0..self.running.len();
        slots.filter(|&slot| self.running[slot].is_some()).collect()
    }
}
