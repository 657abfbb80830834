//! Where a model goes. Pure.

use std::ops::RangeInclusive;

use super::ModelSpec;
use super::estimate::UBATCH;
use super::pool::{self, Pool};
use crate::config::Config;
use crate::device::{self, Snapshot};
use crate::protocol::{DeviceInfo, KvCacheType, Speculation, SpillFiles, SpillParams};

/// How a model will be loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LoadPlan {
    /// KV cells of the pool.
    pub(super) n_ctx_pool: u32,
    /// The largest pool that the memory would have allowed: a wish beyond it causes no reload.
    pub(super) n_ctx_most: u32,
    pub(super) n_slots: u32,
    /// Most rows of one decode call.
    pub(super) n_batch: u32,
    /// Rows that are computed at once.
    pub(super) n_ubatch: u32,
    /// Layers on the GPU; -1 = all.
    pub(super) n_gpu_layers: i32,
    pub(super) main_gpu: Option<i32>,
    /// Estimated need in bytes of system and of GPU memory.
    pub(super) system_bytes: u64,
    pub(super) gpu_bytes: u64,
}

impl LoadPlan {
    /// The GPU that it is on.
    pub(super) fn gpu_index(&self) -> Option<usize> {
        self.main_gpu.and_then(|index| usize::try_from(index).ok())
    }

    /// Makes the pool smaller after loads that failed for want of memory.
    pub(super) fn shrink(&mut self, n_shrinks: u32) {
        if n_shrinks > 0 {
            self.n_ctx_pool = pool::shrunk(self.n_ctx_pool, n_shrinks);
            self.n_ctx_most = self.n_ctx_pool;
        }
    }
}

/// Part of the machine's memory that a model may use for prompts that lost their place in the KV cache,
/// and the most, in bytes.
const SPILL_SHARE: u64 = 16;
const SPILL_MOST: u64 = 4 << 30;

/// What the settings say about loading.
#[derive(Debug, Clone)]
pub(super) struct Policy {
    pub(super) num_parallel: u32,
    pub(super) context_length: u32,
    pub(super) kv_cache_type: KvCacheType,
    pub(super) gpu_overhead: u64,
    pub(super) speculation: Speculation,
    pub(super) spill: SpillParams,
}

impl Policy {
    pub(super) fn new(config: &Config) -> Self {
        let kind = serde_json::Value::String(config.kv_cache_type.clone());
        let speculation = serde_json::Value::String(config.speculative.clone());
        Self {
            num_parallel: config.num_parallel,
            context_length: config.context_length,
            kv_cache_type: serde_json::from_value(kind).unwrap_or_default(),
            gpu_overhead: config.gpu_overhead,
            speculation: serde_json::from_value(speculation).unwrap_or_default(),
            spill: spill(config),
        }
    }
}

/// What models may keep outside of their KV caches.
fn spill(config: &Config) -> SpillParams {
    let files = SpillFiles {
        folder: config.state_dir.join("prompts"),
        limit_bytes: config.spill_disk,
    };
    SpillParams {
        memory_bytes: config.spill_memory.unwrap_or_else(spill_memory),
        files: (files.limit_bytes > 0).then_some(files),
    }
}

/// The memory for that where nothing is said.
fn spill_memory() -> u64 {
    (device::system_memory().0 / SPILL_SHARE).min(SPILL_MOST)
}

/// What is to be placed.
pub(super) struct Request<'a> {
    pub(super) spec: &'a ModelSpec,
    pub(super) policy: &'a Policy,
    /// Not to be filled without need: other models are expected back.
    pub(super) reserved_bytes: u64,
    /// Nothing could make room any more: the best that can be done comes out.
    pub(super) must: bool,
}

/// KV memory that any model may take on the CPU without being asked to, in bytes; larger models
/// may take as much as their weights, up to an eighth of what is free.
const CPU_POOL_BYTES: u64 = 256 << 20;
const CPU_POOL_SHARE: u64 = 8;

/// Share of the free system memory that a model may fill, in per cent.
const SYSTEM_SHARE: u64 = 90;

/// Kept free on a GPU for the driver's own needs and for errors of the estimate, in bytes.
const GPU_RESERVE: u64 = 400 << 20;

/// Part of a GPU that a pool leaves to a second, small model (an embedder beside a chat model).
const GPU_GUEST_SHARE: u64 = 10;

/// Rows of one decode call: more than llama.cpp computes at once is of no use on the CPU; a GPU
/// gains from longer queues.
const CPU_BATCH: u32 = 512;
const GPU_BATCH: u32 = 2048;

/// Rows that a request may ask for. All requests for the model get them: with fewer every prompt
/// would crawl, and more would take gigabytes for what is computed at once.
const BATCHES: RangeInclusive<u32> = 32..=8192;

/// Rows of one decode call of a model that sees: some look at all of an image at once, which then must
/// fit into one (Gemma 4: at most 1,120).
const VISION_BATCH: u32 = 1152;

/// What encoding an image takes beside the projector's weights, in bytes. An assumption: Ollama leaves
/// 1 GiB.
const VISION_BYTES: u64 = 512 << 20;

/// Plans a load in the free memory; `None` when it does not fit and something could make room.
pub(super) fn plan(request: &Request<'_>, free: &Snapshot) -> Option<LoadPlan> {
    match best_gpu(request.spec, free) {
        Some(gpu) if gpu.is_integrated => {
            // Its memory is the system's.
            let mut gpu = gpu.clone();
            gpu.free_bytes = gpu.free_bytes.min(free.system_available_bytes);
            on_gpu(request, &gpu)
        }
        Some(gpu) => on_gpu(request, gpu),
        None => on_cpu(request, free.system_available_bytes),
    }
}

/// Places a model on a machine without GPUs, on one with a card, and in a pinch on either, for the
/// fuzz targets. Returns the cells of the pools.
#[cfg(any(test, fuzzing))]
pub(super) fn place_everywhere(spec: &ModelSpec) -> Vec<u32> {
    let policy = Policy {
        num_parallel: 0,
        context_length: 0,
        kv_cache_type: KvCacheType::F16,
        gpu_overhead: 0,
        speculation: Speculation::Auto,
        spill: SpillParams::default(),
    };
    let card = DeviceInfo {
        index: 0,
        name: "CUDA0".to_owned(),
        description: String::new(),
        backend: "CUDA".to_owned(),
        is_gpu: true,
        is_integrated: false,
        total_bytes: 16 << 30,
        free_bytes: 15 << 30,
        instruction_sets: Vec::new(),
    };
    let mut cells = Vec::new();
    for (gpus, must) in [
        (vec![], false),
        (vec![], true),
        (vec![card.clone()], false),
        (vec![card], true),
    ] {
        let request = Request {
            spec,
            policy: &policy,
            reserved_bytes: least_bytes(spec, &policy).min(1 << 30),
            must,
        };
        let free = Snapshot {
            system_total_bytes: 32 << 30,
            system_available_bytes: 20 << 30,
            gpus,
        };
        cells.extend(plan(&request, &free).map(|plan| plan.n_ctx_pool));
    }
    cells
}

/// What a model needs at least to be of use.
pub(super) fn least_bytes(spec: &ModelSpec, policy: &Policy) -> u64 {
    let pool = Pool::new(spec, policy);
    let n_slots = pool.slots(0);
    fixed_bytes(spec, policy).saturating_add(pool.bytes(pool.comfortable(), n_slots))
}

fn fixed_bytes(spec: &ModelSpec, policy: &Policy) -> u64 {
    let dims = &spec.dims;
    // The buffers grow with the rows that are computed at once.
    let n_buffers = asked_batch(spec).unwrap_or(GPU_BATCH).div_ceil(GPU_BATCH);
    let buffers = dims.compute_bytes().saturating_mul(n_buffers.into());
    let own = dims.file_bytes.saturating_add(buffers);
    let encoder = spec.projector.as_ref().map_or(0, |_| VISION_BYTES);
    own.saturating_add(encoder)
        .saturating_add(draft_fixed_bytes(spec, policy))
}

fn draft_fixed_bytes(spec: &ModelSpec, policy: &Policy) -> u64 {
    spec.draft(policy).map_or(0, |draft| {
        let dims = &draft.dims;
        dims.file_bytes.saturating_add(dims.compute_bytes())
    })
}

/// The GPU with most free memory, discrete before integrated; `main_gpu` overrides.
fn best_gpu<'a>(spec: &ModelSpec, free: &'a Snapshot) -> Option<&'a DeviceInfo> {
    if spec.options.num_gpu == 0 {
        return None;
    }
    let wanted = spec.options.main_gpu.and_then(|i| usize::try_from(i).ok());
    let named = wanted.and_then(|index| free.gpus.iter().find(|gpu| gpu.index == index));
    named.or_else(|| {
        free.gpus
            .iter()
            .max_by_key(|gpu| (!gpu.is_integrated, gpu.free_bytes))
    })
}

fn on_cpu(request: &Request<'_>, available: u64) -> Option<LoadPlan> {
    let &Request { spec, policy, .. } = request;
    let pool = Pool::new(spec, policy);
    let fixed = fixed_bytes(spec, policy);
    let room = (available / 100 * SYSTEM_SHARE).saturating_sub(fixed);
    let modest = spec.dims.file_bytes.min(available / CPU_POOL_SHARE);
    let auto = modest
        .max(CPU_POOL_BYTES)
        .min(room.saturating_sub(request.reserved_bytes));
    let n_slots = pool.slots(auto);
    let most = pool.cells(room, n_slots);
    if most < pool.comfortable() && !request.must {
        return None;
    }
    let n_ctx_pool = pool.choose(auto, room, n_slots);
    Some(LoadPlan {
        n_ctx_pool,
        n_ctx_most: most.max(n_ctx_pool),
        n_slots,
        n_batch: batch(spec, CPU_BATCH, n_ctx_pool),
        n_ubatch: ubatch(spec, n_ctx_pool),
        n_gpu_layers: 0,
        main_gpu: None,
        system_bytes: fixed.saturating_add(pool.bytes(n_ctx_pool, n_slots)),
        gpu_bytes: 0,
    })
}

fn on_gpu(request: &Request<'_>, gpu: &DeviceInfo) -> Option<LoadPlan> {
    let &Request { spec, policy, .. } = request;
    let budget = gpu
        .free_bytes
        .saturating_sub(policy.gpu_overhead.max(GPU_RESERVE));
    let wanted = u64::try_from(spec.options.num_gpu).unwrap_or_default();
    if (1..=spec.dims.n_layer()).contains(&wanted) {
        return in_part(request, gpu, budget, Some(wanted));
    }
    let pool = Pool::new(spec, policy);
    let fixed = fixed_bytes(spec, policy);
    let room = budget.saturating_sub(fixed);
    let n_slots = pool.slots(room);
    let most = pool.cells(room, n_slots);
    let enough = if request.must {
        pool.least()
    } else {
        pool.comfortable()
    };
    // `num_gpu` above the number of layers: whole, whatever we think of it.
    if most < enough && !(request.must && wanted > 0) {
        return request
            .must
            .then(|| in_part(request, gpu, budget, None))
            .flatten();
    }
    let guest = (gpu.total_bytes / GPU_GUEST_SHARE).max(request.reserved_bytes);
    let n_ctx_pool = pool.choose(room.saturating_sub(guest), room, n_slots);
    let bytes = fixed.saturating_add(pool.bytes(n_ctx_pool, n_slots));
    Some(LoadPlan {
        n_ctx_pool,
        n_ctx_most: most.max(n_ctx_pool),
        n_slots,
        n_batch: batch(spec, GPU_BATCH, n_ctx_pool),
        n_ubatch: ubatch(spec, n_ctx_pool),
        n_gpu_layers: -1,
        main_gpu: i32::try_from(gpu.index).ok(),
        system_bytes: 0,
        gpu_bytes: bytes.min(gpu.total_bytes),
    })
}

/// Some layers on the GPU, each with its share of a small pool: as many as were asked for, else as
/// many as fit. A draft model is there as a whole.
fn in_part(
    request: &Request<'_>,
    gpu: &DeviceInfo,
    budget: u64,
    asked: Option<u64>,
) -> Option<LoadPlan> {
    let &Request { spec, policy, .. } = request;
    let pool = Pool::new(spec, policy);
    let (n_ctx_pool, n_slots) = (pool.comfortable(), pool.slots(0));
    let n_layer = spec.dims.n_layer().max(1);
    let model = spec.dims.file_bytes;
    let per_layer = (model.saturating_add(pool.own_bytes(n_ctx_pool, n_slots)) / n_layer).max(1);
    let draft = draft_fixed_bytes(spec, policy).saturating_add(pool.draft_bytes(n_ctx_pool));
    let fixed = spec.dims.compute_bytes().saturating_add(draft);
    let room = budget.saturating_sub(fixed);
    let fitting = (room / per_layer).min(n_layer);
    if !request.must && asked.is_some_and(|asked| asked > fitting) {
        return None;
    }
    let layers = asked.unwrap_or(fitting);
    let gpu_bytes = layers.saturating_mul(per_layer).saturating_add(fixed);
    Some(LoadPlan {
        n_ctx_pool,
        n_ctx_most: n_ctx_pool,
        n_slots,
        n_batch: batch(spec, GPU_BATCH, n_ctx_pool),
        n_ubatch: ubatch(spec, n_ctx_pool),
        n_gpu_layers: i32::try_from(layers).unwrap_or(i32::MAX),
        main_gpu: i32::try_from(gpu.index).ok(),
        system_bytes: (n_layer - layers.min(n_layer)).saturating_mul(per_layer),
        gpu_bytes: gpu_bytes.min(gpu.total_bytes),
    })
}

/// An embedding's input must fit one batch, so embedding models get a long one everywhere; and so must
/// an image.
fn batch(spec: &ModelSpec, usual: u32, n_ctx_pool: u32) -> u32 {
    let usual = if spec.embedding { GPU_BATCH } else { usual };
    let least = spec.projector.as_ref().map_or(1, |_| VISION_BATCH);
    asked_batch(spec)
        .unwrap_or(usual)
        .max(least)
        .min(n_ctx_pool.max(1))
}

/// Rows that are computed at once: a whole embedding input, a whole image, else as many as llama.cpp's own
/// default. More need larger buffers and larger caches of layers with a window.
fn ubatch(spec: &ModelSpec, n_ctx_pool: u32) -> u32 {
    let usual = if spec.embedding { GPU_BATCH } else { UBATCH };
    let least = spec.projector.as_ref().map_or(1, |_| VISION_BATCH);
    asked_batch(spec)
        .unwrap_or(usual)
        .max(least)
        .min(n_ctx_pool.max(1))
}

/// The rows of a decode call that the request asks for.
fn asked_batch(spec: &ModelSpec) -> Option<u32> {
    let asked = spec.options.num_batch;
    asked.map(|n_rows| n_rows.clamp(*BATCHES.start(), *BATCHES.end()))
}
