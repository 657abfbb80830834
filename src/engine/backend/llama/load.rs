//! Loads a model: weights, context, adapters.

use std::num::NonZero;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Instant;

use llama_cpp_2::model::LlamaModel;
use llama_cpp_sys_2 as sys;

use super::context::{Context, Settings};
use super::encoder::{self, Encoder};
use super::weights::{self, Buffers, failure, readable};
use super::{devices, log, memory};
use crate::engine::backend::BackendError;
use crate::protocol::{HOST, KvCacheType, LoadParams, LoadedInfo};

/// Progress reports that may be queued; more are dropped.
const PROGRESS_BACKLOG: usize = 16;

/// The least batch size of an embedding model, as in Ollama: a whole input must fit into one decode call.
const N_BATCH_EMBEDDING: u32 = 2048;

/// Rows per sequence that may have logits in one decode call, and the least in all. For each row the compute
/// buffers grow by one number per vocabulary entry.
const N_OUTPUTS_PER_SEQ: u32 = 4;
const N_OUTPUTS_MIN: u32 = 32;

/// A context that is ready, and its properties.
pub(super) struct Loaded {
    pub(super) context: Context,
    pub(super) model: Arc<LlamaModel>,
    pub(super) encoder: Option<Encoder>,
    pub(super) info: LoadedInfo,
    /// Most rows of one decode call that may have logits.
    pub(super) n_outputs_max: usize,
}

/// Loads a model; calls `on_progress` with fractions between 0 and 1.
pub(super) fn load(
    params: &LoadParams,
    on_progress: &mut dyn FnMut(f32),
) -> Result<Loaded, BackendError> {
    let started = Instant::now();
    devices::start()?;
    log::start();
    let model = Arc::new(load_model(params, on_progress)?);
    let settings = settings(params);
    let context = Context::new(Arc::clone(&model), &settings);
    let mut context = context.ok_or_else(|| failure("could not create the context"))?;
    let adapters = params.adapters.iter();
    let adapters: Vec<_> = adapters
        .map(|adapter| (adapter.path.as_path(), adapter.scale))
        .collect();
    for (path, _) in &adapters {
        readable(path)?;
    }
    context
        .set_adapters(&adapters)
        .map_err(|path| failure(&format!("could not apply the adapter `{}`", path.display())))?;
    let mut info = info(&context, &model, params);
    let encoder_settings = encoder::Settings {
        n_threads: settings.n_threads,
        n_ubatch: usize::try_from(context.n_ubatch()).unwrap_or(usize::MAX),
        may_be_on_gpu: info.vram_bytes > 0 && params.n_gpu_layers < 0,
    };
    let projector = params.projector.as_ref();
    let encoder =
        projector.and_then(|params| Encoder::new(params, &model, encoder_settings, &mut info));
    info.load_ms = started.elapsed().as_secs_f64() * 1000.0;
    Ok(Loaded {
        context,
        model,
        encoder,
        info,
        n_outputs_max: match settings.n_outputs_max {
            0 => usize::MAX,
            n => usize::try_from(n).unwrap_or(usize::MAX),
        },
    })
}

/// Loads the weights on a separate thread, so that the progress can be reported meanwhile.
fn load_model(
    params: &LoadParams,
    on_progress: &mut dyn FnMut(f32),
) -> Result<LlamaModel, BackendError> {
    let (sender, receiver) = mpsc::sync_channel(PROGRESS_BACKLOG);
    thread::scope(|scope| {
        let loader = scope.spawn(move || {
            weights::load(params, Buffers::Allocated, move |fraction| {
                // A progress report may be dropped.
                let _ = sender.try_send(fraction);
            })
        });
        for fraction in receiver {
            on_progress(fraction);
        }
        let panicked = |_| Err(BackendError("the loading thread panicked".to_owned()));
        loader.join().unwrap_or_else(panicked)
    })
}

/// The settings of a context for these parameters.
pub(super) fn settings(params: &LoadParams) -> Settings {
    let n_slots = params.n_slots.max(1);
    let n_batch = params.n_batch.max(n_slots);
    let n_batch = if params.embedding {
        n_batch.max(N_BATCH_EMBEDDING.min(params.n_ctx_pool))
    } else {
        n_batch
    };
    let n_outputs = N_OUTPUTS_PER_SEQ.saturating_mul(n_slots).max(N_OUTPUTS_MIN);
    // An embedding's whole input is computed at once.
    let n_ubatch = if params.embedding {
        n_batch
    } else {
        params.n_ubatch
    };
    Settings {
        n_ctx: params.n_ctx_pool.max(n_batch.min(n_slots)),
        n_batch,
        n_ubatch: n_ubatch.clamp(1, n_batch),
        n_seq_max: n_slots,
        n_outputs_max: if params.embedding {
            0
        } else {
            n_outputs.min(n_batch)
        },
        n_threads: n_threads(params.n_threads),
        kv_type: kv_type(params.kv_cache_type),
        flash_attention: match params.flash_attention {
            None => sys::LLAMA_FLASH_ATTN_TYPE_AUTO,
            Some(true) => sys::LLAMA_FLASH_ATTN_TYPE_ENABLED,
            Some(false) => sys::LLAMA_FLASH_ATTN_TYPE_DISABLED,
        },
        embeddings: params.embedding,
        whole_window: params.whole_window,
    }
}

/// The requested number of threads, at most one per CPU that this process may use: more would only wait for
/// each other. By default one per physical core of these CPUs.
fn n_threads(asked: u32) -> i32 {
    let usable = thread::available_parallelism().map_or(1, NonZero::get);
    let n = match usize::try_from(asked) {
        Ok(asked) if asked > 0 => asked.min(usable),
        _ => {
            let cores = sysinfo::System::physical_core_count();
            cores.unwrap_or(usable).min(usable)
        }
    };
    i32::try_from(n).unwrap_or(i32::MAX)
}

fn kv_type(kind: KvCacheType) -> sys::ggml_type {
    match kind {
        KvCacheType::F16 => sys::GGML_TYPE_F16,
        KvCacheType::F32 => sys::GGML_TYPE_F32,
        KvCacheType::Bf16 => sys::GGML_TYPE_BF16,
        KvCacheType::Q8_0 => sys::GGML_TYPE_Q8_0,
        KvCacheType::Q5_1 => sys::GGML_TYPE_Q5_1,
        KvCacheType::Q5_0 => sys::GGML_TYPE_Q5_0,
        KvCacheType::Q4_1 => sys::GGML_TYPE_Q4_1,
        KvCacheType::Q4_0 => sys::GGML_TYPE_Q4_0,
    }
}

fn info(context: &Context, model: &LlamaModel, params: &LoadParams) -> LoadedInfo {
    let vocab = model.vocab();
    let memory = memory::of_context(context);
    let devices = memory
        .0
        .iter()
        .filter(|entry| entry.device != HOST && entry.total() > 0);
    let gpus = devices.map(|entry| entry.device.clone()).collect();
    LoadedInfo {
        n_ctx_pool: context.n_ctx(),
        n_ctx_train: model.n_ctx_train(),
        n_slots: params.n_slots,
        n_vocab: u32::try_from(model.n_vocab()).unwrap_or(0),
        n_embd: u32::try_from(context.n_embedding()).unwrap_or(0),
        n_params: model.n_params(),
        add_bos: vocab.should_add_bos(),
        add_eos: vocab.should_add_eos(),
        can_shift: context.can_shift(),
        size_bytes: memory.total().max(model.size()),
        vram_bytes: memory.on_devices(),
        gpus,
        memory,
        load_ms: 0.0,
    }
}
