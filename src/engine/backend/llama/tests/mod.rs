//! Tests with real, small models from the folder `DROVER_TEST_MODELS`; without it they say so and pass.

mod cache;
pub(crate) mod computed;
mod constraints;
mod embeddings;
mod images;
mod loading;
mod memory;
mod options;
mod sampling;
mod sounds;
mod tokenizer;

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use llama_cpp_2::context::params::LlamaContextParams;
use llama_cpp_2::llama_batch::LlamaBatch;
use llama_cpp_2::model::params::LlamaModelParams;
use llama_cpp_2::sampling::LlamaSampler;
use llama_cpp_2::token::LlamaToken;
use serde_json::Value;

use super::*;
use crate::engine::backend::{Preparer as _, SamplerSpec};
use crate::protocol::{
    Constraint, Exempt, KvCacheType, ProjectorParams, SamplingParams, Speculation, SpillParams,
    ThinkingTags,
};
use crate::view::ModelFile;

const SMOLLM2: &str = "smollm2-135m.gguf";
const GEMMA3: &str = "gemma3-270m.gguf";
const STORY: &str = "Once upon a time, there was a little girl who lived in a";

/// One model at a time: because of memory, and because llama.cpp's log is shared.
fn one_at_a_time() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

#[expect(
    clippy::disallowed_methods,
    reason = "the models are outside the repository"
)]
fn model(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("DROVER_TEST_MODELS").map(|dir| Path::new(&dir).join(name));
    let path = path.filter(|path| path.is_file());
    if path.is_none() {
        eprintln!("skipped: no {name} (DROVER_TEST_MODELS)");
    }
    path
}

fn params(path: PathBuf) -> LoadParams {
    LoadParams {
        model: ModelFile::original(path),
        end_tokens: Vec::new(),
        projector: None,
        adapters: Vec::new(),
        n_ctx_pool: 2048,
        n_slots: 8,
        n_batch: 64,
        n_ubatch: 64,
        n_gpu_layers: 0,
        gpus: Vec::new(),
        n_cpu_moe: 0,
        use_mmap: None,
        // A single thread need not wait for another on a busy machine.
        n_threads: 1,
        kv_cache_type: KvCacheType::F16,
        flash_attention: None,
        embedding: false,
        speculation: Speculation::Off,
        draft: None,
        whole_window: false,
        spill: SpillParams::default(),
    }
}

fn load(params: &LoadParams) -> Llama {
    Llama::load(params, &mut |_| ()).unwrap()
}

fn row(seq: SeqId, position: usize, token: Token, output: bool) -> Row {
    let position = u32::try_from(position).unwrap();
    Row {
        token,
        position,
        seq,
        output,
    }
}

/// Evaluates tokens from a position on; returns the row of the last one.
fn feed(llama: &mut Llama, seq: SeqId, begin: usize, tokens: &[Token]) -> usize {
    let end = begin + tokens.len();
    let mut position = begin;
    let mut last = 0;
    for chunk in tokens.chunks(llama.n_batch()) {
        let rows = (position..).zip(chunk);
        let rows: Vec<_> = rows
            .map(|(at, token)| row(seq, at, *token, at + 1 == end))
            .collect();
        assert_eq!(llama.decode(&rows), Ok(Decoded::Done));
        position += chunk.len();
        last = rows.len() - 1;
    }
    last
}

/// A text's tokens, with the tokens that the vocabulary puts around it.
fn with_ends(llama: &Llama, text: &str, parse_special: bool) -> Vec<Token> {
    let ends = llama.preparer().ends();
    let tokens = llama.preparer().tokenize(text, parse_special).unwrap();
    [&ends.before, &tokens, &ends.after]
        .map(Vec::as_slice)
        .concat()
}

/// A prompt's tokens.
fn tokens(llama: &Llama, prompt: &str) -> Vec<Token> {
    with_ends(llama, prompt, true)
}

/// Generates until the end token or `n` tokens; the end token is not returned.
fn generate(llama: &mut Llama, seq: SeqId, prompt: &str, spec: &Spec, n: usize) -> Vec<Token> {
    let prompt = tokens(llama, prompt);
    let mut sampler = spec.sampler(llama, &prompt).unwrap();
    let mut row = feed(llama, seq, 0, &prompt);
    let mut out = Vec::new();
    while out.len() < n {
        let sampler = &mut sampler;
        let token = llama
            .sample(&mut [Pick { row, sampler }])
            .remove(0)
            .unwrap();
        if llama.is_end(token) {
            break;
        }
        row = feed(llama, seq, prompt.len() + out.len(), &[token]);
        out.push(token);
    }
    assert!(llama.remove(seq, 0, None));
    out
}

fn cosine(a: &[f32], b: &[f32]) -> f32 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

fn text(llama: &Llama, tokens: &[Token]) -> String {
    let mut bytes = Vec::new();
    for token in tokens {
        llama.append_piece(*token, false, &mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[derive(Clone, Default)]
struct Spec {
    params: SamplingParams,
    constraint: Option<Constraint>,
    exempt: Exempt,
}

impl Spec {
    fn greedy() -> Self {
        let mut spec = Self::default();
        spec.params.temperature = 0.0;
        spec
    }

    fn seeded(seed: u32) -> Self {
        let mut spec = Self::default();
        spec.params.seed = Some(seed);
        spec.params.temperature = 1.5;
        spec
    }

    fn sampler(&self, llama: &Llama, prompt: &[Token]) -> Result<Sampler, BackendError> {
        let preparer = llama.preparer();
        let constraint = self.constraint.as_ref();
        let grammar = constraint.map(|constraint| preparer.compile(constraint));
        let spec = SamplerSpec {
            params: &self.params,
            exempt: &self.exempt,
            prompt,
            n_ctx: 2048,
        };
        preparer.sampler(&spec, grammar.transpose()?)
    }
}

/// The generation loop of the crate's documentation, with the crate's own context.
fn reference(path: &Path, prompt: &str, n: usize) -> Vec<Token> {
    let backend = devices::start().unwrap();
    let model = LlamaModelParams::default();
    let model = LlamaModel::load_from_file(backend, path, &model).unwrap();
    let threads = 1;
    let context = LlamaContextParams::default()
        .with_n_threads(threads)
        .with_n_threads_batch(threads)
        .with_n_batch(64);
    let mut context = model.new_context(backend, context).unwrap();
    let tokens = model.vocab().tokenize(prompt.as_bytes(), true, true);
    let mut batch = LlamaBatch::new(64, 1);
    batch.add_sequence(&tokens, 0, false).unwrap();
    let mut sampler = LlamaSampler::greedy();
    let mut out = Vec::new();
    for position in tokens.len().. {
        context.decode(&mut batch).unwrap();
        let token = sampler.sample(&context, batch.n_tokens() - 1);
        if out.len() == n || model.vocab().is_eog(token) {
            break;
        }
        out.push(token.0);
        batch.clear();
        batch
            .add(token, i32::try_from(position).unwrap(), &[0], true)
            .unwrap();
    }
    out
}

#[test]
fn greedy_text_equals_the_crates_own_loop() {
    let _one = one_at_a_time();
    for name in [SMOLLM2, GEMMA3] {
        let Some(path) = model(name) else { return };
        let mut llama = load(&params(path.clone()));
        let tokens = generate(&mut llama, 3, STORY, &Spec::greedy(), 24);
        assert_eq!(
            tokens,
            reference(&path, STORY, 24),
            "{name}: {}",
            text(&llama, &tokens)
        );
        // The chain's greedy sampler must agree with the shortcut for it.
        let mut chain = Spec::greedy();
        chain.params.logit_bias = vec![(5, 0.0)];
        assert_eq!(generate(&mut llama, 3, STORY, &chain, 24), tokens);
    }
}

#[test]
fn a_load_tells_progress_and_what_became_of_it() {
    let _one = one_at_a_time();
    let Some(path) = model(SMOLLM2) else { return };
    let mut fractions = Vec::new();
    let llama = Llama::load(&params(path), &mut |fraction| fractions.push(fraction)).unwrap();
    assert!(!fractions.is_empty() && fractions.is_sorted());
    let info = llama.info();
    assert_eq!(
        (info.n_ctx_pool, info.n_slots, info.n_vocab),
        (2048, 8, 49152)
    );
    assert_eq!(
        (info.n_ctx_train, info.n_embd, info.can_shift),
        (8192, 576, true)
    );
    // Weights of 92 MiB and a cache of 2048 × 22.5 KiB, at least.
    assert!(info.size_bytes > 130 << 20, "{}", info.size_bytes);
    assert!(info.size_bytes < 400 << 20, "{}", info.size_bytes);
    assert_eq!((info.vram_bytes, info.gpus.len()), (0, 0));
}

#[test]
fn the_cpu_is_the_last_device() {
    let devices = devices();
    let cpu = devices.last().unwrap();
    assert_eq!((cpu.is_gpu, cpu.index), (false, devices.len() - 1));
    assert!(cpu.total_bytes > 0);
}

#[test]
fn special_tokens_are_read_and_added_only_if_asked() {
    let _one = one_at_a_time();
    let Some(path) = model(SMOLLM2) else { return };
    let llama = load(&params(path));
    let special = llama.preparer().tokenize("<|im_end|>", true).unwrap();
    assert_eq!(special.len(), 1);
    assert!(llama.is_end(special[0]));
    assert!(
        llama
            .preparer()
            .tokenize("<|im_end|>", false)
            .unwrap()
            .len()
            > 1
    );
    assert_eq!(text(&llama, &special), "");
    let mut bytes = Vec::new();
    llama.append_piece(special[0], true, &mut bytes);
    assert_eq!(bytes, b"<|im_end|>");
    assert!(llama.preparer().tokenize("", false).unwrap().is_empty());
    // Neither of these tokens is in the vocabulary.
    llama.append_piece(-1, true, &mut bytes);
    assert!(!llama.is_end(i32::MAX));
    drop(llama);
    let Some(path) = model(GEMMA3) else { return };
    let llama = load(&params(path));
    assert!(llama.info().add_bos);
    let with = with_ends(&llama, "Hello", false);
    assert_eq!(
        with[1..],
        llama.preparer().tokenize("Hello", false).unwrap()
    );
}

#[test]
fn eight_sequences_share_a_batch() {
    let _one = one_at_a_time();
    let Some(path) = model(SMOLLM2) else { return };
    let mut llama = load(&params(path));
    let countries = [
        "France", "Italy", "Spain", "Japan", "Egypt", "Russia", "Greece", "Cuba",
    ];
    let prompts: Vec<_> = countries
        .map(|country| format!("The capital of {country} is"))
        .into();
    let greedy = Spec::greedy();
    let alone: Vec<_> = prompts
        .iter()
        .map(|prompt| generate(&mut llama, 0, prompt, &greedy, 4))
        .collect();

    let mut rows = Vec::new();
    let mut tokens: Vec<_> = prompts
        .iter()
        .map(|prompt| tokens(&llama, prompt))
        .collect();
    let n_prompt: Vec<_> = tokens.iter().map(Vec::len).collect();
    let mut samplers: Vec<_> = tokens
        .iter()
        .map(|prompt| greedy.sampler(&llama, prompt).unwrap())
        .collect();
    let mut last = Vec::new();
    for (seq, prompt) in (0..).zip(&tokens) {
        let end = prompt.len() - 1;
        rows.extend(
            (0..)
                .zip(prompt)
                .map(|(at, token)| row(seq, at, *token, at == end)),
        );
        last.push(rows.len() - 1);
    }
    for _ in 0..4 {
        assert_eq!(llama.decode(&rows), Ok(Decoded::Done));
        let picks = last.iter().zip(&mut samplers);
        let mut picks: Vec<_> = picks
            .map(|(row, sampler)| Pick { row: *row, sampler })
            .collect();
        let picked = llama.sample(&mut picks);
        rows.clear();
        for (seq, (tokens, token)) in (0..).zip(tokens.iter_mut().zip(picked)) {
            let token = token.unwrap();
            rows.push(row(seq, tokens.len(), token, true));
            tokens.push(token);
        }
        last = (0..8).collect();
    }
    let together = tokens.iter().zip(n_prompt).map(|(tokens, n)| &tokens[n..]);
    // Grouping changes logits a little, so a close choice may differ.
    let agree = together
        .zip(&alone)
        .filter(|(together, alone)| together == alone)
        .count();
    assert!(agree >= 6, "{agree} of 8 agree: {tokens:?} {alone:?}");
}

#[test]
fn rows_that_cannot_be_are_errors() {
    let _one = one_at_a_time();
    let Some(path) = model(SMOLLM2) else { return };
    let mut llama = load(&params(path));
    assert!(llama.decode(&[]).is_err());
    assert!(llama.decode(&[row(0, 0, -1, true)]).is_err());
    assert!(llama.decode(&[row(8, 0, 1, true)]).is_err());
    assert!(llama.decode(&[row(0, 0, 1, false); 65]).is_err());
    // There is a gap before the position.
    feed(&mut llama, 0, 0, &[1, 2]);
    let error = llama.decode(&[row(0, 5, 1, true)]).unwrap_err();
    assert!(
        error.to_string().contains("llama.cpp could not evaluate"),
        "{error}"
    );
    let mut sampler = Spec::greedy().sampler(&llama, &[]).unwrap();
    let sampler = &mut sampler;
    assert!(llama.sample(&mut [Pick { row: 0, sampler }])[0].is_err());
}

#[test]
fn broken_files_are_errors() {
    let _one = one_at_a_time();
    let dir = tempfile::tempdir().unwrap();
    let check = |bytes: &[u8], expected: &str| {
        let path = dir.path().join("model.gguf");
        fs_err::write(&path, bytes).unwrap();
        let error = Llama::load(&params(path), &mut |_| ()).err().unwrap();
        assert!(error.to_string().contains(expected), "{error}");
    };
    check(b"this is not a model", "failed to load");
    check(b"", "failed to load");
    let error = Llama::load(&params(dir.path().join("none.gguf")), &mut |_| ())
        .err()
        .unwrap();
    assert!(error.to_string().contains("none.gguf"), "{error}");
    let Some(path) = model(SMOLLM2) else { return };
    let whole = fs_err::read(&path).unwrap();
    check(&whole[..1 << 20], "failed to load");
    check(&whole[..whole.len() - 4096], "not within the file bounds");
}
