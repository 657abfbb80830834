//! Places a model on GPUs: whole, on the fewest GPUs of one kind; else the experts of a mixture of experts stay
//! on the CPU; else whole layers do.

use super::super::costs::Costs;
use super::super::pool::Pool;
use super::{Card, LoadPlan, Request, rows, shape};
use crate::device::Snapshot;
use crate::protocol::{DeviceInfo, PoolShape};

/// Bytes that are kept free on a GPU for the driver and for errors of the plan.
const GPU_RESERVE: u64 = 400 << 20;

/// The part of a GPU (one in this many) that a pool leaves to a second, small model (an embedder beside a chat
/// model).
const GPU_GUEST_SHARE: u64 = 10;

/// The part of the pool (one in this many) that computing more rows at once may cost.
const DEAREST_ROWS: u32 = 8;

/// Some GPUs, and what a model may fill of each.
struct Budget<'a> {
    cards: Vec<(&'a DeviceInfo, u64)>,
}

impl<'a> Budget<'a> {
    fn new(request: &Request<'_>, cards: &[&'a DeviceInfo], free: &Snapshot) -> Self {
        let reserve = request.policy.gpu_overhead.max(GPU_RESERVE);
        let of = |card: &&'a DeviceInfo| {
            let bytes = if card.is_integrated {
                // An integrated GPU uses the system's memory.
                card.free_bytes.min(free.system_available_bytes)
            } else {
                card.free_bytes
            };
            (*card, bytes.saturating_sub(reserve))
        };
        Self {
            cards: cards.iter().map(of).collect(),
        }
    }

    /// How much of all cards a model may fill. On several cards, each has its own compute buffers, and layers
    /// are not split.
    fn room(&self, costs: &Costs, n_layer: u64) -> u64 {
        let all = self.cards.iter().map(|(_, bytes)| *bytes);
        let layer = costs.layers.fixed / n_layer.max(1);
        let n_more = self.cards.len().saturating_sub(1) as u64;
        let lost = costs.beside.fixed.saturating_add(layer);
        all.fold(0, u64::saturating_add)
            .saturating_sub(lost.saturating_mul(n_more))
    }

    /// Divides the layers among the cards; everything else is on each card.
    fn divide(&self, layers_bytes: u64, beside_bytes: u64) -> Vec<Card> {
        let rooms = self.cards.iter();
        let rooms: Vec<u64> = rooms
            .map(|(_, bytes)| bytes.saturating_sub(beside_bytes).max(1))
            .collect();
        let all = rooms.iter().copied().map(u128::from).sum::<u128>();
        let divided = self.cards.iter().zip(rooms).map(|((card, _), room)| {
            let part = u128::from(layers_bytes) * u128::from(room) / all;
            let part = u64::try_from(part).unwrap_or(u64::MAX);
            Card {
                index: card.index,
                name: card.name.clone(),
                bytes: part.saturating_add(beside_bytes).min(card.total_bytes),
                share: share(room),
            }
        });
        divided.collect()
    }
}

/// A share in MiB.
#[expect(
    clippy::cast_precision_loss,
    reason = "only the ratio of shares matters"
)]
fn share(bytes: u64) -> f32 {
    ((bytes >> 20) as f32).max(1.0)
}

/// Plans a load on a machine with GPUs.
pub(super) fn plan(request: &Request<'_>, free: &Snapshot) -> Option<LoadPlan> {
    let kind = candidates(request, free);
    let n_own = kind.iter().filter(|gpu| !is_remote(gpu)).count();
    let n_least = if request.policy.spread {
        n_own.max(1)
    } else {
        1
    };
    let budgets: Vec<Budget<'_>> = (n_least..=kind.len())
        .map(|n| Budget::new(request, &kind[..n], free))
        .collect();
    let spec = request.spec;
    let wanted = u64::try_from(spec.options.num_gpu).unwrap_or_default();
    let all = budgets.last()?;
    if (1..=spec.dims.n_layer()).contains(&wanted) {
        let fitting = budgets
            .iter()
            .find_map(|budget| in_part(request, budget, Layers::IfTheyFit(wanted)));
        let anyway = || in_part(request, all, Layers::Exactly(wanted));
        return fitting.or_else(|| request.must.then(anyway).flatten());
    }
    let enough = budgets
        .iter()
        .find_map(|budget| whole(request, budget, &Pool::comfortable));
    if enough.is_some() || !request.must {
        return enough;
    }
    let small = whole(request, all, &Pool::least);
    let experts = || with_experts_on_the_cpu(request, all);
    // With `num_gpu` above the number of layers: whole, whatever the estimate says.
    let anyway = || (wanted > 0).then(|| whole(request, all, &|_| 0)).flatten();
    small
        .or_else(experts)
        .or_else(anyway)
        .or_else(|| in_part(request, all, Layers::Most))
}

/// The GPUs that may be used together, the one with the most free memory first: those of the same kind as the
/// best one, then those of other machines. If the request names a card, only that one.
fn candidates<'a>(request: &Request<'_>, free: &'a Snapshot) -> Vec<&'a DeviceInfo> {
    let mut gpus: Vec<&DeviceInfo> = free.gpus.iter().collect();
    let main = request.spec.options.main_gpu;
    let main = main.and_then(|index| usize::try_from(index).ok());
    if let Some(named) = gpus.iter().find(|gpu| Some(gpu.index) == main) {
        return vec![*named];
    }
    // Local GPUs before those of other machines, discrete before integrated.
    gpus.sort_by_key(|gpu| {
        let own = !is_remote(gpu);
        std::cmp::Reverse((own, !gpu.is_integrated, gpu.free_bytes))
    });
    let Some(best) = gpus.first().copied() else {
        return gpus;
    };
    gpus.retain(|gpu| {
        let is_alike = gpu.backend == best.backend && gpu.is_integrated == best.is_integrated;
        is_alike || is_remote(gpu)
    });
    gpus
}

/// Whether it is a device of another machine, by the name of llama.cpp's backend for them.
pub(in crate::scheduler) fn is_remote(gpu: &DeviceInfo) -> bool {
    gpu.backend == "RPC"
}

/// Plans all layers on the cards, with the most rows at once that cost little of the pool; `None` if the pool
/// would be smaller than `least`.
fn whole(
    request: &Request<'_>,
    budget: &Budget<'_>,
    least: &dyn Fn(&Pool) -> u32,
) -> Option<LoadPlan> {
    let mut plans = rows::n_ubatches(request.spec, true)
        .into_iter()
        .map(|n_ubatch| whole_with(request, budget, least, n_ubatch));
    let first = plans.next()?;
    plans.fold(first, |best, smaller| match (best, smaller) {
        (Some(best), Some(smaller)) => {
            let dearest = smaller.n_ctx_most - smaller.n_ctx_most / DEAREST_ROWS;
            let is_cheap =
                best.n_ctx_most >= dearest && best.shape.n_slots >= smaller.shape.n_slots;
            Some(if is_cheap { best } else { smaller })
        }
        (best, smaller) => best.or(smaller),
    })
}

fn whole_with(
    request: &Request<'_>,
    budget: &Budget<'_>,
    least: &dyn Fn(&Pool) -> u32,
    n_ubatch: u32,
) -> Option<LoadPlan> {
    let costs = request.costs(n_ubatch);
    let (shape, n_ctx_most) = fill(request, budget, least, (&costs, n_ubatch))?;
    Some(LoadPlan {
        shape,
        n_ctx_most,
        n_gpu_layers: -1,
        n_cpu_moe: 0,
        cards: budget.divide(
            costs.layers.bytes(shape.n_ctx_pool, shape.n_slots),
            costs.beside.bytes(shape.n_ctx_pool, shape.n_slots),
        ),
        system_bytes: costs.host_bytes,
    })
}

/// The pool that fits into the cards' remaining memory, and the largest possible one.
fn fill(
    request: &Request<'_>,
    budget: &Budget<'_>,
    least: &dyn Fn(&Pool) -> u32,
    (costs, n_ubatch): (&Costs, u32),
) -> Option<(PoolShape, u32)> {
    let &Request { spec, policy, .. } = request;
    let pool = Pool::new(spec, policy, costs.whole());
    let room = budget.room(costs, spec.dims.n_layer());
    let n_slots = pool.slots(room);
    let most = pool.cells(room, n_slots);
    if most < least(&pool) {
        return None;
    }
    let totals = budget.cards.iter().map(|(card, _)| card.total_bytes);
    let total = totals.fold(0, u64::saturating_add);
    let guest = (total / GPU_GUEST_SHARE).max(request.reserved_bytes);
    let n_ctx_pool = pool.choose(room.saturating_sub(guest), room, n_slots);
    Some((
        shape(spec, (n_ctx_pool, n_slots), n_ubatch, true),
        most.max(n_ctx_pool),
    ))
}

/// Plans a mixture of experts with the experts of as few layers as possible on the CPU: experts are most of its
/// weights, and few of them are used for a token.
fn with_experts_on_the_cpu(request: &Request<'_>, budget: &Budget<'_>) -> Option<LoadPlan> {
    let spec = request.spec;
    let n_layer = u32::try_from(spec.dims.n_layer()).ok()?;
    if spec.dims.expert_bytes == 0 {
        return None;
    }
    let n_ubatch = rows::n_ubatches(spec, true).pop()?;
    let costs = request.costs(n_ubatch);
    (1..=n_layer).find_map(|n_cpu_moe| {
        let moved = spec.dims.expert_bytes / u64::from(n_layer) * u64::from(n_cpu_moe);
        let mut reduced = costs;
        reduced.layers.fixed = costs.layers.fixed.saturating_sub(moved);
        let (shape, n_ctx_most) = fill(request, budget, &Pool::comfortable, (&reduced, n_ubatch))?;
        Some(LoadPlan {
            shape,
            n_ctx_most,
            n_gpu_layers: -1,
            n_cpu_moe,
            cards: budget.divide(
                reduced.layers.bytes(shape.n_ctx_pool, shape.n_slots),
                reduced.beside.bytes(shape.n_ctx_pool, shape.n_slots),
            ),
            system_bytes: costs.host_bytes.saturating_add(moved),
        })
    })
}

/// How many layers go on GPUs.
#[derive(Debug, Clone, Copy)]
enum Layers {
    IfTheyFit(u64),
    /// Even if the model does not fit then.
    Exactly(u64),
    /// The number that fits.
    Most,
}

/// Plans some layers on the GPUs, each with its share of a small pool. A draft model is on the GPUs as a whole.
fn in_part(request: &Request<'_>, budget: &Budget<'_>, wanted: Layers) -> Option<LoadPlan> {
    let &Request { spec, policy, .. } = request;
    let n_ubatch = rows::n_ubatches(spec, true).pop()?;
    let costs = request.costs(n_ubatch);
    let pool = Pool::new(spec, policy, costs.whole());
    let (n_ctx_pool, n_slots) = (pool.comfortable(), pool.slots(0));
    let n_layer = spec.dims.n_layer().max(1);
    let layers_bytes = costs.layers.bytes(n_ctx_pool, n_slots);
    let per_layer = (layers_bytes / n_layer).max(1);
    let beside = costs.beside.bytes(n_ctx_pool, n_slots);
    let room = budget.room(&costs, n_layer).saturating_sub(beside);
    let fitting = (room / per_layer).min(n_layer);
    let layers = match wanted {
        Layers::IfTheyFit(n) if n > fitting => return None,
        Layers::IfTheyFit(n) | Layers::Exactly(n) => n,
        Layers::Most => fitting,
    };
    let on_cpu = (n_layer - layers.min(n_layer)).saturating_mul(per_layer);
    Some(LoadPlan {
        shape: shape(spec, (n_ctx_pool, n_slots), n_ubatch, true),
        n_ctx_most: n_ctx_pool,
        n_gpu_layers: i32::try_from(layers).unwrap_or(i32::MAX),
        n_cpu_moe: 0,
        cards: budget.divide(layers.saturating_mul(per_layer), beside),
        system_bytes: costs.host_bytes.saturating_add(on_cpu),
    })
}
