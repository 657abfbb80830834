//! The allow-list of environment variables that a runner inherits from the daemon.
//!
//! The daemon's environment may hold keys for clouds and registries. A runner parses untrusted files and images, and
//! needs none of these keys. It gets the variables that the loader, the C library, the drivers and llama.cpp read; its
//! settings arrive in the load command.

use std::ffi::OsString;

/// Variables that are passed on.
const NAMES: &[&str] = &[
    // The system.
    "PATH",
    "HOME",
    "TMPDIR",
    "TZ",
    "LANG",
    "LANGUAGE",
    "GLIBC_TUNABLES",
    // Where drivers keep compiled kernels, and where Vulkan looks for them.
    "XDG_CACHE_HOME",
    "XDG_CONFIG_DIRS",
    "XDG_CONFIG_HOME",
    "XDG_DATA_DIRS",
    "XDG_DATA_HOME",
    // NVIDIA's; not all of them: `NVIDIA_API_KEY` is a key.
    "NVIDIA_DRIVER_CAPABILITIES",
    "NVIDIA_TF32_OVERRIDE",
    "NVIDIA_VISIBLE_DEVICES",
    // AMD's.
    "AMD_LOG_LEVEL",
    "AMD_VULKAN_ICD",
    "GPU_DEVICE_ORDINAL",
    "GPU_MAX_HW_QUEUES",
    "DRI_PRIME",
    // llama.cpp's; other variables that begin with `LLAMA_` are for its programs, or for other software.
    "LLAMA_ATTN_ROT_DISABLE",
    "LLAMA_BATCH_DEBUG",
    "LLAMA_GRAPH_INPUT_DEBUG",
    "LLAMA_GRAPH_RESULT_DEBUG",
    "LLAMA_GRAPH_REUSE_DISABLE",
    "LLAMA_KV_CACHE_DEBUG",
    "LLAMA_TRACE",
    "LLGUIDANCE_LOG_LEVEL",
    "RAYON_NUM_THREADS",
    // drover's own: whether there is a sandbox, and the devices of other machines.
    "DROVER_SANDBOX",
    "DROVER_RPC",
    // For debugging.
    "RUST_BACKTRACE",
    "RUST_LIB_BACKTRACE",
    "RUST_MIN_STACK",
    "ASAN_OPTIONS",
    "LSAN_OPTIONS",
    "TSAN_OPTIONS",
    "UBSAN_OPTIONS",
    "LLVM_PROFILE_FILE",
];

/// Prefixes of variables that are passed on.
const PREFIXES: &[&str] = &[
    "LC_",
    "LD_",
    "MALLOC_",
    "OMP_",
    "GOMP_",
    "KMP_",
    "GGML_",
    "MTMD_",
    "CUDA_",
    "CUBLAS_",
    "CUBLASLT_",
    "NCCL_",
    "HIP_",
    "HSA_",
    "ROCM_",
    "ROCR_",
    "ROCBLAS_",
    "HIPBLASLT_",
    "VK_",
    "MESA_",
    "RADV_",
    "ANV_",
];

/// A variable with one of these words in its name is a secret and is not passed on.
const SECRETS: &[&str] = &[
    "KEY",
    "TOKEN",
    "SECRET",
    "PASSWORD",
    "PASSWD",
    "PASS",
    "CREDENTIAL",
    "CREDENTIALS",
    "AUTH",
];

/// The part of this process's environment that a runner gets.
pub fn inherited() -> impl Iterator<Item = (OsString, OsString)> {
    std::env::vars_os().filter(|(name, _)| name.to_str().is_some_and(is_inherited))
}

fn is_inherited(name: &str) -> bool {
    let is_member = PREFIXES.iter().any(|prefix| name.starts_with(prefix));
    NAMES.contains(&name) || is_member && !is_secret(name)
}

/// Whether a variable's name says that its value is a secret.
pub fn is_secret(name: &str) -> bool {
    name.split('_').any(|word| SECRETS.contains(&word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drivers_are_served_and_secrets_are_kept() {
        for name in [
            "PATH",
            "LC_ALL",
            "LD_LIBRARY_PATH",
            "CUDA_VISIBLE_DEVICES",
            "HSA_OVERRIDE_GFX_VERSION",
            "GGML_CUDA_NO_PINNED",
            "OMP_NUM_THREADS",
        ] {
            assert!(is_inherited(name), "{name}");
        }
        for name in [
            "AWS_SECRET_ACCESS_KEY",
            "OPENAI_API_KEY",
            "NVIDIA_API_KEY",
            "LLAMA_API_KEY",
            "HF_TOKEN",
            "HTTPS_PROXY",
            "OLLAMA_API_KEY",
            "DROVER_REGISTRY_MIRRORS",
            "CUDA_DOWNLOAD_TOKEN",
            "GGML_RPC_AUTH",
            "SSH_AUTH_SOCK",
            "NOTIFY_SOCKET",
            "path",
            "",
        ] {
            assert!(!is_inherited(name), "{name}");
        }
    }
}
