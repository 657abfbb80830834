//! Any file is an image of a bounded size, or an error.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[allow(dead_code, unreachable_pub, reason = "a part of the program, by itself")]
#[path = "../../../src/engine/backend/llama/picture.rs"]
mod picture;
#[allow(dead_code, unreachable_pub, reason = "a part of the program, by itself")]
#[path = "../../../src/engine/backend/llama/jpeg.rs"]
mod jpeg;
#[allow(dead_code, unreachable_pub, reason = "a part of the program, by itself")]
#[path = "../../../src/engine/backend/llama/webp.rs"]
mod webp;

fuzz_target!(|file: &[u8]| {
    let Ok((width, height)) = picture::size(file) else {
        return;
    };
    // Larger images are allowed, but take their time.
    if u64::from(width) * u64::from(height) > 1 << 20 {
        return;
    }
    if let Ok(picture) = picture::Picture::decode(file) {
        let (width, height) = picture.size();
        assert_eq!(picture.pixels().len(), width as usize * height as usize * 3);
    }
});
