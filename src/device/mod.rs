//! The machine: memory, cores, GPUs.

// STUB (owner: scheduler/runner helper)

use crate::protocol::DeviceInfo;

/// What there is and what is free, at one moment.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    pub system_total_bytes: u64,
    pub system_available_bytes: u64,
    pub physical_cores: usize,
    /// GPUs as llama.cpp sees them (from the probe child); empty on a machine without.
    pub gpus: Vec<DeviceInfo>,
}
