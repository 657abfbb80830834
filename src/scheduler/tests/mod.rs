//! Scenarios for the pure parts.

mod bench;
mod cards;
mod failures;
mod keep_alive;
mod memory;
mod modelfiles;
mod queue;
mod reload;
mod storm;
mod turns;
mod victims;

use std::path::PathBuf;

use super::*;
use crate::device::Snapshot;
use crate::protocol::{DeviceInfo, SpillParams};
use crate::view::ModelFile;

const GIB: u64 = 1 << 30;
const MIB: u64 = 1 << 20;

/// A model of `gib` GiB with a small cache (16 KiB for a token), trained to 8,192 tokens.
fn spec(name: &str, gib: u64) -> ModelSpec {
    ModelSpec {
        name: ModelName::parse(name).unwrap(),
        digest: String::new(),
        weights: ModelFile::original(name),
        end_tokens: Vec::new(),
        projector: None,
        adapters: Vec::new(),
        embedding: false,
        options: Options::default(),
        dims: ModelDims {
            window_period: crate::families::window_period("llama"),
            file_bytes: gib * GIB,
            n_head_kv: vec![4; 16],
            head_dim_k: 64,
            head_dim_v: 64,
            n_embd: 1024,
            n_vocab: 32_000,
            n_ctx_train: 8192,
            sliding_window: 0,
            expert_bytes: 0,
        },
        is_job: false,
        origin: "".into(),
        draft: None,
    }
}

fn with(mut spec: ModelSpec, change: impl FnOnce(&mut Options)) -> ModelSpec {
    change(&mut spec.options);
    spec
}

/// A machine with 24 GiB, 20 of them free, and no GPU.
fn cpu_machine() -> Snapshot {
    Snapshot {
        system_total_bytes: 24 * GIB,
        system_available_bytes: 20 * GIB,
        gpus: Vec::new(),
    }
}

/// The same with GPUs of these sizes in MiB, 450 MiB of each taken by the desktop.
fn gpu_machine(total_mib: &[u64]) -> Snapshot {
    let gpu = |(index, mib): (usize, &u64)| DeviceInfo {
        index,
        name: format!("CUDA{index}"),
        description: String::new(),
        backend: "CUDA".to_owned(),
        is_gpu: true,
        is_integrated: false,
        total_bytes: mib * MIB,
        free_bytes: (mib - 450) * MIB,
        instruction_sets: Vec::new(),
    };
    Snapshot {
        gpus: total_mib.iter().enumerate().map(gpu).collect(),
        ..cpu_machine()
    }
}

fn policy() -> placement::Policy {
    placement::Policy::plain()
}
