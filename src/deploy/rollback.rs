//! `drover rollback`: restores everything from the record.

use std::path::Path;
use std::time::Duration;

use super::record::{DROP_IN, FOLDER, RECORD, Record, log, remove};
use super::systemd::{DROVER, OLLAMA, SOCKET, systemctl};
use super::{DeployError, Say, health, refused, require_root};
use crate::config::HostSpec;

/// How long Ollama may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// Gives the machine back to Ollama.
///
/// # Errors
/// There was no takeover, or a step failed and can be retried.
pub fn rollback(say: Say<'_>) -> Result<(), DeployError> {
    require_root("rollback")?;
    let record = Record::load(Path::new(RECORD))?
        .ok_or_else(|| refused(format!("there is nothing to give back: no {RECORD}")))?;
    log(say, "rollback begins");
    undo(&record, say)?;
    log(say, "rollback done");
    Ok(())
}

/// Undoes a takeover, even one that was interrupted anywhere. The record is removed last.
pub(super) fn undo(record: &Record, say: Say<'_>) -> Result<(), DeployError> {
    // The socket may not exist or not be enabled. The port must be free for Ollama.
    let _ = systemctl(&["stop", SOCKET]);
    if !record.socket_enabled {
        let _ = systemctl(&["disable", SOCKET]);
    }
    if !record.drover_enabled {
        systemctl(&["disable", DROVER])?;
    }
    systemctl(&["stop", DROVER])?;
    log(say, &format!("stopped {DROVER}"));
    remove(Path::new(DROP_IN))?;
    if !record.had_folder {
        // If someone has added other files meanwhile, the folder stays.
        let _ = fs_err::remove_dir(FOLDER);
    }
    systemctl(&["daemon-reload"])?;
    log(say, &format!("removed {DROP_IN}"));
    if record.ollama_enabled {
        systemctl(&["enable", OLLAMA])?;
        log(say, &format!("enabled {OLLAMA}"));
    }
    if record.ollama_active {
        systemctl(&["start", OLLAMA])?;
        let host = HostSpec::parse(&record.host);
        let answers = health::wait(&host, PATIENCE, || Ok(()))?;
        log(
            say,
            &match answers {
                Some(health) => format!("started {OLLAMA}: version {} answers", health.version),
                None => {
                    format!("started {OLLAMA}, which does not answer yet: journalctl -u ollama")
                }
            },
        );
    }
    if record.socket_active {
        systemctl(&["start", SOCKET])?;
    }
    if record.drover_active {
        systemctl(&["start", DROVER])?;
    }
    remove(Path::new(RECORD))
}
