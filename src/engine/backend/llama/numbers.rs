//! Converts numbers of ggml's types to single precision.

#![expect(unsafe_code, reason = "ggml is a C library")]

use llama_cpp_sys_2 as sys;

use crate::view::Convert;

/// ggml's own conversion.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ggml;

impl Convert for Ggml {
    fn to_f32(&self, kind: u32, blocks: &[u8], numbers: &mut [f32]) -> bool {
        let type_: sys::ggml_type = kind;
        if type_ >= sys::GGML_TYPE_COUNT {
            return false;
        }
        // SAFETY: the type is one of ggml's.
        let traits = unsafe { sys::ggml_get_type_traits(type_).as_ref() };
        let Some(traits) = traits else { return false };
        let (Some(convert), Ok(block)) = (traits.to_float, usize::try_from(traits.blck_size))
        else {
            return false;
        };
        let n_blocks = blocks.len().checked_div(traits.type_size).unwrap_or(0);
        let (Ok(n), true) = (
            i64::try_from(numbers.len()),
            block > 0 && numbers.len() == n_blocks * block,
        ) else {
            return false;
        };
        // SAFETY: `n` numbers are whole blocks, and there is room for all of them.
        unsafe { convert(blocks.as_ptr().cast(), numbers.as_mut_ptr(), n) };
        true
    }
}
