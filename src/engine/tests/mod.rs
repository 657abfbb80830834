//! The engine with the fake backend: what a client would notice.

mod cache;
mod draft_model;
mod embed;
mod generate;
mod interrupt;
#[cfg(feature = "llama")]
mod llama;
mod media;
mod pool;
#[cfg(feature = "llama")]
mod rerank;
mod runner;
mod speculate;
mod spill;
mod storm;

use std::collections::HashMap;
use std::io::Write;

use super::backend::fake::Fake;
use super::backend::{Backend, MediaEncoder};
use super::core::Engine;
use super::prepare::{self, Outcome as Fate};
use crate::protocol::{
    Command, Event, Exempt, Failure, Finished, GenerateParams, KvCacheType, LoadParams, Priority,
    PromptPart, PromptToken, RequestId, SamplingParams, Speculation, SpillParams, StepStats,
    TokenLogprob,
};
use crate::view::ModelFile;

/// Steps after which a test gives up.
const MANY: usize = 20_000;

/// A model file with these keys.
pub(super) fn model(keys: &[(&str, u32)]) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"GGUF general.architecture drover-fake ")
        .unwrap();
    for (key, value) in keys {
        file.write_all(key.as_bytes()).unwrap();
        file.write_all(&4_u32.to_le_bytes()).unwrap();
        file.write_all(&value.to_le_bytes()).unwrap();
    }
    file
}

pub(super) fn load_params(path: &std::path::Path, n_ctx_pool: u32, n_slots: u32) -> LoadParams {
    LoadParams {
        model: ModelFile::original(path),
        end_tokens: Vec::new(),
        projector: None,
        adapters: Vec::new(),
        n_ctx_pool,
        n_slots,
        n_batch: 64,
        n_ubatch: 64,
        n_gpu_layers: -1,
        gpus: Vec::new(),
        n_cpu_moe: 0,
        use_mmap: None,
        n_threads: 0,
        kv_cache_type: KvCacheType::F16,
        flash_attention: None,
        embedding: false,
        speculation: Speculation::Off,
        draft: None,
        whole_window: false,
        spill: SpillParams::default(),
    }
}

pub(super) fn params(prompt: &str) -> GenerateParams {
    GenerateParams {
        prompt: vec![PromptPart::Text(prompt.to_owned())],
        add_special: true,
        n_ctx: 0,
        cut: false,
        n_predict: None,
        sampling: SamplingParams::default(),
        stop: Vec::new(),
        preserved: Vec::new(),
        constraint: None,
        exempt: Exempt::default(),
        prediction: String::new(),
        logprobs: None,
        logprobs_of: Vec::new(),
        prompt_logprobs: None,
        n_keep: 4,
        shift: false,
        priority: Priority::Interactive,
        client: "test".to_owned(),
    }
}

/// What a request has received so far.
#[derive(Debug, Default)]
struct Outcome {
    n_prompt: Option<u32>,
    text: String,
    prompt: Vec<PromptToken>,
    logprobs: Vec<TokenLogprob>,
    finished: Option<Finished>,
    failure: Option<Failure>,
}

impl Outcome {
    fn is_over(&self) -> bool {
        self.finished.is_some() || self.failure.is_some()
    }

    fn finished(&self) -> &Finished {
        self.finished
            .as_ref()
            .unwrap_or_else(|| panic!("not finished: {self:?}"))
    }
}

/// An engine, and what it has reported.
struct Harness<B: Backend = Fake> {
    engine: Engine<B>,
    outcomes: HashMap<RequestId, Outcome>,
    steps: Vec<StepStats>,
    others: Vec<Event>,
    next_id: RequestId,
    /// Encodes images of prompts, in place of the runner's thread.
    reader: Option<Box<dyn MediaEncoder>>,
}

impl Harness {
    fn new(n_ctx_pool: u32, n_slots: u32) -> Self {
        Self::with_keys(n_ctx_pool, n_slots, &[])
    }

    fn with_keys(n_ctx_pool: u32, n_slots: u32, keys: &[(&str, u32)]) -> Self {
        let file = model(keys);
        Self::load(&load_params(file.path(), n_ctx_pool, n_slots))
    }

    fn load(params: &LoadParams) -> Self {
        Self::over(Fake::load(params, &mut |_| {}).unwrap(), params)
    }

    fn step(&mut self) {
        self.step_unchecked();
        self.engine.flush();
        let slots: Vec<usize> = (0..self.engine.state.running.len()).collect();
        assert_eq!(
            self.engine.state.ledger.n_cells(&slots),
            self.engine.executor.backend.n_used(),
            "the record of the cells is right"
        );
        for slot in slots {
            let held = self.engine.state.ledger.held(slot);
            assert_eq!(self.engine.executor.backend.held(slot), held, "slot {slot}");
        }
    }

    fn run(&mut self) {
        self.run_with(Self::step);
    }

    /// Runs one request to its end.
    fn ask(&mut self, params: GenerateParams) -> &Outcome {
        let id = self.submit(params);
        self.run();
        &self.outcomes[&id]
    }
}

impl<B: Backend> Harness<B> {
    fn over(mut backend: B, params: &LoadParams) -> Self {
        Self {
            reader: backend.take_encoder(),
            engine: Engine::new(backend, params.embedding, params.speculation),
            outcomes: HashMap::new(),
            steps: Vec::new(),
            others: Vec::new(),
            next_id: 1,
        }
    }

    fn submit(&mut self, params: GenerateParams) -> RequestId {
        let id = self.next_id;
        self.next_id += 1;
        self.outcomes.insert(id, Outcome::default());
        self.command(Command::Generate {
            id,
            params: Box::new(params),
        });
        id
    }

    fn command(&mut self, command: Command) {
        match command {
            Command::Cancel { id } => self.engine.cancel(&[id]),
            Command::Ping { id } => self.engine.pong(id),
            Command::Place { id, of } => self.engine.place(id, of),
            request => match prepare::now(request, &self.engine.terms(), self.reader.as_mut()) {
                Ok(Fate::Prepared(prepared)) => self.engine.enter(prepared),
                Ok(Fate::Answer(event)) => self.engine.state.events.push(event),
                Err((id, failure)) => self.engine.state.fail(id, failure),
            },
        }
        self.listen();
    }

    fn step_unchecked(&mut self) {
        if !self.engine.step() {
            self.engine.executor.host.wait();
        }
        self.listen();
    }

    fn run_with(&mut self, step: impl Fn(&mut Self)) {
        for _ in 0..MANY {
            if !self.engine.has_work() {
                return;
            }
            step(self);
        }
        panic!("no end after {MANY} steps");
    }

    fn listen(&mut self) {
        for event in self.engine.take_events() {
            match event {
                Event::Started { id, n_prompt, .. } => {
                    self.outcomes.get_mut(&id).unwrap().n_prompt = Some(n_prompt);
                }
                Event::Failed { id, failure } => {
                    let outcome = self.outcomes.entry(id).or_default();
                    assert!(!outcome.is_over(), "one end: {outcome:?}");
                    outcome.failure = Some(failure);
                }
                Event::Step { updates, stats } => {
                    self.steps.push(stats);
                    for update in updates {
                        let outcome = self.outcomes.get_mut(&update.id).unwrap();
                        assert!(!outcome.is_over(), "one end: {outcome:?}");
                        outcome.text.push_str(&update.text);
                        outcome.prompt.extend(update.prompt);
                        outcome.logprobs.extend(update.logprobs);
                        outcome.finished = update.finished;
                    }
                }
                other => self.others.push(other),
            }
        }
    }

    /// Prompt tokens evaluated so far.
    fn n_prefilled(&self) -> u32 {
        self.steps.iter().map(|stats| stats.n_prefill).sum()
    }
}
