//! `drover doctor`: what keeps drover from working well, each with the command that mends it.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Serialize;

use super::systemd::{self, DROVER, OLLAMA, Service};
use super::{checks, health, models, plan::Plan, port};
use crate::config::{HostSpec, env};
use crate::protocol::DeviceInfo;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    Ok,
    Warning,
    Failure,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub check: &'static str,
    pub level: Level,
    pub text: String,
    /// The command that mends it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}

impl Finding {
    fn ok(check: &'static str, text: impl Into<String>) -> Self {
        Self {
            check,
            level: Level::Ok,
            text: text.into(),
            fix: None,
        }
    }

    fn bad(check: &'static str, level: Level, text: impl Into<String>, fix: &str) -> Self {
        Self {
            check,
            level,
            text: text.into(),
            fix: Some(fix.to_owned()),
        }
    }
}

/// Looks at everything. `host` is where commands would look for the daemon, `exe` our own program.
pub fn doctor(host: &HostSpec, exe: PathBuf) -> Vec<Finding> {
    let service = Service::ask(DROVER).ok().filter(|_| systemd::is_here());
    let service = service.filter(Service::exists);
    let mut findings = vec![the_service(service.as_ref())];
    findings.extend(the_port(host, service.as_ref()));
    if let Some(plan) = service.as_ref().and_then(|service| Plan::of(service).ok()) {
        findings.extend(the_store(&plan.models));
    }
    let environment = service.as_ref().map(Service::environment);
    findings.extend(the_settings(environment.unwrap_or_default()));
    findings.extend(the_gpu(exe));
    findings.extend(the_clock());
    findings
}

fn the_service(service: Option<&Service>) -> Finding {
    const CHECK: &str = "service";
    let Some(service) = service else {
        let text = "drover.service is not installed here";
        return Finding::bad(CHECK, Level::Warning, text, "apt install ./drover_*.deb");
    };
    let is_down = !service.is_active();
    if is_down {
        let text = format!("{DROVER} does not run ({})", service.get("ActiveState"));
        return Finding::bad(
            CHECK,
            Level::Failure,
            text,
            "systemctl restart drover; journalctl -u drover -n 50",
        );
    }
    if !service.is_enabled() {
        let text = format!("{DROVER} runs, but will not after the next boot");
        return Finding::bad(CHECK, Level::Warning, text, "systemctl enable drover");
    }
    let n_restarts = service.get("NRestarts");
    if !matches!(n_restarts, "" | "0") {
        let text = format!("{DROVER} runs; it had to be restarted {n_restarts} times");
        return Finding::bad(
            CHECK,
            Level::Warning,
            text,
            "journalctl -u drover -p warning",
        );
    }
    Finding::ok(CHECK, format!("{DROVER} runs and starts at boot"))
}

fn the_port(host: &HostSpec, service: Option<&Service>) -> Vec<Finding> {
    const CHECK: &str = "port";
    let ollama = Service::ask(OLLAMA).ok().filter(Service::is_active);
    if ollama.is_some() {
        let text = format!("{OLLAMA} runs on this machine");
        return vec![Finding::bad(
            CHECK,
            Level::Warning,
            text,
            "drover takeover --dry-run",
        )];
    }
    let answer = health::ask(host);
    let Some(owner) = port::owner(host.port) else {
        let text = format!("nobody listens on port {}", host.port);
        return vec![Finding::bad(
            CHECK,
            Level::Failure,
            text,
            "systemctl start drover",
        )];
    };
    let ours = service.and_then(Service::main_pid);
    let pid = owner.as_ref().map(|owner| owner.pid);
    let who = owner.map_or_else(
        || "a program of another user's".to_owned(),
        |owner| format!("{} (process {})", owner.name, owner.pid),
    );
    let text = format!("port {} belongs to {who}", host.port);
    vec![match answer {
        Some(health) => Finding::ok(CHECK, format!("{text}; version {} answers", health.version)),
        None if pid.is_some() && pid == ours => Finding::bad(
            CHECK,
            Level::Failure,
            format!("{text}, which does not answer"),
            "systemctl restart drover",
        ),
        None => Finding::bad(
            CHECK,
            Level::Failure,
            format!("{text}, which is no drover"),
            &format!("ss -ltnp 'sport = :{}'", host.port),
        ),
    }]
}

fn the_store(path: &Path) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.push(match checks::space(path) {
        Ok(text) => Finding::ok("disk", text),
        Err(text) => Finding::bad("disk", Level::Failure, text, "drover list; drover rm NAME"),
    });
    match models::verdicts(path) {
        Err(error) => findings.push(Finding::bad(
            "store",
            Level::Warning,
            error.to_string(),
            "sudo drover doctor (the models may be another user's)",
        )),
        Ok(verdicts) => {
            findings.push(Finding::ok(
                "store",
                format!("{} models in {}", verdicts.len(), path.display()),
            ));
            for model in verdicts {
                if let Some(reason) = model.refusal {
                    findings.push(Finding::bad(
                        "store",
                        Level::Warning,
                        format!("{} cannot be loaded: {reason}", model.name),
                        "a GGUF file of the model, and `drover create`",
                    ));
                }
            }
        }
    }
    findings
}

/// Values that do not do what their user thinks.
fn the_settings(environment: Vec<(String, String)>) -> Vec<Finding> {
    const CHECK: &str = "settings";
    let lookup = |name: &str| {
        let found = environment.iter().rev().find(|(known, _)| known == name);
        // Only what depends on it is not looked at.
        found
            .map(|(_, value)| value.clone())
            .or_else(|| (name == "HOME").then(|| "/".to_owned()))
    };
    match env::load(&lookup) {
        Err(error) => vec![Finding::bad(
            CHECK,
            Level::Failure,
            error.to_string(),
            "systemctl edit drover",
        )],
        Ok(loaded) if loaded.warnings.is_empty() => {
            vec![Finding::ok(
                CHECK,
                "all of the service's variables mean something",
            )]
        }
        Ok(loaded) => loaded
            .warnings
            .iter()
            .map(|warning| {
                let text = format!(
                    "{}={}: {}",
                    warning.variable, warning.value, warning.default
                );
                Finding::bad(CHECK, Level::Warning, text, "systemctl edit drover")
            })
            .collect(),
    }
}

fn the_gpu(exe: PathBuf) -> Vec<Finding> {
    const CHECK: &str = "gpu";
    let devices = devices(exe);
    let gpus: Vec<&DeviceInfo> = devices.iter().filter(|device| device.is_gpu).collect();
    if let Some(first) = gpus.first() {
        let text = format!(
            "{} of {} ({}) is used",
            gpus.len(),
            first.description,
            first.backend
        );
        let mut findings = vec![Finding::ok(CHECK, text)];
        findings.extend(the_sleep());
        return findings;
    }
    if !has_nvidia_card(Path::new("/sys/bus/pci/devices")) {
        return vec![Finding::ok(CHECK, "no NVIDIA card, models run on the CPU")];
    }
    let driver = Path::new("/proc/driver/nvidia/version").exists();
    let nodes = ["/dev/nvidiactl", "/dev/nvidia0", "/dev/nvidia-uvm"];
    let missing: Vec<&str> = nodes
        .into_iter()
        .filter(|path| !Path::new(path).exists())
        .collect();
    vec![if !driver {
        Finding::bad(
            CHECK,
            Level::Failure,
            "there is an NVIDIA card, and its driver is not loaded",
            "modprobe nvidia || apt install nvidia-driver",
        )
    } else if !missing.is_empty() {
        Finding::bad(
            CHECK,
            Level::Failure,
            format!(
                "the driver's device nodes are missing: {}",
                missing.join(", ")
            ),
            "nvidia-modprobe -u -c 0 && systemctl restart drover",
        )
    } else {
        Finding::bad(
            CHECK,
            Level::Failure,
            "the NVIDIA driver is there, and drover cannot compute on the card: it was built without CUDA, or the \
             driver is too old for its CUDA version",
            "nvidia-smi; ls /usr/lib/drover/libggml-cuda.so",
        )
    }]
}

/// What a fresh runner can compute on.
fn devices(exe: PathBuf) -> Vec<DeviceInfo> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let Ok(runtime) = runtime else {
        return Vec::new();
    };
    let tasks = tokio_util::task::TaskTracker::new();
    let devices = runtime.block_on(crate::runner::probe(exe, &tasks));
    devices.unwrap_or_default()
}

fn has_nvidia_card(devices: &Path) -> bool {
    let read = |path: PathBuf| fs_err::read_to_string(path).unwrap_or_default();
    let entries = fs_err::read_dir(devices).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).any(|path| {
        read(path.join("vendor")).trim() == "0x10de" && read(path.join("class")).starts_with("0x03")
    })
}

/// A card forgets its memory when the machine sleeps.
fn the_sleep() -> Option<Finding> {
    let state = Service::ask("sleep.target").ok()?;
    if state.get("LoadState") == "masked" {
        return Some(Finding::ok("suspend", "the machine does not suspend"));
    }
    let kept = fs_err::read_to_string("/proc/driver/nvidia/params").unwrap_or_default();
    if kept.contains("PreserveVideoMemoryAllocations: 1") {
        return Some(Finding::ok(
            "suspend",
            "the driver keeps video memory over a suspend",
        ));
    }
    Some(Finding::bad(
        "suspend",
        Level::Warning,
        "loaded models do not survive a suspend",
        "systemctl mask sleep.target suspend.target hibernate.target hybrid-sleep.target",
    ))
}

/// Certificates of registries are checked against the clock.
fn the_clock() -> Option<Finding> {
    let output = Command::new("timedatectl")
        .args(["show", "--property", "NTPSynchronized", "--value"])
        .output();
    let output = output.ok().filter(|output| output.status.success())?;
    Some(if output.stdout.starts_with(b"yes") {
        Finding::ok("clock", "set by the network")
    } else {
        Finding::bad(
            "clock",
            Level::Warning,
            "the clock is not set by the network",
            "timedatectl set-ntp true",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_without_effect_are_found() {
        let set = |name: &str, value: &str| vec![(name.to_owned(), value.to_owned())];
        assert_eq!(the_settings(set("OLLAMA_DEBUG", "1"))[0].level, Level::Ok);
        let idle = the_settings(set("OLLAMA_NEW_ENGINE", "1"));
        assert_eq!(idle[0].level, Level::Warning);
        assert!(idle[0].text.contains("no effect"), "{idle:?}");
        let wrong = the_settings(set("DROVER_GRACE", "soon"));
        assert_eq!(wrong[0].level, Level::Failure);
    }

    #[test]
    fn a_card_is_a_display_controller_of_its_vendor() {
        let folder = tempfile::tempdir().unwrap();
        let device = folder.path().join("0000:01:00.0");
        fs_err::create_dir(&device).unwrap();
        fs_err::write(device.join("vendor"), "0x10de\n").unwrap();
        fs_err::write(device.join("class"), "0x040300\n").unwrap();
        assert!(!has_nvidia_card(folder.path()), "that is its sound");
        fs_err::write(device.join("class"), "0x030000\n").unwrap();
        assert!(has_nvidia_card(folder.path()));
    }

    #[test]
    fn a_service_that_is_down_is_a_failure_with_a_remedy() {
        let down = Service::parse("LoadState=loaded\nActiveState=failed\n");
        let finding = the_service(Some(&down));
        assert_eq!(finding.level, Level::Failure);
        assert!(finding.fix.unwrap().contains("journalctl"));
        let fine = Service::parse(
            "LoadState=loaded\nActiveState=active\nUnitFileState=enabled\nNRestarts=0\n",
        );
        assert_eq!(the_service(Some(&fine)).level, Level::Ok);
    }
}
