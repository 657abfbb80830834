//! Any file is audio of a bounded length, or an error.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[allow(dead_code, unreachable_pub, reason = "a part of the program, by itself")]
#[path = "../../../src/engine/backend/llama/sound.rs"]
mod sound;

const RATE: u32 = 16_000;

fuzz_target!(|file: &[u8]| {
    // Longer files are allowed, but take their time.
    if file.len() > 64 << 10 || sound::check(file).is_err() {
        return;
    }
    if let Ok(samples) = sound::decode(file, RATE) {
        assert!(!samples.is_empty() && samples.len() <= 30 * 60 * RATE as usize + RATE as usize);
    }
});
