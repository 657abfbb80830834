//! Any answer of a server is objects, events, or an error, however it is cut.
#![no_main]

use drover::client::{events_for_fuzzing as events, lines_for_fuzzing as lines};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (usize, &[u8])| {
    let (cut, answer) = input;
    let (front, back) = answer.split_at(cut % (answer.len() + 1));
    assert_eq!(lines(&[answer]), lines(&[front, back]));
    assert_eq!(events(&[answer]), events(&[front, back]));
});
