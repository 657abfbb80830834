//! `launch`: explains how to point another program at the daemon instead of configuring it.

use std::process::ExitCode;

use crate::cli::ui::Ui;
use crate::config::ClientConfig;

/// Prints the addresses that other programs need.
pub(crate) fn run(ui: Ui, config: &ClientConfig) -> anyhow::Result<ExitCode> {
    let base = config.host.base_url();
    ui.talk(&format!(
        "Integrations are not configured by this program. Set in the other program:\n  \
         Ollama API:     {base}\n  \
         OpenAI API:     {base}/v1   (any API key)"
    ));
    Ok(ExitCode::FAILURE)
}
