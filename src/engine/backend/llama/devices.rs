//! The devices that llama.cpp can compute on, and the one-time start of llama.cpp.
//!
//! GPUs come first, in llama.cpp's order, so that their indices are those of `main_gpu`; the CPU
//! comes last.

use std::sync::OnceLock;

use llama_cpp_2::llama_backend::LlamaBackend;
use llama_cpp_2::{LlamaBackendDevice, LlamaBackendDeviceType, list_llama_ggml_backend_devices};

use super::context;
use super::log;
use crate::engine::backend::BackendError;
use crate::protocol::DeviceInfo;

/// Starts llama.cpp once per process. It is never stopped: the process ends with the model, and the operating
/// system frees everything.
pub(super) fn start() -> Result<&'static LlamaBackend, BackendError> {
    static BACKEND: OnceLock<Result<LlamaBackend, BackendError>> = OnceLock::new();
    let backend = BACKEND.get_or_init(|| {
        log::install();
        #[cfg(feature = "dynamic-backends")]
        context::load_backend_modules();
        super::rpc::add_servers();
        LlamaBackend::init().map_err(|error| BackendError(error.to_string()))
    });
    backend.as_ref().map_err(Clone::clone)
}

/// Lists the devices: GPUs first, the CPU last.
pub(crate) fn devices() -> Vec<DeviceInfo> {
    if start().is_err() {
        return Vec::new();
    }
    let devices = ordered().into_iter().enumerate();
    devices.map(|(index, device)| info(index, device)).collect()
}

/// The GPUs in the order of `devices`.
pub(super) fn gpus() -> Vec<LlamaBackendDevice> {
    let mut devices = ordered();
    devices.retain(is_gpu);
    devices
}

fn ordered() -> Vec<LlamaBackendDevice> {
    let mut devices = list_llama_ggml_backend_devices();
    // Accelerators are libraries beside the CPU (BLAS), not places for a model.
    devices.retain(|device| device.device_type != LlamaBackendDeviceType::Accelerator);
    devices.sort_by_key(|device| !is_gpu(device));
    devices
}

fn is_gpu(device: &LlamaBackendDevice) -> bool {
    matches!(
        device.device_type,
        LlamaBackendDeviceType::Gpu | LlamaBackendDeviceType::IntegratedGpu
    )
}

fn info(index: usize, device: LlamaBackendDevice) -> DeviceInfo {
    let is_cpu = device.device_type == LlamaBackendDeviceType::Cpu;
    let system = if is_cpu { context::system_info() } else { "" };
    DeviceInfo {
        index,
        instruction_sets: instruction_sets(system),
        is_gpu: is_gpu(&device),
        is_integrated: device.device_type == LlamaBackendDeviceType::IntegratedGpu,
        name: device.name,
        description: device.description,
        backend: device.backend,
        total_bytes: device.memory_total as u64,
        free_bytes: device.memory_free as u64,
    }
}

/// Parses llama.cpp's description of the CPU: `CPU : SSE3 = 1 | AVX2 = 1 | … CUDA : ARCHS = 890 | …`. Only
/// entries with the value 1 are instruction sets.
fn instruction_sets(system: &str) -> Vec<String> {
    let (_, cpu) = system.split_once("CPU : ").unwrap_or_default();
    let cpu = cpu.split(" : ").next().unwrap_or_default();
    let known = cpu.split(" | ").filter_map(|entry| {
        let (name, value) = entry.split_once(" = ")?;
        let is_build_option = [
            "ACCELERATE",
            "CPU_HBM",
            "KLEIDIAI",
            "LLAMAFILE",
            "OPENMP",
            "REPACK",
        ];
        (value == "1" && !is_build_option.contains(&name)).then(|| name.to_owned())
    });
    known.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instruction_sets_are_those_of_the_cpu() {
        let said = "BLAS : X = 1 | CPU : SSE3 = 1 | AVX2 = 1 | SVE_CNT = 16 | LLAMAFILE = 1 | \
                    OPENMP = 1 | CUDA : ARCHS = 890 | USE_GRAPHS = 1 | ";
        assert_eq!(instruction_sets(said), ["SSE3", "AVX2"]);
        assert_eq!(instruction_sets(""), [""; 0]);
        assert_eq!(instruction_sets("CPU : "), [""; 0]);
    }
}
