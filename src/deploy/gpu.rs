//! Whether drover can use this machine's GPU, and if not, why.

use std::path::Path;

use super::finding::{Finding, Level};
use super::health;
use super::systemd::Service;
use crate::config::HostSpec;
use crate::device::{self, Obstacle};
use crate::protocol::DeviceInfo;

/// The state of the GPU.
pub(super) enum Gpu {
    /// A new runner uses it.
    Used(String),
    /// There is no card that llama.cpp can use.
    Absent,
    /// There is a card, but drover cannot use it.
    Unusable(Obstacle),
}

impl Gpu {
    /// `devices` = the devices that a new runner finds.
    pub(super) fn look(devices: &[DeviceInfo]) -> Self {
        let gpus: Vec<&DeviceInfo> = devices.iter().filter(|device| device.is_gpu).collect();
        if let Some(first) = gpus.first() {
            let (n, name, backend) = (gpus.len(), &first.description, &first.backend);
            return Self::Used(if n == 1 {
                format!("{name} ({backend}) is used")
            } else {
                format!("{n} GPUs are used, the first is {name} ({backend})")
            });
        }
        match device::obstacle(Path::new("/")) {
            None => Self::Absent,
            Some(obstacle) => Self::Unusable(obstacle),
        }
    }

    pub(super) fn finding(&self) -> Finding {
        const CHECK: &str = "gpu";
        match self {
            Self::Used(text) => Finding::ok(CHECK, text),
            Self::Absent => Finding::ok(CHECK, "no graphics card, models run on the CPU"),
            Self::Unusable(Obstacle { reason, fix }) => {
                Finding::bad(CHECK, Level::Failure, reason, fix)
            }
        }
    }
}

/// Whether the loaded models are completely on the GPU.
pub(super) fn offload(host: &HostSpec) -> Vec<Finding> {
    let loaded = health::loaded(host).unwrap_or_default();
    let findings = loaded.iter().map(|model| {
        if model.size_vram >= model.size {
            return Finding::ok("offload", format!("{} is wholly on the GPU", model.name));
        }
        let on_cpu = (model.size - model.size_vram).saturating_mul(100) / model.size;
        Finding::bad(
            "offload",
            Level::Warning,
            format!("{on_cpu} % of {} is not on the GPU", model.name),
            "a smaller num_ctx, fewer OLLAMA_NUM_PARALLEL, or OLLAMA_KV_CACHE_TYPE=q8_0: systemctl edit drover",
        )
    });
    findings.collect()
}

/// Checks whether the GPU's memory is preserved when the machine sleeps.
pub(super) fn sleep() -> Option<Finding> {
    let state = Service::ask("sleep.target").ok()?;
    if state.get("LoadState") == "masked" {
        return Some(Finding::ok("suspend", "the machine does not suspend"));
    }
    let kept = fs_err::read_to_string("/proc/driver/nvidia/params").unwrap_or_default();
    if kept.contains("PreserveVideoMemoryAllocations: 1") {
        return Some(Finding::ok(
            "suspend",
            "the driver keeps video memory over a suspend",
        ));
    }
    Some(Finding::bad(
        "suspend",
        Level::Warning,
        "loaded models do not survive a suspend",
        "systemctl mask sleep.target suspend.target hibernate.target hybrid-sleep.target",
    ))
}
