//! `--version`: the daemon's version as scripts parse it, then our own.

use std::process::ExitCode;

use crate::cli::context::Context;
use crate::cli::ui::Ui;
use crate::client::OLLAMA_VERSION;
use crate::config::ClientConfig;
use crate::plain;

/// Prints the versions; succeeds also when no daemon answers.
pub(crate) async fn run(ui: Ui, config: &ClientConfig) -> anyhow::Result<ExitCode> {
    let context = Context::new(ui, config.clone())?;
    let server = context.client.version().await.ok();
    ui.out(&text(server.as_deref()))?;
    Ok(ExitCode::SUCCESS)
}

fn text(server: Option<&str>) -> String {
    let mut text = match server {
        Some(version) => format!("ollama version is {}\n", plain::message(version)),
        None => "Warning: could not connect to a running Ollama instance\n".to_owned(),
    };
    if server != Some(OLLAMA_VERSION) {
        text.push_str(&format!("Warning: client version is {OLLAMA_VERSION}\n"));
    }
    text.push_str(&format!("drover version {}\n", env!("CARGO_PKG_VERSION")));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_that_differ_are_told() {
        let own = format!("drover version {}\n", env!("CARGO_PKG_VERSION"));
        assert_eq!(
            text(Some("0.33.0")),
            format!("ollama version is 0.33.0\n{own}")
        );
        assert_eq!(
            text(Some("0.31.1")),
            format!("ollama version is 0.31.1\nWarning: client version is 0.33.0\n{own}")
        );
        assert_eq!(
            text(None),
            format!(
                "Warning: could not connect to a running Ollama instance\nWarning: client version is 0.33.0\n{own}"
            )
        );
    }
}
