//! STUB (owner: CLI helper).

use std::process::ExitCode;

pub fn main() -> ExitCode {
    todo!()
}
