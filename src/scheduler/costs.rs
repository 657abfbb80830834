//! The memory that a model takes, as a function of its pool: measured with the inference library, else
//! estimated from its dimensions. Pure.
//!
//! All parts grow linearly with the cells and the slots, so a few measured shapes determine the function.

use super::ModelSpec;
use super::placement::Policy;
use crate::protocol::{DeviceMemory, HOST, Measured, MemoryUse, PoolShape};

/// Bytes that encoding an image takes beside the projector's weights, if not measured. An assumption: Ollama
/// leaves 1 GiB.
const VISION_BYTES: u64 = 512 << 20;

/// Bytes as a linear function.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Linear {
    pub(super) fixed: u64,
    pub(super) per_slot: u64,
    /// Per KV cell.
    pub(super) per_cell: u64,
}

impl Linear {
    pub(super) fn bytes(self, n_cells: u32, n_slots: u32) -> u64 {
        let cells = self.per_cell.saturating_mul(n_cells.into());
        let slots = self.per_slot.saturating_mul(n_slots.into());
        self.fixed.saturating_add(slots).saturating_add(cells)
    }

    pub(super) fn plus(self, other: Self) -> Self {
        Self {
            fixed: self.fixed.saturating_add(other.fixed),
            per_slot: self.per_slot.saturating_add(other.per_slot),
            per_cell: self.per_cell.saturating_add(other.per_cell),
        }
    }
}

/// The memory that a model takes with a certain `n_ubatch`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Costs {
    /// The weights and the KV cache, which are where their layers are.
    pub(super) layers: Linear,
    /// The compute buffers, the projector and the draft model, which are where most layers are.
    pub(super) beside: Linear,
    /// Bytes that stay in the host's memory when all layers are on GPUs.
    pub(super) host_bytes: u64,
}

impl Costs {
    /// Everything that is on the model's device.
    pub(super) fn whole(&self) -> Linear {
        self.layers.plus(self.beside)
    }

    /// Estimates the costs from the dimensions in the file's header.
    pub(super) fn estimated(spec: &ModelSpec, policy: &Policy, n_ubatch: u32) -> Self {
        let (dims, kind) = (&spec.dims, policy.kv_cache_type);
        let window = dims.window_costs(kind, n_ubatch);
        let encoder = spec.projector.as_ref().map_or(0, |_| VISION_BYTES);
        let mut beside = Linear {
            fixed: dims.compute_bytes(n_ubatch).saturating_add(encoder),
            ..Linear::default()
        };
        if let Some(draft) = spec.draft(policy) {
            let draft = &draft.dims;
            beside = beside.plus(Linear {
                fixed: draft
                    .file_bytes
                    .saturating_add(draft.compute_bytes(n_ubatch)),
                per_slot: 0,
                per_cell: draft.whole_bytes_per_token(kind),
            });
        }
        Self {
            layers: window.plus(Linear {
                fixed: dims.file_bytes,
                per_slot: 0,
                per_cell: dims.global_bytes_per_token(kind),
            }),
            beside,
            host_bytes: 0,
        }
    }
}

/// The memory that a model takes, by the inference library.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Measurement {
    /// By `n_ubatch`.
    costs: Vec<(u32, Costs)>,
}

/// Cells of the measured pools, and some more for the slope. llama.cpp never makes a window's cache larger than
/// the pool, so the measured pools are larger than the windows of all slots; nothing of them is allocated.
const CELLS: [u32; 2] = [65_536, 131_072];

/// Slots of the measured pools.
const SLOTS: [u32; 2] = [2, 8];

impl Measurement {
    /// The shapes to measure for these values of `n_ubatch`.
    pub(super) fn shapes(n_ubatches: &[u32]) -> Vec<PoolShape> {
        let points = [
            (CELLS[0], SLOTS[0]),
            (CELLS[1], SLOTS[0]),
            (CELLS[0], SLOTS[1]),
        ];
        let of = |&n_ubatch: &u32| {
            points.map(|(n_ctx_pool, n_slots)| PoolShape {
                n_ctx_pool,
                n_slots,
                n_batch: n_ubatch,
                n_ubatch,
            })
        };
        n_ubatches.iter().flat_map(of).collect()
    }

    /// Reads the answer for [`Self::shapes`]; values of `n_ubatch` with an incomplete answer are left out.
    pub(super) fn new(n_ubatches: &[u32], measured: &Measured, on_gpu: bool) -> Self {
        let groups = n_ubatches.iter().zip(measured.0.chunks(3));
        let costs = groups.filter_map(|(&n_ubatch, uses)| {
            let [Some(base), Some(cells), Some(slots)] = uses else {
                return None;
            };
            Some((n_ubatch, costs([base, cells, slots], on_gpu)))
        });
        Self {
            costs: costs.collect(),
        }
    }

    /// Corrects the costs of a shape by what a load with it really took.
    pub(super) fn correct(&mut self, shape: PoolShape, planned: u64, taken: u64) {
        let costs = self.costs.iter_mut();
        for (_, costs) in costs.filter(|(n_ubatch, _)| *n_ubatch == shape.n_ubatch) {
            let fixed = &mut costs.beside.fixed;
            *fixed = fixed.saturating_add(taken).saturating_sub(planned);
        }
    }

    /// The costs with this `n_ubatch`, if they were measured.
    pub(super) fn at(&self, n_ubatch: u32) -> Option<Costs> {
        let found = self.costs.iter().find(|(rows, _)| *rows == n_ubatch);
        found.map(|(_, costs)| *costs)
    }
}

fn costs(uses: [&MemoryUse; 3], on_gpu: bool) -> Costs {
    let part = |of: fn(&DeviceMemory) -> u64| {
        line(uses.map(|memory| {
            let there = memory
                .0
                .iter()
                .filter(|entry| (entry.device != HOST) == on_gpu);
            there.map(of).fold(0, u64::saturating_add)
        }))
    };
    let host = uses.iter().filter_map(|memory| memory.get(HOST));
    let host = host.map(DeviceMemory::total).max().unwrap_or(0);
    Costs {
        layers: part(|entry| entry.weights.saturating_add(entry.kv)),
        beside: part(|entry| {
            let encoder = entry.projector.saturating_add(entry.draft);
            entry.compute.saturating_add(encoder)
        }),
        host_bytes: if on_gpu { host } else { 0 },
    }
}

/// The linear function through three points: the base, one with more cells, one with more slots.
fn line([base, cells, slots]: [u64; 3]) -> Linear {
    let per_cell = slope(cells, base, CELLS);
    let per_slot = slope(slots, base, SLOTS);
    let moving = Linear {
        fixed: 0,
        per_slot,
        per_cell,
    };
    Linear {
        fixed: base.saturating_sub(moving.bytes(CELLS[0], SLOTS[0])),
        ..moving
    }
}

fn slope(more: u64, less: u64, steps: [u32; 2]) -> u64 {
    let n_steps = u64::from(steps[1] - steps[0]);
    more.saturating_sub(less).div_ceil(n_steps)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    /// 1,000 MiB of weights (100 stay on the host), KV of 1 KiB per cell and 10 MiB per slot, buffers of 50 MiB
    /// and 16 bytes per cell, a projector and a draft model.
    fn use_of(shape: PoolShape) -> MemoryUse {
        let mut found = MemoryUse::default();
        let cells = u64::from(shape.n_ctx_pool);
        let card = found.on("CUDA0");
        card.weights = 900 * MIB;
        card.kv = cells * 1024 + u64::from(shape.n_slots) * 10 * MIB;
        card.compute = u64::from(shape.n_ubatch) * MIB / 10 + cells * 16;
        card.projector = 7 * MIB;
        card.draft = 3 * MIB;
        let host = found.on(HOST);
        host.weights = 100 * MIB;
        host.compute = cells;
        found
    }

    #[test]
    fn a_few_shapes_tell_what_every_other_one_takes() {
        let rows = [500, 2000];
        let shapes = Measurement::shapes(&rows);
        let uses = shapes.iter().map(|shape| Some(use_of(*shape)));
        let measurement = Measurement::new(&rows, &Measured(uses.collect()), true);
        let shape = PoolShape {
            n_ctx_pool: 100_096,
            n_slots: 5,
            n_batch: 2048,
            n_ubatch: 2000,
        };
        let costs = measurement.at(shape.n_ubatch).unwrap();
        let real = use_of(shape).on_devices();
        let planned = costs.whole().bytes(shape.n_ctx_pool, shape.n_slots);
        assert!(planned.abs_diff(real) < MIB, "{planned} {real}");
        assert_eq!(costs.beside.fixed, 210 * MIB);
        assert_eq!(costs.host_bytes, 100 * MIB + u64::from(CELLS[1]));
        assert_eq!(measurement.at(1000), None);
    }

    #[test]
    fn a_load_corrects_what_was_measured() {
        let rows = [500];
        let shapes = Measurement::shapes(&rows);
        let uses = shapes.iter().map(|shape| Some(use_of(*shape)));
        let mut measurement = Measurement::new(&rows, &Measured(uses.collect()), true);
        let before = measurement.at(500).unwrap().beside.fixed;
        measurement.correct(shapes[0], 1000, 1700);
        assert_eq!(measurement.at(500).unwrap().beside.fixed, before + 700);
        measurement.correct(shapes[0], 5000, 1000);
        assert_eq!(
            measurement.at(500).unwrap().beside.fixed,
            before + 700 - 4000
        );
    }

    #[test]
    fn what_the_library_refuses_is_not_known() {
        let rows = [500, 2000];
        let mut uses: Vec<_> = Measurement::shapes(&rows)
            .iter()
            .map(|shape| Some(use_of(*shape)))
            .collect();
        uses[4] = None;
        let measurement = Measurement::new(&rows, &Measured(uses), true);
        assert!(measurement.at(500).is_some());
        assert_eq!(measurement.at(2000), None);
    }
}
