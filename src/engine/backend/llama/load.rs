//! Loading a model: weights, context, adapters, and what became of it.

use std::num::NonZero;
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Instant;

use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::model::params::{LlamaModelParams, LlamaSplitMode};
use llama_cpp_sys_2 as sys;

use super::context::{Context, Settings};
use super::projector::{self, Projector};
use super::{devices, log};
use crate::engine::backend::BackendError;
use crate::protocol::{KvCacheType, LoadParams, LoadedInfo};

/// Progress reports that may wait; more are dropped.
const PROGRESS_BACKLOG: usize = 16;

/// Rows of a batch that an embedding model is given at least, as Ollama does: a whole input must
/// fit into one decode call.
const N_BATCH_EMBEDDING: u32 = 2048;

/// Rows per sequence whose logits may be asked for in one decode call, and the least in all. The
/// compute buffers grow with it by a vocabulary's worth of numbers each.
const N_OUTPUTS_PER_SEQ: u32 = 4;
const N_OUTPUTS_MIN: u32 = 32;

/// A context that is ready, and what to tell of it.
pub(super) struct Loaded {
    pub(super) context: Context,
    pub(super) model: Arc<LlamaModel>,
    pub(super) projector: Option<Projector>,
    pub(super) info: LoadedInfo,
    /// Rows of one decode call whose logits may be asked for.
    pub(super) n_outputs_max: usize,
}

/// Loads a model; `on_progress` hears fractions between 0 and 1.
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
    let projector = load_projector(params, &model, &context, &mut info);
    info.load_ms = started.elapsed().as_secs_f64() * 1000.0;
    Ok(Loaded {
        context,
        model,
        projector,
        info,
        n_outputs_max: match settings.n_outputs_max {
            0 => usize::MAX,
            n => usize::try_from(n).unwrap_or(usize::MAX),
        },
    })
}

/// Loads the first projector, if there is one: on the GPU where the whole model is there, too, and has
/// left room. Without it the model still answers to text.
fn load_projector(
    params: &LoadParams,
    model: &Arc<LlamaModel>,
    context: &Context,
    info: &mut LoadedInfo,
) -> Option<Projector> {
    let path = params.projector_paths.first()?;
    let size = readable(path).map(|()| fs_err::metadata(path).map_or(0, |file| file.len()));
    let size = size
        .inspect_err(|error| tracing::warn!("the model cannot see images: {error}"))
        .ok()?;
    let may_be_on_gpu = info.vram_bytes > 0 && params.n_gpu_layers < 0;
    for on_gpu in [true, false] {
        if on_gpu && !may_be_on_gpu {
            continue;
        }
        log::start();
        let settings = projector::Settings {
            on_gpu,
            n_threads: n_threads(params.n_threads),
            n_batch: usize::try_from(context.n_batch()).unwrap_or(usize::MAX),
        };
        if let Some(projector) = Projector::load(path, Arc::clone(model), &settings) {
            if projector.can_see() {
                info.size_bytes += size;
                info.vram_bytes += if on_gpu { size } else { 0 };
                return Some(projector);
            }
            break;
        }
        let place = if on_gpu { "the GPU" } else { "the CPU" };
        let error = projector::refused(path, log::cause());
        tracing::warn!("on {place}: {error}");
    }
    tracing::warn!("the model cannot see images, its projector is of no use");
    None
}

/// Loads the weights on a thread of its own, so that the progress can be told meanwhile.
fn load_model(
    params: &LoadParams,
    on_progress: &mut dyn FnMut(f32),
) -> Result<LlamaModel, BackendError> {
    readable(&params.model_path)?;
    let (sender, receiver) = mpsc::sync_channel(PROGRESS_BACKLOG);
    thread::scope(|scope| {
        let loader = scope.spawn(move || {
            let backend = devices::start()?;
            let model = model_params(params)?.with_progress_callback(move |fraction| {
                // Nobody needs every single one.
                let _ = sender.try_send(fraction);
                true
            });
            LlamaModel::load_from_file(backend, &params.model_path, &model)
                .map_err(|error| failure(&error.to_string()))
        });
        for fraction in receiver {
            on_progress(fraction);
        }
        let panicked = |_| Err(BackendError("the loading thread panicked".to_owned()));
        loader.join().unwrap_or_else(panicked)
    })
}

/// Tells early, and better than llama.cpp, that a file is not there.
fn readable(path: &Path) -> Result<(), BackendError> {
    let file = fs_err::File::open(path);
    file.map(drop)
        .map_err(|error| BackendError(error.to_string()))
}

/// What failed, with llama.cpp's own words if it had any.
fn failure(what: &str) -> BackendError {
    BackendError(log::cause().unwrap_or_else(|| what.to_owned()))
}

fn model_params(params: &LoadParams) -> Result<LlamaModelParams, BackendError> {
    let mut model = LlamaModelParams::default();
    // A negative number is llama.cpp's default: all layers.
    if let Ok(n_layers) = u32::try_from(params.n_gpu_layers) {
        model = model.with_n_gpu_layers(n_layers);
    }
    if let Some(use_mmap) = params.use_mmap {
        model = model.with_use_mmap(use_mmap);
    }
    let chosen = if params.n_gpu_layers == 0 {
        // Without layers on it a GPU would still be used for large batches, and take memory.
        Some(Vec::new())
    } else {
        let main = params
            .main_gpu
            .and_then(|index| usize::try_from(index).ok());
        let gpu = main.and_then(|index| devices::gpus().into_iter().nth(index));
        gpu.map(|gpu| vec![gpu.index])
    };
    if let Some(devices) = chosen {
        let model = model.with_split_mode(LlamaSplitMode::None);
        return model
            .with_devices(&devices)
            .map_err(|error| BackendError(error.to_string()));
    }
    Ok(model)
}

fn settings(params: &LoadParams) -> Settings {
    let n_slots = params.n_slots.max(1);
    let n_batch = params.n_batch.max(n_slots);
    let n_batch = if params.embedding {
        n_batch.max(N_BATCH_EMBEDDING.min(params.n_ctx_pool))
    } else {
        n_batch
    };
    let n_outputs = N_OUTPUTS_PER_SEQ.saturating_mul(n_slots).max(N_OUTPUTS_MIN);
    Settings {
        n_ctx: params.n_ctx_pool.max(n_batch.min(n_slots)),
        n_batch,
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

/// The threads asked for, at most one per processor that this process may use: more would only wait for
/// each other. By default one per physical core of these.
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
    let gpus = devices::gpus();
    let buffers = log::buffers();
    let on = |name: &str| -> u64 {
        let there = buffers.iter().filter(|buffer| buffer.device == name);
        there.map(|buffer| buffer.bytes).sum()
    };
    let used: Vec<_> = gpus.into_iter().filter(|gpu| on(&gpu.name) > 0).collect();
    let total: u64 = buffers.iter().map(|buffer| buffer.bytes).sum();
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
        size_bytes: total.max(model.size()),
        vram_bytes: used.iter().map(|gpu| on(&gpu.name)).sum(),
        gpus: used.into_iter().map(|gpu| gpu.name).collect(),
        load_ms: 0.0,
    }
}
