//! Any file is a model with bounded numbers, which has a place or not, or an error.
#![no_main]

use std::io::Cursor;
use std::path::Path;

use drover::families::{self, layout};
use drover::inference::place_header;
use drover::model::gguf::{Hyperparameters, Metadata, check_projector};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|file: &[u8]| {
    let _ = layout::check(Path::new(""), &mut Cursor::new(file));
    for read in [Metadata::read, Metadata::read_checked, Metadata::read_whole] {
        let Ok(header) = read(&mut Cursor::new(file)) else {
            continue;
        };
        let _ = Hyperparameters::read(&header);
        let _ = check_projector(&header);
        let _ = families::refusal(&header);
        let _ = place_header(header);
    }
});
