//! `man`: writes the manual pages, one per command (for packages).

use std::path::Path;
use std::process::ExitCode;

use clap::Command;

use crate::cli::args::ManArgs;

/// Writes `drover.1`, `drover-run.1`, … into a folder.
pub(crate) fn run(args: &ManArgs, command: Command) -> anyhow::Result<ExitCode> {
    let folder = Path::new(&args.folder);
    fs_err::create_dir_all(folder)?;
    clap_mangen::generate_to(command.disable_help_subcommand(true), folder)?;
    Ok(ExitCode::SUCCESS)
}
