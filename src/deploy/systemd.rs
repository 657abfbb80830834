//! Queries and controls services of systemd.

use std::collections::HashMap;
use std::path::Path;
use std::process::Command;

use super::DeployError;

/// Ollama's service as its install script and the distributions name it.
pub(super) const OLLAMA: &str = "ollama.service";

/// drover's service.
pub(super) const DROVER: &str = "drover.service";

/// The socket that holds the port while our service is being restarted.
pub(super) const SOCKET: &str = "drover.socket";

/// The properties that are queried.
const PROPERTIES: &str = "LoadState,ActiveState,UnitFileState,User,Group,Environment,\
                          EnvironmentFiles,FragmentPath,DropInPaths,MainPID,NRestarts";

/// Whether systemd runs this machine.
pub(super) fn is_here() -> bool {
    Path::new("/run/systemd/system").is_dir()
}

/// Runs `systemctl` and returns what it prints.
pub(super) fn systemctl(args: &[&str]) -> Result<String, DeployError> {
    let failed = |reason: String| DeployError::Command {
        command: format!("systemctl {}", args.join(" ")),
        reason,
    };
    let output = Command::new("systemctl")
        .args(args)
        .output()
        .map_err(|error| failed(error.to_string()))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let reason = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(failed(reason))
}

/// A service, as `systemctl show` reports it.
#[derive(Debug, Clone, Default)]
pub(super) struct Service(HashMap<String, String>);

impl Service {
    /// Queries a service; one that does not exist is not loaded.
    pub(super) fn ask(name: &str) -> Result<Self, DeployError> {
        systemctl(&["show", name, "--property", PROPERTIES]).map(|text| Self::parse(&text))
    }

    pub(super) fn parse(text: &str) -> Self {
        let mut values: HashMap<String, String> = HashMap::new();
        for (name, value) in text.lines().filter_map(|line| line.split_once('=')) {
            // Each environment file has its own line.
            let known = values.entry(name.to_owned()).or_default();
            if !known.is_empty() {
                known.push('\n');
            }
            known.push_str(value);
        }
        Self(values)
    }

    pub(super) fn get(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    pub(super) fn exists(&self) -> bool {
        self.get("LoadState") == "loaded"
    }

    pub(super) fn is_active(&self) -> bool {
        matches!(
            self.get("ActiveState"),
            "active" | "reloading" | "activating"
        )
    }

    pub(super) fn is_enabled(&self) -> bool {
        self.get("UnitFileState") == "enabled"
    }

    pub(super) fn main_pid(&self) -> Option<i32> {
        self.get("MainPID").parse().ok().filter(|&pid| pid > 0)
    }

    /// `Environment=` of the unit and of all its drop-ins, as they take effect.
    pub(super) fn environment(&self) -> Vec<(String, String)> {
        let words = shell_words::split(self.get("Environment")).unwrap_or_default();
        let pairs = words.iter().filter_map(|word| word.split_once('='));
        pairs
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    }

    /// `EnvironmentFile=` as written: a leading `-` means that the file may be missing.
    pub(super) fn environment_files(&self) -> Vec<String> {
        let lines = self.get("EnvironmentFiles").lines();
        lines
            .filter_map(|line| {
                let (path, rest) = line.rsplit_once(" (ignore_errors=")?;
                let dash = if rest.starts_with("yes") { "-" } else { "" };
                Some(format!("{dash}{path}"))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_systemd_prints_is_understood() {
        let service = Service::parse(
            "LoadState=loaded\nActiveState=active\nUnitFileState=enabled\nMainPID=12\n\
             Environment=PATH=/usr/bin:/bin OLLAMA_HOST=0.0.0.0:11434 \"OLLAMA_MODELS=/data/my models\"\n\
             EnvironmentFiles=/etc/one (ignore_errors=no)\nEnvironmentFiles=/etc/two (ignore_errors=yes)\n",
        );
        assert!(service.exists() && service.is_active() && service.is_enabled());
        assert_eq!(service.main_pid(), Some(12));
        let environment = service.environment();
        assert_eq!(environment.len(), 3);
        assert_eq!(environment[2].1, "/data/my models");
        assert_eq!(service.environment_files(), ["/etc/one", "-/etc/two"]);
    }

    #[test]
    fn a_service_that_is_not_there_is_not_there() {
        let service = Service::parse("LoadState=not-found\nActiveState=inactive\nMainPID=0\n");
        assert!(!service.exists() && !service.is_active() && !service.is_enabled());
        assert_eq!(service.main_pid(), None);
    }
}
