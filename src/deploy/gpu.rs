//! Whether drover can use this machine's GPU, and if not, why.

use std::path::{Path, PathBuf};

use super::finding::{Finding, Level};
use super::health;
use super::systemd::Service;
use crate::config::HostSpec;
use crate::protocol::DeviceInfo;

/// Where the kernel lists devices.
const PCI: &str = "/sys/bus/pci/devices";

/// The state of the GPU.
pub(super) enum Gpu {
    /// A new runner uses it.
    Used(String),
    /// There is no NVIDIA card.
    Absent,
    /// There is one, but drover cannot use it.
    Unusable { reason: String, fix: &'static str },
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
        if !has_nvidia_card(Path::new(PCI)) {
            return Self::Absent;
        }
        let driver = Path::new("/proc/driver/nvidia/version").exists();
        let nodes = ["/dev/nvidiactl", "/dev/nvidia0", "/dev/nvidia-uvm"];
        let missing: Vec<&str> = nodes
            .into_iter()
            .filter(|path| !Path::new(path).exists())
            .collect();
        let (reason, fix) = if !driver {
            (
                "there is an NVIDIA card, and its driver is not loaded".to_owned(),
                "modprobe nvidia || apt install nvidia-driver",
            )
        } else if !missing.is_empty() {
            (
                format!(
                    "the NVIDIA driver's device nodes are missing: {}",
                    missing.join(", ")
                ),
                "nvidia-modprobe -u -c 0 && systemctl restart drover",
            )
        } else {
            (
                "the NVIDIA driver is there, and drover cannot compute on the card: it was built without CUDA, \
                 or the driver is too old for its CUDA version"
                    .to_owned(),
                "nvidia-smi; ls /usr/lib/drover/libggml-cuda.so",
            )
        };
        Self::Unusable { reason, fix }
    }

    pub(super) fn finding(&self) -> Finding {
        const CHECK: &str = "gpu";
        match self {
            Self::Used(text) => Finding::ok(CHECK, text),
            Self::Absent => Finding::ok(CHECK, "no NVIDIA card, models run on the CPU"),
            Self::Unusable { reason, fix } => Finding::bad(CHECK, Level::Failure, reason, fix),
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

fn has_nvidia_card(devices: &Path) -> bool {
    let read = |path: PathBuf| fs_err::read_to_string(path).unwrap_or_default();
    let entries = fs_err::read_dir(devices).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).any(|path| {
        read(path.join("vendor")).trim() == "0x10de" && read(path.join("class")).starts_with("0x03")
    })
}

/// Checks whether the GPU's memory survives when the machine sleeps.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_is_a_display_controller_of_its_vendor() {
        let folder = tempfile::tempdir().unwrap();
        let device = folder.path().join("0000:01:00.0");
        fs_err::create_dir(&device).unwrap();
        fs_err::write(device.join("vendor"), "0x10de\n").unwrap();
        fs_err::write(device.join("class"), "0x040300\n").unwrap();
        assert!(!has_nvidia_card(folder.path()), "that is its sound");
        fs_err::write(device.join("class"), "0x030000\n").unwrap();
        assert!(has_nvidia_card(folder.path()));
    }
}
