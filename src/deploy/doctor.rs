//! `drover doctor`: finds problems that keep drover from working well, each with a command that fixes it.

use std::path::PathBuf;
use std::process::Command;

use super::finding::{Finding, Level};
use super::gpu::{self, Gpu};
use super::systemd::{self, DROVER, OLLAMA, Service};
use super::{checks, compute, confined, health, models, plan::Plan, port};
use crate::config::{HostSpec, env};

/// Runs all checks. `host` is the daemon's address for commands, `exe` our own program.
pub fn doctor(host: &HostSpec, exe: PathBuf) -> Vec<Finding> {
    let service = Service::ask(DROVER).ok().filter(|_| systemd::is_here());
    let service = service.filter(Service::exists);
    let mut findings = vec![the_service(service.as_ref())];
    findings.extend(the_port(host, service.as_ref()));
    if let Some(plan) = service.as_ref().and_then(|service| Plan::of(service).ok()) {
        findings.extend(the_store(&plan));
    }
    let environment = service.as_ref().map(Service::environment);
    let environment = environment.unwrap_or_default();
    let is_off = |(name, value): &(String, String)| name == "DROVER_SANDBOX" && value == "off";
    findings.push(confined::finding(environment.iter().any(is_off)));
    findings.extend(the_settings(environment));
    let devices = compute::devices(exe);
    findings.extend(compute::cpu(&devices));
    let gpu = Gpu::look(&devices);
    findings.push(gpu.finding());
    if matches!(gpu, Gpu::Used(_)) {
        findings.extend(gpu::offload(host));
        findings.extend(gpu::sleep());
    }
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
            match service {
                Some(_) => "systemctl start drover",
                None => "drover serve",
            },
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

fn the_store(plan: &Plan) -> Vec<Finding> {
    let path = plan.models.as_path();
    let mut findings = Vec::new();
    // Only root can check as another user.
    if rustix::process::geteuid().is_root() {
        findings.push(match checks::access(plan) {
            Ok(text) => Finding::ok("access", text),
            Err(text) => {
                let fix = format!("namei -l {}", path.display());
                Finding::bad("access", Level::Failure, text, &fix)
            }
        });
    }
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

/// Settings that do not have the effect that their user expects.
fn the_settings(environment: Vec<(String, String)>) -> Vec<Finding> {
    const CHECK: &str = "settings";
    let lookup = |name: &str| {
        let found = environment.iter().rev().find(|(known, _)| known == name);
        // Skip only the checks that depend on this.
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

/// A wrong clock makes the certificates of registries invalid.
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
