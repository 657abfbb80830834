//! What llama.cpp computes for a file, bit for bit: for tests of the same model in other file forms.

#![expect(
    unsafe_code,
    reason = "llama.cpp hands its log to a C function pointer"
)]

use std::ffi::{c_char, c_void};

use llama_cpp_sys_2 as sys;

use super::images::{evaluate, part, read, stripes, text};
use super::*;

/// More tokens than the windows of small models hold.
const PROMPT: [Token; 24] = [
    5, 9, 100, 7, 33, 2, 60, 61, 250, 17, 91, 4, 8, 8, 121, 44, 201, 30, 77, 6, 140, 3, 12, 99,
];

fn bits(logits: &[f32]) -> Vec<u32> {
    assert!(logits.iter().all(|logit| logit.is_finite()));
    assert!(logits.iter().any(|logit| *logit != logits[0]));
    logits.iter().map(|logit| logit.to_bits()).collect()
}

/// The logits after a prompt and after one more token.
///
/// # Errors
/// The model does not load.
pub(crate) fn logits(model: ModelFile) -> Result<Vec<u32>, String> {
    let _one = one_at_a_time();
    let params = LoadParams {
        model,
        ..params(PathBuf::new())
    };
    let llama = Llama::load(&params, &mut |_| ());
    let mut llama = llama.map_err(|error| error.to_string())?;
    let (prompt, next) = PROMPT.split_at(PROMPT.len() - 1);
    let parts = [(0, prompt), (prompt.len(), next)];
    let all = parts.map(|(begin, tokens)| {
        let row = feed(&mut llama, 0, begin, tokens);
        bits(llama.logits(row).unwrap())
    });
    Ok(all.concat())
}

/// Whether llama.cpp refuses a model; without its log, because the refusal is expected.
pub(crate) fn is_refused(model: ModelFile) -> bool {
    extern "C" fn ignore(_: sys::ggml_log_level, _: *const c_char, _: *mut c_void) {}
    let _one = one_at_a_time();
    devices::start().unwrap();
    // SAFETY: the callback matches the type, keeps no pointer and is valid for the whole run.
    unsafe { sys::llama_log_set(Some(ignore), std::ptr::null_mut()) };
    let params = LoadParams {
        model,
        ..params(PathBuf::new())
    };
    let is_refused = Llama::load(&params, &mut |_| ()).is_err();
    log::install();
    is_refused
}

/// The logits after a prompt with a square image of that side; the image depends on the seed.
pub(crate) fn logits_after_image(
    (seed, side): (u8, u32),
    model: ModelFile,
    projector: ModelFile,
) -> Vec<u32> {
    let _one = one_at_a_time();
    let mut llama = load(&LoadParams {
        model,
        projector: Some(ProjectorParams {
            file: projector,
            min_image_tokens: 0,
        }),
        n_ctx_pool: 4096,
        n_slots: 4,
        n_batch: 1024,
        n_ubatch: 1024,
        ..params(PathBuf::new())
    });
    let mut encoder = llama.take_encoder().unwrap();
    let image = stripes(seed, side, side);
    let prompt = [text("a b"), part(&image), text("b a")];
    let pieces = read(&llama, &mut *encoder, &prompt);
    bits(&evaluate(&mut llama, 0, &pieces))
}
