//! Loads weights: from a path, from a path with values overridden, or through a view.
//!
//! `llama-cpp-2` loads from paths only, so the parameters are llama.cpp's own here.

#![expect(unsafe_code, reason = "llama.cpp is a C library")]

use std::ffi::{CString, c_char, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::ptr::NonNull;

use llama_cpp_2::model::LlamaModel;
use llama_cpp_sys_2 as sys;

use super::stream::Stream;
use super::{devices, log};
use crate::engine::backend::BackendError;
use crate::protocol::LoadParams;
use crate::view::{Form, Override, OverrideValue};

/// Whether the buffers of weights and contexts are allocated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Buffers {
    Allocated,
    /// Only the sizes are computed: nothing can be decoded.
    Imagined,
}

/// Loads a model; calls `on_progress` with fractions between 0 and 1.
pub(super) fn load(
    params: &LoadParams,
    buffers: Buffers,
    mut on_progress: impl FnMut(f32),
) -> Result<LlamaModel, BackendError> {
    devices::start()?;
    let file = readable(&params.model.path)?;
    let mut on_progress: &mut dyn FnMut(f32) = &mut on_progress;
    let mut placement = Placement::new(params);
    let experts = ExpertsOnCpu::new(params.n_cpu_moe);
    // SAFETY: no arguments.
    let mut model = unsafe { sys::llama_model_default_params() };
    // A negative number is llama.cpp's default: all layers.
    if params.n_gpu_layers >= 0 {
        model.n_gpu_layers = params.n_gpu_layers;
    }
    if let Some(placement) = &mut placement {
        model.devices = placement.devices.as_mut_ptr();
        if placement.is_divided {
            model.split_mode = sys::LLAMA_SPLIT_MODE_LAYER;
            model.tensor_split = placement.split.as_ptr();
        } else {
            model.split_mode = sys::LLAMA_SPLIT_MODE_NONE;
        }
    }
    if let Some(experts) = &experts {
        model.tensor_buft_overrides = experts.overrides.as_ptr();
    }
    match params.use_mmap {
        None => {}
        Some(true) => model.load_mode = sys::LLAMA_LOAD_MODE_MMAP,
        Some(false) => model.load_mode = sys::LLAMA_LOAD_MODE_NONE,
    }
    if buffers == Buffers::Imagined {
        model.no_alloc = true;
        model.load_mode = sys::LLAMA_LOAD_MODE_NONE;
    }
    model.progress_callback = Some(progress);
    model.progress_callback_user_data = (&raw mut on_progress).cast();
    let pointer = match &params.model.form {
        Form::Original => by_path(&params.model.path, model)?,
        Form::Overrides(pairs) => {
            let overrides = overrides(pairs)?;
            model.kv_overrides = overrides.as_ptr();
            by_path(&params.model.path, model)?
        }
        Form::View(view) => {
            // A stream has no file descriptor that could be mapped.
            model.load_mode = sys::LLAMA_LOAD_MODE_NONE;
            model.lazy_mode = sys::LLAMA_LAZY_MODE_OFF;
            let stream = Stream::open(file.into_parts().0, view);
            let stream = stream.ok_or_else(|| BackendError("out of memory".to_owned()))?;
            // SAFETY: the stream lives longer than the call, and nothing keeps it; as for the
            // parameters see `by_path`.
            unsafe { sys::llama_model_load_from_file_ptr(stream.as_ptr(), model) }
        }
    };
    let pointer = NonNull::new(pointer).ok_or_else(|| failure("failed to load model"))?;
    // SAFETY: the wrapper is `repr(transparent)` over a pointer that is not null, and frees it
    // (`context.rs` checks its size).
    Ok(unsafe { std::mem::transmute::<NonNull<sys::llama_model>, LlamaModel>(pointer) })
}

fn by_path(
    path: &Path,
    params: sys::llama_model_params,
) -> Result<*mut sys::llama_model, BackendError> {
    let name = path.to_str().and_then(|path| CString::new(path).ok());
    let name =
        name.ok_or_else(|| BackendError(format!("`{}` is no path for llama.cpp", path.display())))?;
    // SAFETY: the path is a C string; what the parameters point to (devices, overrides, the progress
    // callback) lives in the caller, and llama.cpp uses it during the call only.
    Ok(unsafe { sys::llama_model_load_from_file(name.as_ptr(), params) })
}

/// GPUs and how the layers are divided among them.
struct Placement {
    /// Ends with null.
    devices: Vec<sys::ggml_backend_dev_t>,
    /// The share of each of llama.cpp's possible devices.
    split: Vec<f32>,
    is_divided: bool,
}

impl Placement {
    /// The GPUs to use; `None` = all of them.
    fn new(params: &LoadParams) -> Option<Self> {
        let gpus = devices::gpus();
        // Without a single layer, a GPU would still be used for large batches, and take memory.
        let no_layers = params.n_gpu_layers == 0;
        if params.gpus.is_empty() && !no_layers {
            return None;
        }
        let named = params.gpus.iter().filter(|_| !no_layers);
        let named = named.filter_map(|gpu| Some((gpus.get(gpu.index)?.index, gpu.share)));
        let named: Vec<_> = named.collect();
        // SAFETY: the indexes are those of devices that ggml has listed; the other call has no arguments.
        let (devices, n_most) = unsafe {
            let devices = named
                .iter()
                .map(|(index, _)| sys::ggml_backend_dev_get(*index));
            let devices: Vec<_> = devices.chain([std::ptr::null_mut()]).collect();
            (devices, sys::llama_max_devices())
        };
        let mut split: Vec<f32> = named.iter().map(|(_, share)| *share).collect();
        split.resize(n_most.max(split.len()), 0.0);
        Some(Self {
            devices,
            split,
            is_divided: named.len() > 1,
        })
    }
}

/// Keeps the experts of a model's first layers on the CPU, as llama-server's `--n-cpu-moe` does.
struct ExpertsOnCpu {
    /// What the list below points to.
    _patterns: Vec<CString>,
    /// Ends with an empty entry.
    overrides: Vec<sys::llama_model_tensor_buft_override>,
}

impl ExpertsOnCpu {
    fn new(n_layers: u32) -> Option<Self> {
        let patterns = (0..n_layers)
            .map(|layer| format!(r"blk\.{layer}\.ffn_(up|down|gate|gate_up)_(ch|)exps"))
            .map(CString::new)
            .collect::<Result<Vec<_>, _>>()
            .ok()
            .filter(|patterns| !patterns.is_empty())?;
        // SAFETY: no arguments.
        let cpu = unsafe { sys::ggml_backend_cpu_buffer_type() };
        let end = sys::llama_model_tensor_buft_override {
            pattern: std::ptr::null(),
            buft: std::ptr::null_mut(),
        };
        let overrides = patterns
            .iter()
            .map(|pattern| sys::llama_model_tensor_buft_override {
                pattern: pattern.as_ptr(),
                buft: cpu,
            });
        Some(Self {
            overrides: overrides.chain([end]).collect(),
            _patterns: patterns,
        })
    }
}

/// The list of overrides, which ends with an empty key.
pub(super) fn overrides(
    pairs: &[Override],
) -> Result<Vec<sys::llama_model_kv_override>, BackendError> {
    let pairs = pairs.iter().map(|pair| {
        let (tag, value) = match &pair.value {
            OverrideValue::Bool(flag) => (
                sys::LLAMA_KV_OVERRIDE_TYPE_BOOL,
                sys::llama_model_kv_override__bindgen_ty_1 { val_bool: *flag },
            ),
            OverrideValue::Integer(number) => (
                sys::LLAMA_KV_OVERRIDE_TYPE_INT,
                sys::llama_model_kv_override__bindgen_ty_1 { val_i64: *number },
            ),
            OverrideValue::Float(number) => (
                sys::LLAMA_KV_OVERRIDE_TYPE_FLOAT,
                sys::llama_model_kv_override__bindgen_ty_1 { val_f64: *number },
            ),
            OverrideValue::Text(text) => (
                sys::LLAMA_KV_OVERRIDE_TYPE_STR,
                sys::llama_model_kv_override__bindgen_ty_1 {
                    val_str: fixed(text)?,
                },
            ),
        };
        Ok(sys::llama_model_kv_override {
            tag,
            key: fixed(&pair.key)?,
            __bindgen_anon_1: value,
        })
    });
    let end = sys::llama_model_kv_override {
        tag: 0,
        key: [0; 128],
        __bindgen_anon_1: sys::llama_model_kv_override__bindgen_ty_1 { val_i64: 0 },
    };
    pairs.chain([Ok(end)]).collect()
}

/// A text as a null-terminated array.
fn fixed(text: &str) -> Result<[c_char; 128], BackendError> {
    let mut bytes = [0; 128];
    if text.len() >= bytes.len() || text.contains('\0') {
        return Err(BackendError(format!("`{text}` cannot be overridden")));
    }
    for (to, from) in bytes.iter_mut().zip(text.bytes()) {
        *to = from.cast_signed();
    }
    Ok(bytes)
}

/// Reports the fraction that is loaded; never stops the load.
unsafe extern "C" fn progress(fraction: f32, on_progress: *mut c_void) -> bool {
    // SAFETY: the pointer is the one of `load`, which waits for the call.
    let on_progress = unsafe { &mut *on_progress.cast::<&mut dyn FnMut(f32)>() };
    // A panic must not unwind into C; nothing depends on the progress.
    let _ = catch_unwind(AssertUnwindSafe(|| on_progress(fraction)));
    true
}

/// Opens a file, which gives an earlier and better error than llama.cpp if it is missing.
pub(super) fn readable(path: &Path) -> Result<fs_err::File, BackendError> {
    fs_err::File::open(path).map_err(|error| BackendError(error.to_string()))
}

/// An error with llama.cpp's own message if it had any, else `what`.
pub(super) fn failure(what: &str) -> BackendError {
    BackendError(log::cause().unwrap_or_else(|| what.to_owned()))
}
