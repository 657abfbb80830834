//! Any file in one of Ollama's layouts becomes a file that can be read from its first byte to its last, or an error.
#![no_main]

use std::io::{Cursor, Read};
use std::path::Path;

use drover::families::layout::{self, Loadable};
use drover::view::{Form, HeaderOnly, Reader};
use libfuzzer_sys::fuzz_target;

/// Longer views are not read: tensors may overlap in a file, but each has its own bytes in a view.
const MAX_GROWTH: u64 = 64;

fn read(loadable: &Loadable, file: &[u8]) {
    let Form::View(view) = &loadable.file.form else {
        return;
    };
    let reader = Reader::new(file, view, HeaderOnly);
    let n_bytes = reader.n_bytes();
    assert_eq!(n_bytes, loadable.metadata.file_size);
    if n_bytes > (file.len() as u64) * MAX_GROWTH {
        return;
    }
    let mut bytes = Vec::new();
    let mut reader = reader;
    assert_eq!(reader.read_to_end(&mut bytes).ok(), usize::try_from(n_bytes).ok());
}

fuzz_target!(|file: &[u8]| {
    let path = Path::new("");
    let _ = layout::check(path, &mut Cursor::new(file));
    for translate in [layout::weights::<Cursor<&[u8]>>, layout::projector] {
        if let Ok(loadable) = translate(path, &mut Cursor::new(file)) {
            read(&loadable, file);
        }
    }
});
