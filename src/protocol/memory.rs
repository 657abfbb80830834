//! How much of each memory a model takes.

use serde::{Deserialize, Serialize};

use super::{LoadParams, SpillParams};

/// The name that stands for the system's memory among device names.
pub const HOST: &str = "CPU";

/// Bytes of one model in one memory.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceMemory {
    /// A device's name (`CUDA0`, `Vulkan1`), or [`HOST`].
    pub device: String,
    /// The weights, adapters included.
    pub weights: u64,
    /// The KV cache and the state of recurrent layers.
    pub kv: u64,
    /// The compute buffers.
    pub compute: u64,
    /// The projector's weights and compute buffers.
    pub projector: u64,
    /// The whole draft model.
    pub draft: u64,
}

impl DeviceMemory {
    /// The sum of all parts; saturates.
    pub fn total(&self) -> u64 {
        let parts = [
            self.weights,
            self.kv,
            self.compute,
            self.projector,
            self.draft,
        ];
        parts.into_iter().fold(0, u64::saturating_add)
    }

    /// Adds what another model takes of the same memory.
    pub fn add(&mut self, other: &Self) {
        for (own, more) in [
            (&mut self.weights, other.weights),
            (&mut self.kv, other.kv),
            (&mut self.compute, other.compute),
            (&mut self.projector, other.projector),
            (&mut self.draft, other.draft),
        ] {
            *own = own.saturating_add(more);
        }
    }
}

/// Entries by device, the host last.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MemoryUse(pub Vec<DeviceMemory>);

impl MemoryUse {
    /// The entry of a device; adds one if there is none.
    pub fn on(&mut self, device: &str) -> &mut DeviceMemory {
        let place = self.0.iter().position(|entry| entry.device == device);
        let place = place.unwrap_or_else(|| {
            let is_host = |entry: &DeviceMemory| entry.device == HOST;
            let place = match self.0.iter().position(is_host) {
                Some(host) if device != HOST => host,
                _ => self.0.len(),
            };
            let entry = DeviceMemory {
                device: device.to_owned(),
                ..DeviceMemory::default()
            };
            self.0.insert(place, entry);
            place
        });
        &mut self.0[place]
    }

    /// Adds what another model takes.
    pub fn add(&mut self, other: &Self) {
        for entry in &other.0 {
            self.on(&entry.device).add(entry);
        }
    }

    /// Adds a draft model.
    pub fn add_draft(&mut self, draft: &Self) {
        for entry in &draft.0 {
            let own = self.on(&entry.device);
            own.draft = own.draft.saturating_add(entry.total());
        }
    }

    /// The entry of a device, if there is one.
    pub fn get(&self, device: &str) -> Option<&DeviceMemory> {
        self.0.iter().find(|entry| entry.device == device)
    }

    /// Bytes of all memories; saturates.
    pub fn total(&self) -> u64 {
        let totals = self.0.iter().map(DeviceMemory::total);
        totals.fold(0, u64::saturating_add)
    }

    /// Bytes of all memories but the host's; saturates.
    pub fn on_devices(&self) -> u64 {
        let devices = self.0.iter().filter(|entry| entry.device != HOST);
        devices
            .map(DeviceMemory::total)
            .fold(0, u64::saturating_add)
    }
}

/// The parameters of a load that a plan chooses and its memory depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PoolShape {
    /// KV cells of the pool.
    pub n_ctx_pool: u32,
    pub n_slots: u32,
    /// Most rows of one decode call.
    pub n_batch: u32,
    /// Rows that are computed at once.
    pub n_ubatch: u32,
}

/// A question about the memory that a model would take, without loading it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MeasureParams {
    /// How it would be loaded; its own shape does not matter.
    pub load: LoadParams,
    pub shapes: Vec<PoolShape>,
}

impl MeasureParams {
    /// Makes a canonical question, without parameters that do not affect the answer.
    pub fn new(load: &LoadParams, shapes: Vec<PoolShape>) -> Self {
        let first = shapes.first().copied().unwrap_or(PoolShape {
            n_ctx_pool: 1,
            n_slots: 1,
            n_batch: 1,
            n_ubatch: 1,
        });
        let load = LoadParams {
            end_tokens: Vec::new(),
            n_threads: 1,
            use_mmap: None,
            spill: SpillParams::default(),
            ..load.in_shape(first)
        };
        Self { load, shapes }
    }
}

/// The answer to [`MeasureParams`]: an entry for each shape, `None` if llama.cpp refuses the shape.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Measured(pub Vec<Option<MemoryUse>>);

impl Measured {
    /// Adds what a draft model takes with the same shapes.
    pub fn add_draft(&mut self, draft: Self) {
        for (own, more) in self.0.iter_mut().zip(draft.0) {
            *own = own.take().zip(more).map(|(mut own, more)| {
                own.add_draft(&more);
                own
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_stays_last_and_same_devices_add_up() {
        let mut all = MemoryUse::default();
        all.on(HOST).kv = 1;
        all.on("CUDA0").weights = 10;
        all.on("CUDA1").compute = 100;
        all.on("CUDA0").kv = 1000;
        let mut other = MemoryUse::default();
        other.on("CUDA1").projector = 5;
        all.add(&other);
        let names: Vec<_> = all.0.iter().map(|entry| entry.device.as_str()).collect();
        assert_eq!(names, ["CUDA0", "CUDA1", HOST]);
        assert_eq!((all.total(), all.on_devices()), (1116, 1115));
        assert_eq!(all.get("CUDA0").map(DeviceMemory::total), Some(1010));
    }
}
