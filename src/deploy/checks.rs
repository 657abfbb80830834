//! The checks before Ollama is stopped.

use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::gpu::Gpu;
use super::plan::Plan;
use super::systemd::{self, OLLAMA, Service};
use super::{Say, compute, health, models, port};
use crate::device::Obstacle;
use crate::store::free_bytes;
use crate::units::format_bytes;

/// The least free space: with less, writing even a manifest may fail.
const LEAST_FREE: u64 = 64 << 20;

/// Reports each check; returns the reasons against a takeover.
pub(super) fn run(ollama: &Service, plan: &Plan, say: Say<'_>) -> Vec<String> {
    let mut against = Vec::new();
    let mut check = |result: Result<String, String>| match result {
        Ok(text) => say(&format!("  ok    {text}")),
        Err(text) => {
            say(&format!("  FAIL  {text}"));
            against.push(text);
        }
    };
    check(unit());
    check(who_listens(ollama, plan));
    check(access(plan).map_err(|text| {
        format!(
            "{text}; `namei -l {}` shows where it ends",
            plan.models.display()
        )
    }));
    check(space(&plan.models));
    match models::verdicts(&plan.models) {
        Err(error) => check(Err(error.to_string())),
        Ok(verdicts) => {
            let refused = verdicts.iter().filter(|model| model.refusal.is_some());
            let n_refused = refused.clone().count();
            check(Ok(format!(
                "{} models, {n_refused} of them cannot be loaded",
                verdicts.len()
            )));
            for model in refused {
                let reason = model.refusal.as_deref().unwrap_or_default();
                say(&format!("  note  {}: {reason}", model.name));
            }
        }
    }
    if let Some(health) = health::ask(&plan.host).filter(|_| ollama.is_active()) {
        say(&format!("  note  Ollama {} answers", health.version));
        if is_before_0_21(&health.version) {
            say("  note  it deletes partial downloads when it is started again");
        }
    }
    against
}

/// Reports whether the GPU can be used. An unusable GPU is a reason against a takeover, as answers would be
/// many times slower than Ollama's.
pub(super) fn gpu(exe: PathBuf, is_optional: bool, say: Say<'_>) -> Option<String> {
    let gpu = Gpu::look(&compute::devices(exe));
    let text = gpu.finding().text;
    let Gpu::Unusable(Obstacle { fix, .. }) = gpu else {
        say(&format!("  ok    {text}"));
        return None;
    };
    if is_optional {
        say(&format!("  note  {text}; models will run on the CPU"));
        return None;
    }
    say(&format!("  FAIL  {text}"));
    Some(format!(
        "{text} (try: {fix}); --without-gpu takes over all the same"
    ))
}

fn unit() -> Result<String, String> {
    match Service::ask(systemd::DROVER) {
        Ok(service) if service.exists() => Ok("drover.service is installed".to_owned()),
        Ok(_) => Err(
            "drover.service is not installed: install the package, see docs/deploy.md".to_owned(),
        ),
        Err(error) => Err(error.to_string()),
    }
}

fn who_listens(ollama: &Service, plan: &Plan) -> Result<String, String> {
    let port = plan.host.port;
    match port::owner(port) {
        None if ollama.is_active() => Err(format!(
            "nobody listens on port {port} although {OLLAMA} runs: journalctl -u ollama"
        )),
        None => Ok(format!("port {port} is free")),
        Some(owner) => {
            let name = owner
                .as_ref()
                .map_or("another program", |owner| &owner.name);
            let pid = owner.as_ref().map(|owner| owner.pid);
            if pid.is_some() && pid == ollama.main_pid() {
                return Ok(format!("port {port} is Ollama's"));
            }
            let pid = pid
                .map(|pid| format!(" (process {pid})"))
                .unwrap_or_default();
            Err(format!(
                "port {port} is held by {name}{pid}, which is not {OLLAMA}: stop it first"
            ))
        }
    }
}

/// Checks access as the user that drover will run as, since root may read everything.
pub(super) fn access(plan: &Plan) -> Result<String, String> {
    let path = &plan.models;
    for folder in [path.clone(), path.join("blobs"), path.join("manifests")] {
        let status = Command::new("sh")
            .args(["-c", "test -r \"$0\" && test -w \"$0\" && test -x \"$0\""])
            .arg(&folder)
            .current_dir("/")
            .gid(plan.gid)
            .uid(plan.uid)
            .status();
        if !status.is_ok_and(|status| status.success()) {
            let (path, user) = (path.display(), &plan.user);
            return Err(format!("{path} cannot be read and written by {user}"));
        }
    }
    Ok(format!("{} is {}'s to use", path.display(), plan.user))
}

pub(super) fn space(path: &Path) -> Result<String, String> {
    let free = free_bytes(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let text = format!("{} free at {}", format_bytes(free), path.display());
    if free < LEAST_FREE {
        return Err(format!(
            "disk full: {text}; `drover rm` or `du -xh --max-depth=2 /` help to make room"
        ));
    }
    Ok(text)
}

fn is_before_0_21(version: &str) -> bool {
    let mut parts = version
        .split('.')
        .map(|part| part.parse::<u32>().unwrap_or(0));
    let (major, minor) = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
    (1..21).contains(&minor) && major == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_versions_are_known() {
        assert!(is_before_0_21("0.9.6") && is_before_0_21("0.20.3"));
        assert!(!is_before_0_21("0.21.0") && !is_before_0_21("1.2.0") && !is_before_0_21("0.0.0"));
    }
}
