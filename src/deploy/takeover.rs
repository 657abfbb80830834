//! `drover takeover`: the plan, the checks, the changes. A failed takeover is undone.

use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;

use super::plan::Plan;
use super::record::{DROP_IN, FOLDER, RECORD, Record, log, write};
use super::systemd::{self, DROVER, OLLAMA, SOCKET, Service, systemctl};
use super::{DeployError, Say, checks, health, models, port, refused, require_root, rollback};
use crate::config::env::VARIABLES;

/// How long the daemon may take to answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// How to take over.
#[derive(Debug)]
pub struct Takeover {
    /// Shows the plan and the checks without changing anything.
    pub dry_run: bool,
    /// Proceed even if the GPU cannot be used.
    pub without_gpu: bool,
    /// This program, to probe the devices.
    pub exe: PathBuf,
    /// Ollama's port, if it is not a service.
    pub port: u16,
}

/// Takes Ollama's place, or shows what it would do.
///
/// # Errors
/// A check failed and nothing was changed, or the change failed and was undone.
pub fn takeover(how: Takeover, say: Say<'_>) -> Result<(), DeployError> {
    require_root("takeover")?;
    if !systemd::is_here() {
        return Err(by_hand(how.port));
    }
    if let Some(record) = Record::load(Path::new(RECORD))? {
        return already(&record, say);
    }
    let ollama = Service::ask(OLLAMA)?;
    if !ollama.exists() {
        return Err(by_hand(how.port));
    }
    let plan = Plan::of(&ollama)?;
    say(&format!("Ollama's service: {}", ollama.get("FragmentPath")));
    say(&plan.describe());
    say("Checks:");
    let mut against = checks::run(&ollama, &plan, say);
    against.extend(checks::gpu(how.exe, how.without_gpu, say));
    if !against.is_empty() {
        return Err(refused(format!(
            "nothing was changed: {}",
            against.join("; ")
        )));
    }
    if how.dry_run {
        say(&format!(
            "Would write {DROP_IN} and {RECORD}, disable and stop {OLLAMA}, enable and start {DROVER}, and \
             undo it all if drover does not answer. Nothing was changed."
        ));
        return Ok(());
    }
    let drover = Service::ask(DROVER)?;
    let socket = Service::ask(SOCKET)?;
    let record = Record {
        at: Timestamp::now(),
        ollama_active: ollama.is_active(),
        ollama_enabled: ollama.is_enabled(),
        drover_active: drover.is_active(),
        drover_enabled: drover.is_enabled(),
        socket_active: socket.is_active(),
        socket_enabled: socket.is_enabled(),
        had_folder: Path::new(FOLDER).is_dir(),
        host: plan.host.to_string(),
    };
    log(say, "takeover begins");
    let changed = change(&plan, &record, say);
    let Err(error) = changed else {
        log(
            say,
            "takeover done; `drover rollback` gives everything back",
        );
        return Ok(());
    };
    log(say, &format!("takeover failed: {error}"));
    match rollback::undo(&record, say) {
        Ok(()) => Err(refused(format!(
            "{error}\nEverything was put back as it was."
        ))),
        Err(undo) => Err(refused(format!(
            "{error}\nPutting everything back failed, too: {undo}\nTry again: drover rollback"
        ))),
    }
}

fn change(plan: &Plan, record: &Record, say: Say<'_>) -> Result<(), DeployError> {
    let expected = models::verdicts(&plan.models)?.len();
    record.save(Path::new(RECORD))?;
    write(Path::new(DROP_IN), &plan.drop_in())?;
    log(say, &format!("wrote {DROP_IN}"));
    systemctl(&["daemon-reload"])?;
    if record.ollama_enabled {
        systemctl(&["disable", OLLAMA])?;
    }
    systemctl(&["stop", OLLAMA])?;
    log(say, &format!("stopped and disabled {OLLAMA}"));
    systemctl(&["enable", DROVER])?;
    systemctl(&["restart", DROVER]).map_err(|error| match reason() {
        Some(reason) => refused(format!("{DROVER} does not start: {reason}")),
        None => error,
    })?;
    log(say, &format!("enabled and started {DROVER}"));
    let still_there = || {
        let service = Service::ask(DROVER)?;
        if service.is_active() {
            return Ok(());
        }
        Err(refused(format!(
            "{DROVER} has ended: {}",
            reason().unwrap_or_default()
        )))
    };
    let found = health::wait(&plan.host, PATIENCE, still_there)?
        .ok_or_else(|| refused(format!("drover does not answer at {}", plan.host)))?;
    if found.n_models < expected {
        return Err(refused(format!(
            "drover sees {} of {expected} models",
            found.n_models
        )));
    }
    log(
        say,
        &format!(
            "drover answers at {} with {} models",
            plan.host, found.n_models
        ),
    );
    Ok(())
}

/// The daemon's last error in the journal.
fn reason() -> Option<String> {
    let output = std::process::Command::new("journalctl")
        .args([
            "--unit",
            DROVER,
            "--lines",
            "50",
            "--output",
            "cat",
            "--no-pager",
        ])
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = text.lines().rev();
    let mut errors = errors.filter_map(|line| line.strip_prefix("Error: "));
    errors.next().map(str::to_owned)
}

/// Reports that the takeover was already done; nothing is changed.
fn already(record: &Record, say: Say<'_>) -> Result<(), DeployError> {
    let service = Service::ask(DROVER)?;
    if service.is_active() {
        say(&format!(
            "drover has taken over already ({:.0}), nothing to do",
            record.at
        ));
        return Ok(());
    }
    Err(refused(format!(
        "a takeover of {:.0} is in force, but {DROVER} does not run: `systemctl restart drover` starts it, \
         `journalctl -u drover` says why it ended, `drover rollback` gives everything back",
        record.at
    )))
}

/// Explains what to do if Ollama is not a systemd service.
fn by_hand(port: u16) -> DeployError {
    let owner = port::owner(port).flatten();
    let process = owner.and_then(|owner| procfs::process::Process::new(owner.pid).ok());
    let running = process.filter(|process| {
        let is_ollama = process.stat().is_ok_and(|stat| stat.comm == "ollama");
        let words = process.cmdline().unwrap_or_default();
        is_ollama && words.iter().any(|word| word == "serve" || word == "start")
    });
    let Some(process) = running else {
        return refused(format!(
            "there is no ollama.service, and no `ollama serve` at port {port} (OLLAMA_HOST names another one). As a \
             service: systemctl enable --now drover. By hand: drover serve (OLLAMA_MODELS says where the models are)",
        ));
    };
    let uid = process.uid().unwrap_or_default();
    let user = uzers::get_user_by_uid(uid).map_or_else(
        || uid.to_string(),
        |user| user.name().to_string_lossy().into_owned(),
    );
    let environment = process.environ().unwrap_or_default();
    let mut settings: Vec<String> = environment
        .iter()
        .map(|(name, value)| (name.to_string_lossy(), value.to_string_lossy()))
        .filter(|(name, _)| VARIABLES.iter().any(|known| known.name == name.as_ref()))
        .map(|(name, value)| shell_words::quote(&format!("{name}={value}")).into_owned())
        .collect();
    settings.sort();
    let settings = settings
        .iter()
        .map(|text| format!("{text} "))
        .collect::<String>();
    refused(format!(
        "Ollama was started by hand here (process {pid}, user {user}). In its place:\n  kill {pid}\n  sudo -H -u \
         {user} env {settings}drover serve\nBack again: end that with Ctrl-C and start `ollama serve` as before.",
        pid = process.pid
    ))
}
