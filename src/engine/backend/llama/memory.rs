//! How much of each memory models take, as llama.cpp itself reports: for a loaded model, and for one that is
//! only measured, whose buffers are not allocated.

#![expect(unsafe_code, reason = "llama.cpp is a C library")]

use std::ffi::{CStr, CString, c_char, c_void};
use std::path::Path;
use std::ptr;

use llama_cpp_sys_2 as sys;

use super::context::Context;
use crate::protocol::{HOST, MemoryUse};

type EachType =
    unsafe extern "C" fn(*mut c_void, sys::ggml_backend_buffer_type_t, usize, usize, usize);
type EachDevice = unsafe extern "C" fn(*mut c_void, sys::ggml_backend_dev_t, usize);

// `memory.cpp`.
unsafe extern "C" {
    fn drover_context_memory(
        context: *const sys::llama_context,
        each: EachType,
        user_data: *mut c_void,
    ) -> bool;
    fn drover_projector_memory(
        path: *const c_char,
        params: *const sys::mtmd_context_params,
        params_size: usize,
        each: EachDevice,
        user_data: *mut c_void,
    ) -> bool;
}

/// The memory that a context, its KV cache and its model take.
pub(super) fn of_context(context: &Context) -> MemoryUse {
    let mut found = MemoryUse::default();
    // SAFETY: the context is valid, and the function calls back before it returns.
    let is_known = unsafe {
        drover_context_memory(context.as_ptr(), add_type, ptr::from_mut(&mut found).cast())
    };
    if !is_known {
        tracing::warn!("out of memory while the buffers were counted");
    }
    found
}

/// The memory that a projector would take; `None` if libmtmd cannot read it.
pub(super) fn of_projector(path: &Path, is_on_gpu: bool) -> Option<MemoryUse> {
    let name = CString::new(path.to_str()?).ok()?;
    // SAFETY: no arguments.
    let mut params = unsafe { sys::mtmd_context_params_default() };
    params.use_gpu = is_on_gpu;
    let mut found = MemoryUse::default();
    // SAFETY: the path is a C string, the parameters are libmtmd's own, and the function calls back before it
    // returns.
    let is_known = unsafe {
        drover_projector_memory(
            name.as_ptr(),
            &raw const params,
            size_of::<sys::mtmd_context_params>(),
            add_device,
            ptr::from_mut(&mut found).cast(),
        )
    };
    // An unreadable file has no devices.
    (is_known && !found.0.is_empty()).then_some(found)
}

/// # Safety
///
/// `found` is the [`MemoryUse`] of the caller, the type one of ggml's.
unsafe extern "C" fn add_type(
    found: *mut c_void,
    kind: sys::ggml_backend_buffer_type_t,
    model: usize,
    context: usize,
    compute: usize,
) {
    // SAFETY: by this function's contract; types outlive the program.
    let (found, device) = unsafe {
        let is_host = sys::ggml_backend_buft_is_host(kind);
        let device = sys::ggml_backend_buft_get_device(kind);
        let device = if is_host { ptr::null_mut() } else { device };
        (&mut *found.cast::<MemoryUse>(), name(device))
    };
    let entry = found.on(&device);
    entry.weights += model as u64;
    entry.kv += context as u64;
    entry.compute += compute as u64;
}

/// # Safety
///
/// `found` is the [`MemoryUse`] of the caller, the device one of ggml's.
unsafe extern "C" fn add_device(found: *mut c_void, device: sys::ggml_backend_dev_t, bytes: usize) {
    // SAFETY: by this function's contract; devices outlive the program.
    let (found, device) = unsafe { (&mut *found.cast::<MemoryUse>(), name(device)) };
    found.on(&device).projector += bytes as u64;
}

/// The name of a device; every device but a GPU uses the host's memory.
///
/// # Safety
///
/// The device is null or one of ggml's.
unsafe fn name(device: sys::ggml_backend_dev_t) -> String {
    if device.is_null() {
        return HOST.to_owned();
    }
    // SAFETY: the device is valid, and its name is a constant C string.
    let (kind, name) = unsafe {
        let name = CStr::from_ptr(sys::ggml_backend_dev_name(device));
        (sys::ggml_backend_dev_type(device), name)
    };
    match kind {
        sys::GGML_BACKEND_DEVICE_TYPE_GPU | sys::GGML_BACKEND_DEVICE_TYPE_IGPU => {
            name.to_string_lossy().into_owned()
        }
        _ => HOST.to_owned(),
    }
}
