//! STUB (owner: engine helper).

/// Entry of the runner role; returns when the daemon closes the channel or asks for it.
pub fn run() -> std::process::ExitCode {
    todo!()
}
