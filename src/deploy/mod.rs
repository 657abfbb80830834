//! Takes Ollama's place on a machine, gives it back, and finds what prevents that.
//!
//! *Invariants:* every change of the machine is recorded first (`record`), so that undoing it needs nothing
//! else; nothing in a store is written, moved or deleted; all functions block.

mod checks;
mod compute;
mod confined;
mod doctor;
mod finding;
mod gpu;
mod health;
mod models;
mod plan;
mod port;
mod record;
mod rollback;
mod systemd;
mod takeover;

pub use doctor::doctor;
pub use finding::{Finding, Level};
pub use rollback::rollback;
pub use takeover::{Takeover, takeover};

/// Receives messages for the user, line by line.
pub type Say<'a> = &'a dyn Fn(&str);

/// Why an operation failed, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum DeployError {
    #[error("{0}")]
    Refused(String),
    #[error("{command}: {reason}")]
    Command { command: String, reason: String },
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

fn refused(text: impl Into<String>) -> DeployError {
    DeployError::Refused(text.into())
}

/// Only root may change services.
fn require_root(command: &str) -> Result<(), DeployError> {
    if rustix::process::geteuid().is_root() {
        return Ok(());
    }
    Err(refused(format!("this needs root: sudo drover {command}")))
}
