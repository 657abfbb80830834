//! What every command that talks to the daemon gets.

use crate::cli::ui::Ui;
use crate::client::{Client, ClientError};
use crate::config::ClientConfig;

/// Terminal, daemon and settings.
#[derive(Debug, Clone)]
pub(crate) struct Context {
    pub(crate) ui: Ui,
    pub(crate) client: Client,
    pub(crate) config: ClientConfig,
}

impl Context {
    pub(crate) fn new(ui: Ui, config: ClientConfig) -> Result<Self, ClientError> {
        let client = Client::new(&config.host)?;
        Ok(Self { ui, client, config })
    }
}
