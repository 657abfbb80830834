//! The machine: memory, cores, GPUs. Reads `/proc` and cgroups; GPUs come from a probe child.

mod cpu;
mod memory;

use crate::protocol::DeviceInfo;

pub use cpu::InstructionSets;
pub use memory::system_memory;

/// What there is and what is free, at one moment.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    pub system_total_bytes: u64,
    pub system_available_bytes: u64,
    /// GPUs as llama.cpp sees them (from the probe child); empty on a machine without.
    pub gpus: Vec<DeviceInfo>,
}

impl Snapshot {
    /// Reads the system's memory now, beside GPUs that were probed earlier.
    pub fn take(gpus: &[DeviceInfo]) -> Self {
        let (system_total_bytes, system_available_bytes) = system_memory();
        Self {
            system_total_bytes,
            system_available_bytes,
            gpus: gpus.to_vec(),
        }
    }
}
