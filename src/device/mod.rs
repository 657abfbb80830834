//! The machine: memory, cores, GPUs. Reads `/proc` and cgroups; a probe process lists the GPUs.

mod cpu;
mod memory;
mod nvml;
mod obstacle;

use crate::protocol::DeviceInfo;

pub use cpu::InstructionSets;
pub use memory::system_memory;
pub use nvml::{Need, cards, is_free};
pub use obstacle::{Obstacle, look as obstacle};

/// Total and free resources at one moment.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    pub system_total_bytes: u64,
    pub system_available_bytes: u64,
    /// GPUs that llama.cpp found in the probe process; empty if there are none.
    pub gpus: Vec<DeviceInfo>,
}

impl Snapshot {
    /// Reads the system's memory now, and combines it with GPUs that were probed earlier.
    pub fn take(gpus: &[DeviceInfo]) -> Self {
        let (system_total_bytes, system_available_bytes) = system_memory();
        Self {
            system_total_bytes,
            system_available_bytes,
            gpus: gpus.to_vec(),
        }
    }
}
