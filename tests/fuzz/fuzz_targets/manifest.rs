//! Any answer of a registry is a model's manifest, or an error.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|answer: &[u8]| {
    drover::registry::check_manifest_for_fuzzing(answer);
});
