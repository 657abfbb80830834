//! Which devices compute models on this machine, and whether they are its best ones.

use std::path::PathBuf;

use super::finding::{Finding, Level};
use crate::device::InstructionSets;
use crate::protocol::DeviceInfo;

/// Returns the devices that a new runner of the program `exe` finds; starts such a runner.
pub(super) fn devices(exe: PathBuf) -> Vec<DeviceInfo> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let Ok(runtime) = runtime else {
        return Vec::new();
    };
    let tasks = tokio_util::task::TaskTracker::new();
    let devices = runtime.block_on(crate::runner_client::probe(exe, &tasks));
    devices.unwrap_or_default()
}

/// Reports which instruction sets of the CPU are used.
pub(super) fn cpu(devices: &[DeviceInfo]) -> Option<Finding> {
    let cpu = devices.iter().find(|device| !device.is_gpu)?;
    let sets = InstructionSets::of_this_machine(cpu.instruction_sets.clone());
    Some(finding(&sets))
}

fn finding(sets: &InstructionSets) -> Finding {
    const CHECK: &str = "cpu";
    let used = match sets.used.as_slice() {
        [] => "llama.cpp computes without special instructions".to_owned(),
        used => format!("llama.cpp computes with {}", used.join(", ")),
    };
    if sets.unused.is_empty() {
        return Finding::ok(CHECK, used);
    }
    let unused = sets.unused.join(", ");
    Finding::bad(
        CHECK,
        Level::Warning,
        format!("{used}; this build does not use {unused}, which the CPU has"),
        "RUSTFLAGS=-Ctarget-cpu=native cargo build --release, or a release with modules for every processor",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_idle_is_a_warning() {
        let names = |text: &str| text.split_whitespace().map(str::to_owned).collect();
        let of = |used, unused| {
            finding(&InstructionSets {
                used: names(used),
                unused: names(unused),
            })
        };
        let fine = of("AVX2 FMA", "");
        assert_eq!((fine.level, fine.fix), (Level::Ok, None));
        assert_eq!(fine.text, "llama.cpp computes with AVX2, FMA");
        let slow = of("", "AVX2 AVX512");
        assert_eq!(slow.level, Level::Warning);
        assert!(slow.text.contains("not use AVX2, AVX512,"), "{slow:?}");
        assert!(slow.fix.unwrap().contains("target-cpu=native"));
    }
}
