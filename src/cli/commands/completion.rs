//! `completion`: prints a shell's completion script.

use std::process::ExitCode;

use clap::Command;
use clap_complete::Shell;

use crate::cli::args::CompletionArgs;
use crate::cli::help;
use crate::cli::ui::Ui;

/// Prints the script of the named shell.
pub(crate) fn run(ui: Ui, args: &CompletionArgs, mut command: Command) -> anyhow::Result<ExitCode> {
    help::check_arity("completion", args.args.len()).map_err(anyhow::Error::msg)?;
    let shell = match args.args.first().map(String::as_str) {
        Some("bash") => Shell::Bash,
        Some("zsh") => Shell::Zsh,
        Some("fish") => Shell::Fish,
        other => {
            let other = other.unwrap_or_default();
            anyhow::bail!("unknown shell \"{other}\" (must be bash, zsh, or fish)");
        }
    };
    let name = command.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, name, &mut script);
    ui.out(&String::from_utf8_lossy(&script))?;
    Ok(ExitCode::SUCCESS)
}
