//! The record of a takeover's changes, which is enough to undo them and is written before anything is changed. Also the
//! log of takeovers.

use std::io::{ErrorKind, Write as _};
use std::path::Path;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{DeployError, Say, refused};

/// The record of the active (or interrupted) takeover.
pub(super) const RECORD: &str = "/etc/drover/takeover.json";

/// The log of takeovers and rollbacks.
const LOG: &str = "/var/log/drover-takeover.log";

/// The folder of the drop-ins, and ours in it.
pub(super) const FOLDER: &str = "/etc/systemd/system/drover.service.d";
pub(super) const DROP_IN: &str = "/etc/systemd/system/drover.service.d/50-takeover.conf";

/// The state before the takeover.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) at: Timestamp,
    pub(super) ollama_active: bool,
    pub(super) ollama_enabled: bool,
    pub(super) drover_active: bool,
    pub(super) drover_enabled: bool,
    /// The socket that may hold the port for drover; absent in records of older versions.
    #[serde(default)]
    pub(super) socket_active: bool,
    #[serde(default)]
    pub(super) socket_enabled: bool,
    /// Whether the folder of drover's drop-ins already existed.
    pub(super) had_folder: bool,
    /// The address of both daemons.
    pub(super) host: String,
}

impl Record {
    /// Reads the record; `None` when there is none.
    pub(super) fn load(path: &Path) -> Result<Option<Self>, DeployError> {
        let text = match fs_err::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let record = serde_json::from_str(&text);
        record.map(Some).map_err(|error| {
            refused(format!(
                "{} is damaged ({error}); by hand: systemctl disable --now drover, remove {DROP_IN} and this \
                 file, systemctl daemon-reload, systemctl enable --now ollama",
                path.display()
            ))
        })
    }

    /// Writes the record.
    pub(super) fn save(&self, path: &Path) -> Result<(), DeployError> {
        let text = serde_json::to_string_pretty(self).map_err(std::io::Error::from)?;
        write(path, &format!("{text}\n"))
    }
}

/// Writes a file atomically (temporary file and rename), and creates its folder.
pub(super) fn write(path: &Path, text: &str) -> Result<(), DeployError> {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = path.parent().unwrap_or(Path::new("/"));
    fs_err::create_dir_all(folder)?;
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(text.as_bytes())?;
    let permissions = std::fs::Permissions::from_mode(0o644);
    file.as_file().set_permissions(permissions)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

/// Removes a file that may not exist.
pub(super) fn remove(path: &Path) -> Result<(), DeployError> {
    match fs_err::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

/// Prints a line and appends it to the log, if possible.
pub(super) fn log(say: Say<'_>, text: &str) {
    say(text);
    let options = fs_err::OpenOptions::new()
        .create(true)
        .append(true)
        .open(LOG);
    if let Ok(mut file) = options {
        let now = Timestamp::now();
        let _ = writeln!(file, "{now:.0} {text}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_comes_back_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("etc/drover/takeover.json");
        assert_eq!(Record::load(&path).unwrap(), None);
        let record = Record {
            at: Timestamp::from_second(1).unwrap(),
            ollama_active: true,
            ollama_enabled: true,
            drover_active: false,
            drover_enabled: false,
            socket_active: false,
            socket_enabled: true,
            had_folder: false,
            host: "http://127.0.0.1:11434".to_owned(),
        };
        record.save(&path).unwrap();
        assert_eq!(Record::load(&path).unwrap(), Some(record));
        fs_err::write(&path, "{").unwrap();
        let error = Record::load(&path).unwrap_err().to_string();
        assert!(error.contains("by hand"), "{error}");
    }
}
