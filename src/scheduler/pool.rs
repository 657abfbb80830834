//! How large a model's KV pool becomes. Pure.
//!
//! The pool is allocated when the model is loaded, so its size costs memory and load time from
//! the first moment on. It is shared by all sequences: no request owns a part of it.

use super::ModelSpec;
use super::costs::Linear;
use super::placement::Policy;
use crate::protocol::MAX_CELLS;

/// Slots if `OLLAMA_NUM_PARALLEL` leaves the choice to us.
const AUTO_SLOTS: u32 = 8;

/// Pools are whole multiples of this many cells.
const CELL_STEP: u32 = 256;

/// The trained length that is assumed if the file does not say.
const UNKNOWN_TRAINED: u32 = 4096;

/// A context that is worth unloading other models for, if the request asks for none.
const COMFORTABLE: u32 = 8192;

/// A model is hardly useful with a smaller context.
const SMALL: u32 = 2048;

/// How many cells are wanted, needed and possible.
pub(super) struct Pool {
    n_ctx_train: u32,
    /// What the memory has to hold: the pool and everything else of the model.
    costs: Linear,
    num_parallel: u32,
    /// What the request or the settings ask for.
    asked: Option<u32>,
}

impl Pool {
    pub(super) fn new(spec: &ModelSpec, policy: &Policy, costs: Linear) -> Self {
        let default_ctx = (policy.context_length > 0).then_some(policy.context_length);
        Self {
            n_ctx_train: spec.dims.n_ctx_train,
            costs,
            num_parallel: policy.num_parallel,
            asked: spec.options.num_ctx.or(default_ctx),
        }
    }

    fn trained(&self) -> u32 {
        match self.n_ctx_train {
            0 => UNKNOWN_TRAINED,
            trained => trained.min(MAX_CELLS),
        }
    }

    /// The requested context, at most the trained length; 0 = none requested.
    fn wish(&self) -> u32 {
        round_up(self.asked.unwrap_or_default().min(self.trained()))
    }

    /// The smallest pool that is worth loading when memory is short.
    pub(super) fn least(&self) -> u32 {
        let small = round_up(self.trained().min(SMALL));
        match self.wish() {
            0 => small,
            wish => wish.min(small),
        }
    }

    /// The pool that other models have to make room for.
    pub(super) fn comfortable(&self) -> u32 {
        match self.wish() {
            0 => round_up(self.trained().min(COMFORTABLE)),
            wish => wish,
        }
    }

    /// The pool that fits into `auto_bytes`, more if more is requested, at most what fits into `budget_bytes`.
    pub(super) fn choose(&self, auto_bytes: u64, budget_bytes: u64, n_slots: u32) -> u32 {
        // Each requested slot should have the requested context.
        let asked = self.wish().saturating_mul(self.num_parallel.max(1));
        self.cells(auto_bytes, n_slots)
            .max(asked)
            .max(self.comfortable())
            .min(self.cells(budget_bytes, n_slots))
            .max(self.least())
    }

    /// The number of slots. Sliding-window layers cost memory per slot: the number is halved while that would
    /// take more than two fifths of the room.
    pub(super) fn slots(&self, budget_bytes: u64) -> u32 {
        if self.num_parallel > 0 {
            return self.num_parallel;
        }
        let room = budget_bytes.saturating_sub(self.costs.fixed);
        let all = |n_slots: u32| self.costs.per_slot.saturating_mul(n_slots.into());
        let mut n_slots = AUTO_SLOTS;
        while n_slots > 2 && all(n_slots) > room / 5 * 2 {
            n_slots /= 2;
        }
        n_slots
    }

    /// Cells that fit beside everything else, at most the trained length for every slot.
    pub(super) fn cells(&self, budget_bytes: u64, n_slots: u32) -> u32 {
        let limit = round_up(self.trained()).saturating_mul(n_slots);
        let limit = limit.min(MAX_CELLS);
        let room = budget_bytes.saturating_sub(self.costs.bytes(0, n_slots));
        let cells = room / self.costs.per_cell.max(1);
        let cells = u32::try_from(cells).unwrap_or(u32::MAX).min(limit);
        cells / CELL_STEP * CELL_STEP
    }

    /// Bytes that the memory has to hold with a pool of this shape.
    pub(super) fn bytes(&self, cells: u32, n_slots: u32) -> u64 {
        self.costs.bytes(cells, n_slots)
    }
}

/// The pool after loads that failed for lack of memory.
pub(super) fn shrunk(cells: u32, n_shrinks: u32) -> u32 {
    let smaller = cells.checked_shr(2 * n_shrinks).unwrap_or_default();
    (smaller / CELL_STEP * CELL_STEP).max(cells.min(SMALL))
}

fn round_up(cells: u32) -> u32 {
    cells.div_ceil(CELL_STEP).saturating_mul(CELL_STEP)
}
