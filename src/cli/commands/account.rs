//! `signin`, `signout`: kept so that scripts get a clear answer.

use std::process::ExitCode;

/// Explains that there is no account.
pub(crate) fn run() -> anyhow::Result<ExitCode> {
    anyhow::bail!("ollama cloud is disabled: there is no account to sign in to or out of")
}
