//! Which settings of an Ollama service are carried over, and the drop-in that does so. Pure, except that it reads the
//! user database and environment files.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use uzers::os::unix::UserExt as _;

use super::systemd::Service;
use super::{DeployError, refused};
use crate::config::{HostSpec, env};
use crate::plain;

/// How drover will run.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) user: String,
    pub(super) uid: u32,
    pub(super) gid: u32,
    group: String,
    home: PathBuf,
    /// The service's `Environment=`.
    environment: Vec<(String, String)>,
    environment_files: Vec<String>,
    pub(super) models: PathBuf,
    pub(super) host: HostSpec,
}

impl Plan {
    /// # Errors
    /// The service's user does not exist.
    pub(super) fn of(ollama: &Service) -> Result<Self, DeployError> {
        let name = match ollama.get("User") {
            "" => "root",
            name => name,
        };
        let user = uzers::get_user_by_name(name)
            .ok_or_else(|| refused(format!("ollama.service runs as {name}, who does not exist")))?;
        let (group, gid) = match uzers::get_group_by_name(ollama.get("Group")) {
            Some(group) => (group.name().to_owned(), group.gid()),
            None => {
                let gid = user.primary_group_id();
                let group = uzers::get_group_by_gid(gid);
                let name = group.map_or_else(|| gid.to_string().into(), |g| g.name().to_owned());
                (name, gid)
            }
        };
        let environment = ollama.environment();
        let environment_files = ollama.environment_files();
        let mut effective = environment.clone();
        for file in &environment_files {
            effective.extend(read_environment(Path::new(file.trim_start_matches('-'))));
        }
        let value = |name: &str| {
            let found = effective.iter().rev().find(|(known, _)| known == name);
            found.map(|(_, value)| crate::config::values::clean(value).to_owned())
        };
        let home = value("HOME").map_or_else(|| user.home_dir().to_owned(), PathBuf::from);
        let models = value("OLLAMA_MODELS").filter(|text| !text.is_empty());
        Ok(Self {
            user: name.to_owned(),
            uid: user.uid(),
            gid,
            group: group.to_string_lossy().into_owned(),
            models: models.map_or_else(|| home.join(".ollama/models"), PathBuf::from),
            host: HostSpec::parse(&value("OLLAMA_HOST").unwrap_or_default()),
            home,
            environment,
            environment_files,
        })
    }

    /// The drop-in of `drover.service`.
    pub(super) fn drop_in(&self) -> String {
        let mut text = "# Written by `drover takeover`, removed by `drover rollback`. Settings of your own belong\n\
                        # into another file (`systemctl edit drover`).\n[Service]\n"
            .to_owned();
        // Writing to a string does not fail.
        let _ = writeln!(text, "User={}\nGroup={}", self.user, self.group);
        let _ = writeln!(text, "# As ollama.service had them.\nEnvironment=");
        for (name, value) in &self.environment {
            let _ = writeln!(text, "Environment={}", quoted(&format!("{name}={value}")));
        }
        for file in &self.environment_files {
            let _ = writeln!(text, "EnvironmentFile={file}");
        }
        let paths = [self.models.as_path(), &self.home.join(".ollama")];
        for path in paths {
            let path = quoted(&format!("-{}", path.display()));
            let _ = writeln!(text, "ReadWritePaths={path}");
        }
        text
    }

    pub(super) fn describe(&self) -> String {
        let mut text = format!(
            "drover will run as {}:{} on {}, at {}",
            self.user,
            self.group,
            self.models.display(),
            self.host
        );
        for (name, value) in &self.environment {
            let value = if env::is_secret(name) { "***" } else { value };
            let _ = write!(text, "\n  {name}={}", plain::redacted(value));
        }
        for file in &self.environment_files {
            let _ = write!(text, "\n  settings of {}", file.trim_start_matches('-'));
        }
        text
    }
}

/// Quotes a text for a unit file, where `%` begins a specifier.
fn quoted(text: &str) -> String {
    let text = text.replace('\\', "\\\\").replace('"', "\\\"");
    format!("\"{}\"", text.replace('%', "%%"))
}

/// The variables of an environment file; empty if it cannot be read.
fn read_environment(path: &Path) -> Vec<(String, String)> {
    let text = fs_err::read_to_string(path).unwrap_or_default();
    let lines = text.lines().map(str::trim);
    let lines = lines.filter(|line| !line.starts_with(['#', ';']));
    let pairs = lines.filter_map(|line| line.split_once('='));
    pairs
        .map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(more: &str) -> Plan {
        Plan::of(&Service::parse(&format!("LoadState=loaded\n{more}"))).unwrap()
    }

    #[test]
    fn settings_are_carried_over() {
        let plan = plan(
            "User=root\nEnvironment=OLLAMA_HOST=0.0.0.0:1234 \"OLLAMA_MODELS=/data/100% mine\"\n",
        );
        assert_eq!(plan.models, Path::new("/data/100% mine"));
        assert_eq!(plan.host.port, 1234);
        let text = plan.drop_in();
        for line in [
            "User=root",
            "Group=root",
            "Environment=\"OLLAMA_HOST=0.0.0.0:1234\"",
            "Environment=\"OLLAMA_MODELS=/data/100%% mine\"",
            "ReadWritePaths=\"-/data/100%% mine\"",
        ] {
            assert!(text.lines().any(|known| known == line), "{line}\n{text}");
        }
    }

    #[test]
    fn the_store_is_in_the_users_home_unless_said_otherwise() {
        let plan = plan("User=\nEnvironment=\n");
        assert_eq!(plan.models, Path::new("/root/.ollama/models"));
        assert_eq!(plan.host.port, 11434);
    }

    #[test]
    fn environment_files_count_last() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("env");
        fs_err::write(&file, "# x\nOLLAMA_HOST = '0.0.0.0:99'\n").unwrap();
        let plan = plan(&format!(
            "Environment=OLLAMA_HOST=:1\nEnvironmentFiles={} (ignore_errors=yes)\n",
            file.display()
        ));
        assert_eq!(plan.host.port, 99);
        let line = format!("EnvironmentFile=-{}\n", file.display());
        assert!(plan.drop_in().contains(&line));
    }

    #[test]
    fn a_user_that_does_not_exist_is_refused() {
        let service = Service::parse("User=nobody-of-that-name\n");
        assert!(Plan::of(&service).is_err());
    }
}
