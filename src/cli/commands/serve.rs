//! `serve`: starts the daemon.

// STUB (owner: integrator)

use std::process::ExitCode;

use crate::cli::ServeArgs;

/// Runs the daemon until it is told to stop.
///
/// # Errors
/// Fails when the address is in use or the store cannot be opened.
pub fn run(_args: &ServeArgs) -> anyhow::Result<ExitCode> {
    anyhow::bail!("this build cannot serve")
}
