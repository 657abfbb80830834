//! The context of every command that uses the daemon.

use crate::cli::program::Program;
use crate::cli::ui::Ui;
use crate::client::{Client, ClientError};
use crate::config::ClientConfig;

/// Terminal, daemon, settings and the program's name.
#[derive(Debug, Clone)]
pub(crate) struct Context {
    pub(crate) ui: Ui,
    pub(crate) client: Client,
    pub(crate) config: ClientConfig,
    pub(crate) program: Program,
}

impl Context {
    pub(crate) fn new(ui: Ui, config: ClientConfig, program: Program) -> Result<Self, ClientError> {
        let client = Client::new(&config.host)?.with_key(config.api_key.clone());
        Ok(Self {
            ui,
            client,
            config,
            program,
        })
    }
}
