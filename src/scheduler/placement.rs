//! Where a model goes and how large its KV pool becomes. Pure.

use super::ModelSpec;
use super::estimate::ModelDims;
use crate::config::Config;
use crate::device::Snapshot;
use crate::protocol::{DeviceInfo, KvCacheType};

/// How a model will be loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LoadPlan {
    /// KV cells of the pool.
    pub(super) n_ctx_pool: u32,
    /// The largest pool that the memory would have allowed: a wish beyond it causes no reload.
    pub(super) n_ctx_most: u32,
    pub(super) n_slots: u32,
    /// Layers on the GPU; -1 = all.
    pub(super) n_gpu_layers: i32,
    pub(super) main_gpu: Option<i32>,
    /// Estimated need in bytes of system and of GPU memory.
    pub(super) system_bytes: u64,
    pub(super) gpu_bytes: u64,
}

/// What the settings say about loading.
#[derive(Debug, Clone)]
pub(super) struct Policy {
    pub(super) num_parallel: u32,
    pub(super) context_length: u32,
    pub(super) kv_cache_type: KvCacheType,
    pub(super) gpu_overhead: u64,
}

impl Policy {
    pub(super) fn new(config: &Config) -> Self {
        let kind = serde_json::Value::String(config.kv_cache_type.clone());
        Self {
            num_parallel: config.num_parallel,
            context_length: config.context_length,
            kv_cache_type: serde_json::from_value(kind).unwrap_or_default(),
            gpu_overhead: config.gpu_overhead,
        }
    }
}

/// Slots where `OLLAMA_NUM_PARALLEL` leaves the choice to us.
const AUTO_SLOTS: u32 = 8;

/// KV memory that a model takes on the CPU without being asked to, in bytes.
const CPU_POOL_BYTES: u64 = 1 << 30;

/// Share of the free system memory that a model may fill, in per cent.
const SYSTEM_SHARE: u64 = 90;

/// Kept free on a GPU for the driver's own needs and for errors of the estimate, in bytes.
const GPU_RESERVE: u64 = 400 << 20;

/// Pools are whole multiples of this many cells.
const CELL_STEP: u32 = 256;

/// Plans a load in the free memory. `None` when it does not fit and something could make room:
/// with `must`, the best that can be done comes out anyway.
pub(super) fn plan(
    spec: &ModelSpec,
    policy: &Policy,
    free: &Snapshot,
    must: bool,
) -> Option<LoadPlan> {
    let gpu = best_gpu(spec, free);
    match gpu {
        Some(gpu) => on_gpu(spec, policy, gpu, must),
        None => on_cpu(spec, policy, free.system_available_bytes, must),
    }
}

/// The GPU with most free memory, discrete before integrated; `main_gpu` overrides.
fn best_gpu<'a>(spec: &ModelSpec, free: &'a Snapshot) -> Option<&'a DeviceInfo> {
    if spec.options.num_gpu == 0 {
        return None;
    }
    if let Some(wanted) = spec
        .options
        .main_gpu
        .and_then(|index| usize::try_from(index).ok())
    {
        return free.gpus.get(wanted);
    }
    free.gpus
        .iter()
        .max_by_key(|gpu| (!gpu.is_integrated, gpu.free_bytes))
}

fn on_cpu(spec: &ModelSpec, policy: &Policy, available: u64, must: bool) -> Option<LoadPlan> {
    let budget = available / 100 * SYSTEM_SHARE;
    let pool = Pool::new(spec, policy);
    let fixed = spec
        .dims
        .file_bytes
        .saturating_add(spec.dims.compute_bytes());
    let room = budget.saturating_sub(fixed);
    let n_slots = pool.slots(room.min(CPU_POOL_BYTES));
    let most = pool.cells(room, n_slots);
    if most < pool.least() && !must {
        return None;
    }
    let modest = pool.cells(room.min(CPU_POOL_BYTES), n_slots);
    let n_ctx_pool = modest.max(pool.wish().min(most)).max(pool.least());
    Some(LoadPlan {
        n_ctx_pool,
        n_ctx_most: most.max(n_ctx_pool),
        n_slots,
        n_gpu_layers: 0,
        main_gpu: None,
        system_bytes: fixed.saturating_add(pool.bytes(n_ctx_pool, n_slots)),
        gpu_bytes: 0,
    })
}

fn on_gpu(spec: &ModelSpec, policy: &Policy, gpu: &DeviceInfo, must: bool) -> Option<LoadPlan> {
    let pool = Pool::new(spec, policy);
    let budget = gpu
        .free_bytes
        .saturating_sub(policy.gpu_overhead.max(GPU_RESERVE));
    let fixed = spec
        .dims
        .file_bytes
        .saturating_add(spec.dims.compute_bytes());
    let room = budget.saturating_sub(fixed);
    let n_slots = pool.slots(room / 4);
    let most = pool.cells(room, n_slots);
    let main_gpu = i32::try_from(gpu.index).ok();
    if most >= pool.least() || spec.options.num_gpu > 0 {
        let n_ctx_pool = most.max(pool.least());
        let bytes = fixed.saturating_add(pool.bytes(n_ctx_pool, n_slots));
        let n_gpu_layers = if spec.options.num_gpu > 0 {
            spec.options.num_gpu
        } else {
            -1
        };
        let gpu_bytes = bytes.min(gpu.total_bytes);
        return Some(LoadPlan {
            n_ctx_pool,
            n_ctx_most: n_ctx_pool,
            n_slots,
            n_gpu_layers,
            main_gpu,
            system_bytes: 0,
            gpu_bytes,
        });
    }
    if !must {
        return None;
    }
    // Not whole: as many layers as fit, each with its share of the smallest pool.
    let n_ctx_pool = pool.least();
    let n_slots = n_slots.min(2);
    let n_layer = u64::from(spec.dims.n_layer.max(1));
    let per_layer = (spec
        .dims
        .file_bytes
        .saturating_add(pool.bytes(n_ctx_pool, n_slots))
        / n_layer)
        .max(1);
    let layers = (budget.saturating_sub(spec.dims.compute_bytes()) / per_layer).min(n_layer);
    let gpu_bytes = layers * per_layer;
    Some(LoadPlan {
        n_ctx_pool,
        n_ctx_most: n_ctx_pool,
        n_slots,
        n_gpu_layers: i32::try_from(layers).unwrap_or(i32::MAX),
        main_gpu,
        system_bytes: (n_layer - layers) * per_layer,
        gpu_bytes,
    })
}

/// How many cells are wanted, needed and possible.
struct Pool<'a> {
    dims: &'a ModelDims,
    kind: KvCacheType,
    num_parallel: u32,
    requested: Option<u32>,
    default_ctx: u32,
}

impl<'a> Pool<'a> {
    fn new(spec: &'a ModelSpec, policy: &Policy) -> Self {
        Self {
            dims: &spec.dims,
            kind: policy.kv_cache_type,
            num_parallel: policy.num_parallel,
            requested: spec.options.num_ctx,
            default_ctx: policy.context_length,
        }
    }

    fn trained(&self) -> u32 {
        if self.dims.n_ctx_train == 0 {
            4096
        } else {
            self.dims.n_ctx_train
        }
    }

    /// The context that the request (or the settings) ask for, at most the trained length.
    fn wish(&self) -> u32 {
        let wish = self
            .requested
            .or((self.default_ctx > 0).then_some(self.default_ctx));
        round_up(wish.unwrap_or_default().min(self.trained()))
    }

    /// The smallest pool that is worth loading.
    fn least(&self) -> u32 {
        let small = round_up(self.trained().min(2048));
        if self.wish() > 0 {
            self.wish().min(small)
        } else {
            small
        }
    }

    fn slots(&self, room: u64) -> u32 {
        if self.num_parallel > 0 {
            return self.num_parallel;
        }
        // Window layers cost memory for each slot: halve while they would eat most of the room.
        let mut n_slots = AUTO_SLOTS;
        while n_slots > 2 && self.dims.window_bytes(n_slots, self.kind) > room / 2 {
            n_slots /= 2;
        }
        n_slots
    }

    /// Cells that fit `room` bytes, at most the trained length for every slot.
    fn cells(&self, room: u64, n_slots: u32) -> u32 {
        let limit = round_up(self.trained()).saturating_mul(n_slots);
        let window = self.dims.window_bytes(n_slots, self.kind);
        let per_token = self.dims.global_bytes_per_token(self.kind).max(1);
        let cells = room.saturating_sub(window) / per_token;
        let cells = u32::try_from(cells).unwrap_or(u32::MAX).min(limit);
        cells / CELL_STEP * CELL_STEP
    }

    fn bytes(&self, cells: u32, n_slots: u32) -> u64 {
        let global = u64::from(cells).saturating_mul(self.dims.global_bytes_per_token(self.kind));
        global.saturating_add(self.dims.window_bytes(n_slots, self.kind))
    }
}

fn round_up(cells: u32) -> u32 {
    cells.div_ceil(CELL_STEP).saturating_mul(CELL_STEP)
}
