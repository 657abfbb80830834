//! Decides where a model is loaded. Pure.

mod cards;
mod policy;
mod rows;

use super::ModelSpec;
use super::costs::{Costs, Measurement};
use super::pool::{self, Pool};
use crate::device::Snapshot;
#[cfg(any(test, fuzzing))]
use crate::protocol::DeviceInfo;
use crate::protocol::{GpuShare, PoolShape};

pub(super) use cards::is_remote;
pub(super) use policy::Policy;
pub(super) use rows::n_ubatches;

/// How a model will be loaded.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct LoadPlan {
    pub(super) shape: PoolShape,
    /// The largest pool that the memory would have allowed: a request for more causes no reload.
    pub(super) n_ctx_most: u32,
    /// Layers on GPUs; -1 = all.
    pub(super) n_gpu_layers: i32,
    /// How many layers, from the first on, have their experts on the CPU.
    pub(super) n_cpu_moe: u32,
    /// The GPUs that it is on; small tensors are on the first one.
    pub(super) cards: Vec<Card>,
    /// System memory that it takes, in bytes.
    pub(super) system_bytes: u64,
}

/// A GPU that a model is on.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Card {
    pub(super) index: usize,
    pub(super) name: String,
    /// Bytes that the model takes on it.
    pub(super) bytes: u64,
    /// Its share of the layers; only the ratio of shares matters.
    pub(super) share: f32,
}

impl LoadPlan {
    /// Bytes that it takes on all GPUs.
    pub(super) fn gpu_bytes(&self) -> u64 {
        let bytes = self.cards.iter().map(|card| card.bytes);
        bytes.fold(0, u64::saturating_add)
    }

    /// Bytes that it takes on one GPU.
    pub(super) fn bytes_on(&self, index: usize) -> u64 {
        let there = self.cards.iter().filter(|card| card.index == index);
        there.map(|card| card.bytes).fold(0, u64::saturating_add)
    }

    /// The GPUs and shares for the runner.
    pub(super) fn gpus(&self) -> Vec<GpuShare> {
        let gpus = self.cards.iter().map(|card| GpuShare {
            index: card.index,
            share: card.share,
        });
        gpus.collect()
    }

    /// Makes the pool smaller after loads that failed for lack of memory.
    pub(super) fn shrink(&mut self, n_shrinks: u32) {
        if n_shrinks > 0 {
            self.shape.n_ctx_pool = pool::shrunk(self.shape.n_ctx_pool, n_shrinks);
            self.n_ctx_most = self.shape.n_ctx_pool;
        }
    }
}

/// The model to place, and the conditions.
pub(super) struct Request<'a> {
    pub(super) spec: &'a ModelSpec,
    pub(super) policy: &'a Policy,
    /// What the inference library measured for it, if it was asked.
    pub(super) measurement: Option<&'a Measurement>,
    /// Memory to leave free if possible, because other models are expected back.
    pub(super) reserved_bytes: u64,
    /// No more room can be made: the best possible plan is wanted.
    pub(super) must: bool,
}

impl Request<'_> {
    /// What the model takes with this many rows in a call.
    fn costs(&self, n_ubatch: u32) -> Costs {
        let measured = self.measurement.and_then(|known| known.at(n_ubatch));
        measured.unwrap_or_else(|| Costs::estimated(self.spec, self.policy, n_ubatch))
    }
}

/// KV memory that any model may take on the CPU by default, in bytes; larger models may take as much as their
/// weights, up to an eighth of the free memory.
const CPU_POOL_BYTES: u64 = 256 << 20;
const CPU_POOL_SHARE: u64 = 8;

/// Share of the free system memory that a model may fill, in per cent.
const SYSTEM_SHARE: u64 = 90;

/// Plans a load in the free memory; `None` if it does not fit and room could be made.
pub(super) fn plan(request: &Request<'_>, free: &Snapshot) -> Option<LoadPlan> {
    if request.spec.options.num_gpu == 0 || free.gpus.is_empty() {
        return on_cpu(request, free.system_available_bytes);
    }
    cards::plan(request, free)
}

/// The memory that a model needs at least to be useful.
pub(super) fn least_bytes(spec: &ModelSpec, policy: &Policy) -> u64 {
    let n_ubatch = n_ubatches(spec, true).pop().unwrap_or(1);
    let costs = Costs::estimated(spec, policy, n_ubatch).whole();
    let pool = Pool::new(spec, policy, costs);
    pool.bytes(pool.comfortable(), pool.slots(0))
}

fn on_cpu(request: &Request<'_>, available: u64) -> Option<LoadPlan> {
    let &Request { spec, policy, .. } = request;
    let n_ubatch = n_ubatches(spec, false).pop().unwrap_or(1);
    let costs = request.costs(n_ubatch).whole();
    let pool = Pool::new(spec, policy, costs);
    let budget = available / 100 * SYSTEM_SHARE;
    let modest = spec.dims.file_bytes.min(available / CPU_POOL_SHARE);
    let auto = costs
        .fixed
        .saturating_add(modest.max(CPU_POOL_BYTES))
        .min(budget.saturating_sub(request.reserved_bytes));
    let n_slots = pool.slots(auto);
    let most = pool.cells(budget, n_slots);
    if most < pool.comfortable() && !request.must {
        return None;
    }
    let n_ctx_pool = pool.choose(auto, budget, n_slots);
    Some(LoadPlan {
        shape: shape(spec, (n_ctx_pool, n_slots), n_ubatch, false),
        n_ctx_most: most.max(n_ctx_pool),
        n_gpu_layers: 0,
        n_cpu_moe: 0,
        cards: Vec::new(),
        system_bytes: pool.bytes(n_ctx_pool, n_slots),
    })
}

/// A pool with its rows; there are never more rows than cells.
fn shape(
    spec: &ModelSpec,
    (n_ctx_pool, n_slots): (u32, u32),
    n_ubatch: u32,
    on_gpu: bool,
) -> PoolShape {
    let most = n_ctx_pool.max(1);
    PoolShape {
        n_ctx_pool,
        n_slots,
        n_batch: rows::n_batch(spec, n_ubatch, on_gpu).min(most),
        n_ubatch: n_ubatch.min(most),
    }
}

/// Places a model on machines without GPUs, with one and with two cards, each also when no room can be made,
/// for the fuzz targets. Returns the cells of the pools.
#[cfg(any(test, fuzzing))]
pub(super) fn place_everywhere(spec: &ModelSpec) -> Vec<u32> {
    let policy = Policy::plain();
    let card = |index| DeviceInfo {
        index,
        name: format!("CUDA{index}"),
        description: String::new(),
        backend: "CUDA".to_owned(),
        is_gpu: true,
        is_integrated: false,
        total_bytes: 16 << 30,
        free_bytes: 15 << 30,
        instruction_sets: Vec::new(),
    };
    let mut cells = Vec::new();
    for n_gpus in 0..=2 {
        for must in [false, true] {
            let request = Request {
                spec,
                policy: &policy,
                measurement: None,
                reserved_bytes: least_bytes(spec, &policy).min(1 << 30),
                must,
            };
            let free = Snapshot {
                system_total_bytes: 32 << 30,
                system_available_bytes: 20 << 30,
                gpus: (0..n_gpus).map(card).collect(),
            };
            cells.extend(plan(&request, &free).map(|plan| plan.shape.n_ctx_pool));
        }
    }
    cells
}
