//! A llama.cpp context: the only place that calls it with raw pointers.
//!
//! `llama-cpp-2` has its own context type, but that keeps its pointer private and lacks what is needed here:
//! switching embeddings on for single decode calls, several adapters at once, querying what the memory can do,
//! and reading logits without a panic.
//!
//! *Invariant:* returned slices (logits, embeddings) borrow the context, and every call that invalidates them
//! takes `&mut self`.

#![expect(unsafe_code, reason = "llama.cpp is a C library")]

use std::ffi::{CStr, CString, c_void};
use std::path::Path;
use std::ptr::{self, NonNull};
use std::slice;
use std::sync::{Arc, OnceLock};

use llama_cpp_2::model::LlamaModel;
use llama_cpp_sys_2 as sys;

use super::batch::Batch;
use crate::engine::backend::Row;
use crate::engine::interrupt::Interrupt;

/// The settings of a context; everything else is llama.cpp's default.
pub(super) struct Settings {
    pub(super) n_ctx: u32,
    /// Rows of one decode call.
    pub(super) n_batch: u32,
    /// Rows that are computed at once.
    pub(super) n_ubatch: u32,
    pub(super) n_seq_max: u32,
    /// Most rows of one decode call that may have logits; 0 = all.
    pub(super) n_outputs_max: u32,
    pub(super) n_threads: i32,
    pub(super) kv_type: sys::ggml_type,
    pub(super) flash_attention: sys::llama_flash_attn_type,
    pub(super) embeddings: bool,
    /// Sliding-window layers keep the whole context.
    pub(super) whole_window: bool,
}

/// Rows of an image.
pub(super) struct Vectors<'a> {
    /// One after the other, each as wide as the model's input.
    pub(super) embeddings: &'a [f32],
    /// Their positions; for models with positions in four dimensions, all positions of one dimension after the
    /// other.
    pub(super) places: &'a [sys::llama_pos],
    /// Each row attends to all rows, not only to those before it.
    pub(super) is_seen_at_once: bool,
}

/// A context and the model that it computes with.
pub(super) struct Context {
    ptr: NonNull<sys::llama_context>,
    /// Null for encoder models, which keep nothing between calls.
    memory: sys::llama_memory_t,
    batch: Batch,
    n_vocab: usize,
    /// Length of the vectors that this context delivers.
    n_embedding: usize,
    pooled: bool,
    whole_window: bool,
    /// The interrupt that llama.cpp checks while it computes.
    interrupt: Option<Arc<Interrupt>>,
    /// Last, so that it is dropped after the context (`Drop` below).
    model: Arc<LlamaModel>,
}

// SAFETY: a context is not bound to a thread; the struct owns it, and `&self` calls only read (or
// wait for the computation, which is over when a decode call has returned to the only user).
unsafe impl Send for Context {}

// The wrapper is `repr(transparent)` over the pointer, in the pinned version.
const _: () = assert!(size_of::<LlamaModel>() == size_of::<*mut sys::llama_model>());

pub(super) fn model_ptr(model: &LlamaModel) -> *mut sys::llama_model {
    // SAFETY: the wrapper is `repr(transparent)` over a non-null pointer (checked above for size).
    unsafe { *ptr::from_ref(model).cast::<*mut sys::llama_model>() }
}

/// Returns one of llama.cpp's `LLAMA_VOCAB_TYPE_…`. llama-cpp-2's own function panics on most of them, BERT's among
/// them.
pub(super) fn vocab_kind(model: &LlamaModel) -> sys::llama_vocab_type {
    // SAFETY: the model is valid, and so is its vocabulary.
    unsafe { sys::llama_vocab_type(sys::llama_model_get_vocab(model_ptr(model))) }
}

/// Loads ggml's backends, which are modules in such a build: from `lib/drover` beside the program's folder,
/// where packages put them, else from where llama.cpp itself looks.
#[cfg(feature = "dynamic-backends")]
pub(super) fn load_backend_modules() {
    let exe = std::env::current_exe().ok();
    let folder = exe.and_then(|exe| Some(exe.parent()?.parent()?.join("lib/drover")));
    if let Some(folder) = folder.filter(|folder| folder.to_str().is_some() && folder.is_dir()) {
        llama_cpp_2::llama_backend::load_backends_from_path(&folder);
        return;
    }
    llama_cpp_2::llama_backend::load_backends();
    // SAFETY: no arguments; called once, before anything else of ggml.
    unsafe { sys::ggml_backend_load_all() };
}

/// llama.cpp's description of the machine and of its own build.
pub(super) fn system_info() -> &'static str {
    static TEXT: OnceLock<String> = OnceLock::new();
    TEXT.get_or_init(|| {
        // SAFETY: no arguments; the returned text is null-terminated and stays until the next call, and there
        // is none.
        let text = unsafe { CStr::from_ptr(sys::llama_print_system_info()) };
        text.to_string_lossy().into_owned()
    })
}

impl Context {
    /// Makes a context; `None` when llama.cpp could not (its log says why).
    pub(super) fn new(model: Arc<LlamaModel>, settings: &Settings) -> Option<Self> {
        // SAFETY: no arguments.
        let mut params = unsafe { sys::llama_context_default_params() };
        params.n_ctx = settings.n_ctx;
        params.n_batch = settings.n_batch;
        params.n_ubatch = settings.n_ubatch;
        params.n_seq_max = settings.n_seq_max;
        params.n_outputs_max = settings.n_outputs_max;
        params.n_threads = settings.n_threads;
        params.n_threads_batch = settings.n_threads;
        params.type_k = settings.kv_type;
        params.type_v = settings.kv_type;
        params.flash_attn_type = settings.flash_attention;
        params.embeddings = settings.embeddings;
        params.kv_unified = true;
        // Usually only the window is kept: the whole context costs several times as much.
        params.swa_full = settings.whole_window;
        params.no_perf = true;
        // SAFETY: the model is valid, the parameters are llama.cpp's own with values replaced.
        let ptr = unsafe { sys::llama_init_from_model(model_ptr(&model), params) };
        let ptr = NonNull::new(ptr)?;
        // SAFETY: the context was just made.
        let (memory, pooling) = unsafe {
            (
                sys::llama_get_memory(ptr.as_ptr()),
                sys::llama_pooling_type(ptr.as_ptr()),
            )
        };
        let n_embedding = if pooling == sys::LLAMA_POOLING_TYPE_RANK {
            usize::try_from(model.n_cls_out()).unwrap_or(0)
        } else {
            usize::try_from(model.n_embd_out()).unwrap_or(0)
        };
        Some(Self {
            ptr,
            memory,
            batch: Batch::default(),
            n_vocab: usize::try_from(model.n_vocab()).unwrap_or(0),
            n_embedding,
            pooled: pooling != sys::LLAMA_POOLING_TYPE_NONE,
            whole_window: settings.whole_window,
            interrupt: None,
            model,
        })
    }

    pub(super) fn as_ptr(&self) -> *const sys::llama_context {
        self.ptr.as_ptr()
    }

    pub(super) fn n_ctx(&self) -> u32 {
        // SAFETY: the context is valid.
        unsafe { sys::llama_n_ctx(self.ptr.as_ptr()) }
    }

    pub(super) fn n_batch(&self) -> u32 {
        // SAFETY: the context is valid.
        unsafe { sys::llama_n_batch(self.ptr.as_ptr()) }
    }

    /// Rows that are computed at once.
    pub(super) fn n_ubatch(&self) -> u32 {
        // SAFETY: the context is valid.
        unsafe { sys::llama_n_ubatch(self.ptr.as_ptr()) }
    }

    pub(super) fn n_embedding(&self) -> usize {
        self.n_embedding
    }

    /// Whether embeddings come per sequence instead of per row.
    pub(super) fn is_pooled(&self) -> bool {
        self.pooled
    }

    /// The window of the layers that only keep a part of the context, 0 without such layers.
    pub(super) fn window(&self) -> u32 {
        if self.whole_window {
            return 0;
        }
        // SAFETY: the model is valid.
        let n_swa = unsafe { sys::llama_model_n_swa(model_ptr(&self.model)) };
        u32::try_from(n_swa).unwrap_or(0)
    }

    /// Whether the model keeps a state that cannot be rolled back.
    pub(super) fn is_recurrent(&self) -> bool {
        let model = model_ptr(&self.model);
        // SAFETY: the model is valid.
        unsafe { sys::llama_model_is_recurrent(model) || sys::llama_model_is_hybrid(model) }
    }

    /// Whether positions can be moved.
    pub(super) fn can_shift(&self) -> bool {
        // SAFETY: the memory belongs to the context and is not null.
        !self.memory.is_null() && unsafe { sys::llama_memory_can_shift(self.memory) }
    }

    /// Loads `LoRA` adapters and applies them to everything that this context computes. The model frees them.
    /// `Err` holds the path of the adapter that failed.
    pub(super) fn set_adapters<'a>(
        &mut self,
        adapters: &[(&'a Path, f32)],
    ) -> Result<(), &'a Path> {
        let mut pointers = Vec::with_capacity(adapters.len());
        let mut scales = Vec::with_capacity(adapters.len());
        for (path, scale) in adapters {
            let name = path
                .to_str()
                .and_then(|path| CString::new(path).ok())
                .ok_or(*path)?;
            // SAFETY: the model is valid, the path is a C string.
            let adapter =
                unsafe { sys::llama_adapter_lora_init(model_ptr(&self.model), name.as_ptr()) };
            if adapter.is_null() {
                return Err(path);
            }
            pointers.push(adapter);
            scales.push(*scale);
        }
        let Some((first, _)) = adapters.first() else {
            return Ok(());
        };
        // SAFETY: both arrays have the length given and live as long as the model (the adapters).
        let code = unsafe {
            sys::llama_set_adapters_lora(
                self.ptr.as_ptr(),
                pointers.as_mut_ptr(),
                pointers.len(),
                scales.as_mut_ptr(),
            )
        };
        if code == 0 { Ok(()) } else { Err(first) }
    }

    /// Makes the CPU end a computation when the interrupt is due; a GPU computes to the end.
    pub(super) fn heed(&mut self, interrupt: &Arc<Interrupt>) {
        let data = Arc::as_ptr(interrupt).cast_mut().cast::<c_void>();
        // SAFETY: the context is valid, and keeps what `data` points to alive for as long as it lives.
        unsafe { sys::llama_set_abort_callback(self.ptr.as_ptr(), Some(is_due), data) };
        self.interrupt = Some(Arc::clone(interrupt));
    }

    /// Evaluates rows; returns llama.cpp's code (0 = done, 1 = no room, 2 = interrupted).
    ///
    /// The caller has checked tokens and sequences, and that the rows fit one call: llama.cpp ends
    /// the process otherwise.
    pub(super) fn decode(&mut self, rows: &[Row]) -> i32 {
        let batch = self.batch.fill(rows);
        // SAFETY: the batch points to arrays of `n_tokens` entries that outlive the call.
        unsafe { sys::llama_decode(self.ptr.as_ptr(), batch) }
    }

    /// Evaluates rows of an image, `n_batch` at most; returns llama.cpp's code.
    pub(super) fn decode_vectors(&mut self, seq: i32, vectors: &Vectors<'_>) -> i32 {
        // SAFETY: the model is valid.
        let (n_embd, rope) = unsafe {
            let model = model_ptr(&self.model);
            (
                sys::llama_model_n_embd_inp(model),
                sys::llama_model_rope_type(model),
            )
        };
        let has_grid = [sys::LLAMA_ROPE_TYPE_MROPE, sys::LLAMA_ROPE_TYPE_IMROPE].contains(&rope);
        let n_places = if has_grid { 4 } else { 1 };
        let n_rows = vectors.places.len() / n_places;
        let n_floats = usize::try_from(n_embd).map_or(0, |n_embd| n_rows * n_embd);
        assert_eq!(
            (vectors.embeddings.len(), vectors.places.len()),
            (n_floats, n_rows * n_places),
            "an image has as many places as rows, each as wide as the model's input"
        );
        let batch = self.batch.fill_vectors(seq, n_rows, vectors);
        let ptr = self.ptr.as_ptr();
        // SAFETY: the batch's arrays have as many entries as was checked, and outlive the call;
        // llama.cpp only reads them.
        unsafe {
            sys::llama_set_causal_attn(ptr, !vectors.is_seen_at_once);
            let code = sys::llama_decode(ptr, batch);
            sys::llama_set_causal_attn(ptr, true);
            code
        }
    }

    /// Whether the next decode calls deliver embeddings.
    pub(super) fn set_embeddings(&mut self, wanted: bool) {
        // SAFETY: the context is valid.
        unsafe { sys::llama_set_embeddings(self.ptr.as_ptr(), wanted) };
    }

    /// The logits of a row of the last decode call; it must have been an output.
    pub(super) fn logits(&self, row: i32) -> Option<&[f32]> {
        // SAFETY: the context is valid. A row without output gives null.
        let logits = unsafe { sys::llama_get_logits_ith(self.ptr.as_ptr(), row) };
        // SAFETY: a row of the output buffer, `n_vocab` long; the next decode call needs `&mut`.
        (!logits.is_null()).then(|| unsafe { slice::from_raw_parts(logits, self.n_vocab) })
    }

    /// The embedding of a sequence (pooled) of the last decode call.
    pub(super) fn pooled_embedding(&self, seq: i32) -> Option<&[f32]> {
        // SAFETY: the context is valid. An unknown sequence gives null.
        let vector = unsafe { sys::llama_get_embeddings_seq(self.ptr.as_ptr(), seq) };
        self.vector(vector)
    }

    /// The embedding of a row of the last decode call; it must have been an output.
    pub(super) fn row_embedding(&self, row: i32) -> Option<&[f32]> {
        // SAFETY: the context is valid. A row without output gives null.
        let vector = unsafe { sys::llama_get_embeddings_ith(self.ptr.as_ptr(), row) };
        self.vector(vector)
    }

    fn vector(&self, vector: *const f32) -> Option<&[f32]> {
        // SAFETY: vectors have this length by llama.cpp's contract, and live until the next decode
        // call, which needs `&mut self`.
        (!vector.is_null()).then(|| unsafe { slice::from_raw_parts(vector, self.n_embedding) })
    }

    /// The first and last position of a sequence; `None` if it is empty.
    pub(super) fn positions(&self, seq: i32) -> Option<(u32, u32)> {
        if self.memory.is_null() {
            return None;
        }
        // SAFETY: the memory belongs to the context and is not null.
        let (first, last) = unsafe {
            (
                sys::llama_memory_seq_pos_min(self.memory, seq),
                sys::llama_memory_seq_pos_max(self.memory, seq),
            )
        };
        Some((u32::try_from(first).ok()?, u32::try_from(last).ok()?))
    }

    /// Drops positions; false if this memory cannot do that.
    pub(super) fn remove(&mut self, seq: i32, from: i32, to: i32) -> bool {
        // SAFETY: the memory belongs to the context; null is "nothing to remove".
        unsafe { sys::llama_memory_seq_rm(self.memory, seq, from, to) }
    }

    /// Shares positions of one sequence with another.
    pub(super) fn copy(&mut self, from: i32, to: i32, end: i32) {
        // SAFETY: the memory belongs to the context; null is "nothing to copy".
        unsafe { sys::llama_memory_seq_cp(self.memory, from, to, 0, end) };
    }

    /// Moves the positions from `from` on.
    pub(super) fn shift(&mut self, seq: i32, from: i32, delta: i32) {
        // SAFETY: the memory belongs to the context; null is "nothing to move".
        unsafe { sys::llama_memory_seq_add(self.memory, seq, from, -1, delta) };
    }

    /// Serializes the cells of a sequence.
    pub(super) fn save(&self, seq: i32) -> Option<Vec<u8>> {
        if self.memory.is_null() {
            return None;
        }
        let ptr = self.ptr.as_ptr();
        // SAFETY: the context is valid.
        let size = unsafe { sys::llama_state_seq_get_size(ptr, seq) };
        let mut state = vec![0; size];
        // SAFETY: the buffer has the length given.
        let written = unsafe { sys::llama_state_seq_get_data(ptr, state.as_mut_ptr(), size, seq) };
        state.truncate(written);
        (written > 0).then_some(state)
    }

    /// Fills an empty sequence from a state that `save` made; false if llama.cpp refuses it.
    pub(super) fn load(&mut self, seq: i32, state: &[u8]) -> bool {
        // SAFETY: the buffer has the length given; llama.cpp reads no further.
        let read = unsafe {
            sys::llama_state_seq_set_data(self.ptr.as_ptr(), state.as_ptr(), state.len(), seq)
        };
        read == state.len()
    }
}

/// Called between two operations of a graph, by one of the threads that compute.
unsafe extern "C" fn is_due(data: *mut c_void) -> bool {
    // SAFETY: `Context::heed` passes a pointer to an interrupt that outlives the context.
    unsafe { &*data.cast::<Interrupt>() }.is_due()
}

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: made by `new`, freed once, before the model.
        unsafe { sys::llama_free(self.ptr.as_ptr()) };
    }
}
