//! Any file is an error, or a Modelfile that is printed so that it reads the same.
#![no_main]

use drover::model::modelfile::Modelfile;
use libfuzzer_sys::fuzz_target;

/// Names, keys and values, without their line numbers.
fn said(file: &Modelfile) -> Vec<[&str; 3]> {
    let commands = file.commands.iter();
    commands
        .map(|command| [command.name.as_str(), command.key.as_str(), command.value.as_str()])
        .collect()
}

fuzz_target!(|file: &[u8]| {
    let Ok(file) = Modelfile::decode(file) else {
        return;
    };
    let _ = file.parameters();
    let printed = file.to_string();
    let again = Modelfile::parse(&printed).expect("a Modelfile");
    assert_eq!(said(&file), said(&again), "{printed:?}");
});
