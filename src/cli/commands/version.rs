//! `--version`: under Ollama's name the daemon's version as scripts parse it.

use std::process::ExitCode;

use crate::cli::context::Context;
use crate::cli::program::Program;
use crate::cli::ui::Ui;
use crate::client::OLLAMA_VERSION;
use crate::config::ClientConfig;
use crate::plain;

/// Prints the versions; also succeeds when no daemon answers.
pub(crate) async fn run(
    ui: Ui,
    config: &ClientConfig,
    program: Program,
) -> anyhow::Result<ExitCode> {
    let context = Context::new(ui, config.clone(), program)?;
    let server = context.client.version().await.ok();
    ui.out(&match program {
        Program::Ollama => text(server.as_deref()),
        Program::Drover => own_text(server.as_deref()),
    })?;
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

/// Under our own name: our version, then the version of Ollama whose API the daemon implements.
fn own_text(server: Option<&str>) -> String {
    let own = format!("drover version {}\n", env!("CARGO_PKG_VERSION"));
    match server {
        Some(version) => format!(
            "{own}the server has Ollama's API {}\n",
            plain::message(version)
        ),
        None => format!("{own}Warning: no daemon answers; `drover serve` starts it\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_version_comes_first() {
        let own = format!("drover version {}\n", env!("CARGO_PKG_VERSION"));
        assert_eq!(
            own_text(Some("0.34.3")),
            format!("{own}the server has Ollama's API 0.34.3\n")
        );
        let alone = own_text(None);
        assert!(
            alone.starts_with(&own) && alone.contains("Warning"),
            "{alone}"
        );
    }

    #[test]
    fn versions_that_differ_are_told() {
        let own = format!("drover version {}\n", env!("CARGO_PKG_VERSION"));
        assert_eq!(
            text(Some("0.34.3")),
            format!("ollama version is 0.34.3\n{own}")
        );
        assert_eq!(
            text(Some("0.31.1")),
            format!("ollama version is 0.31.1\nWarning: client version is 0.34.3\n{own}")
        );
        assert_eq!(
            text(None),
            format!(
                "Warning: could not connect to a running Ollama instance\nWarning: client version is 0.34.3\n{own}"
            )
        );
    }
}
