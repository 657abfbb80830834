//! `doctor store`: checks the model directory and offers to repair it.
//!
//! It reads the directory directly, so it also works when no daemon starts.

use std::io::{BufRead as _, Write as _};
use std::process::ExitCode;

use crate::api::ollama::Progress;
use crate::cli::args::DoctorArgs;
use crate::cli::ui::Ui;
use crate::cli::ui::progress::{BarNames, ProgressView};
use crate::config::env;
use crate::store::{Checkup, Problem, Store};
use crate::units::format_bytes;

/// Prints what is wrong; the exit code is 1 when something is still wrong in the end.
pub(crate) fn run(ui: Ui, args: &DoctorArgs) -> anyhow::Result<ExitCode> {
    let root = match &args.models {
        Some(folder) => folder.clone(),
        None => env::load(&env::process)?.config.models,
    };
    if !root.join("blobs").is_dir() {
        let root = root.display();
        anyhow::bail!(
            "there is no model directory at {root}; name it with --models or OLLAMA_MODELS"
        );
    }
    let store = Store::at(&root);
    let checkup = look(ui, &store, !args.quick)?;
    if args.json {
        ui.out_json(&checkup)?;
    } else {
        ui.out(&text(&checkup))?;
    }
    let mut left = checkup.problems.len();
    let mendable = checkup
        .problems
        .iter()
        .filter(|problem| is_mendable(problem))
        .count();
    if mendable > 0 && (args.repair || asks(ui, args, mendable)?) {
        let gone = store.repair(&checkup)?;
        left -= gone.len();
        ui.talk(&format!(
            "mended {} of {} problems",
            gone.len(),
            checkup.problems.len()
        ));
    }
    Ok(if left == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn look(ui: Ui, store: &Store, verify: bool) -> anyhow::Result<Checkup> {
    let status = "checking the model directory";
    let mut view = ProgressView::new(ui, BarNames::Status);
    let total = if verify {
        store.check(false, &mut |_| {})?.bytes
    } else {
        0
    };
    let mut done = 0;
    let mut progress = |bytes| {
        done += bytes;
        view.update(&Progress {
            status: status.to_owned(),
            digest: status.to_owned(),
            total: Some(total),
            completed: Some(done),
        });
    };
    Ok(store.check(verify, &mut progress)?)
}

/// Asks the user, if there is one at a terminal.
fn asks(ui: Ui, args: &DoctorArgs, count: usize) -> anyhow::Result<bool> {
    if args.json || !ui.stdin_is_terminal || !ui.stdout_is_terminal {
        return Ok(false);
    }
    ui.talk_raw(&format!("Mend {count} of them now? [y/N] "));
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    std::io::stdout().flush()?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}

fn is_mendable(problem: &Problem) -> bool {
    !matches!(
        problem,
        Problem::BadManifest { .. } | Problem::MissingBlob { .. }
    )
}

fn text(checkup: &Checkup) -> String {
    let Checkup {
        models,
        blobs,
        bytes,
        problems,
    } = checkup;
    let mut text = format!("{models} models, {blobs} blobs, {}\n", format_bytes(*bytes));
    if problems.is_empty() {
        text.push_str("nothing is wrong\n");
    }
    for problem in problems {
        text.push_str(&format!("- {}\n", describe(problem)));
    }
    text
}

/// What is wrong, and what to do.
fn describe(problem: &Problem) -> String {
    match problem {
        Problem::BadManifest { model, reason } => {
            format!("{model}: {reason}; pull or create it again, or remove it with `rm {model}`")
        }
        Problem::MissingBlob { digest, models } => {
            let models = models.join(", ");
            format!("{digest} is missing; pull or create again: {models}")
        }
        Problem::WrongSize {
            digest,
            models,
            size,
            expected,
        } => format!(
            "{digest} has {size} bytes instead of {expected}; a repair removes it, then pull or create again: {}",
            models.join(", ")
        ),
        Problem::WrongContent { digest, models } if models.is_empty() => {
            format!(
                "{digest} has other bytes than it should; no model uses it, a repair removes it"
            )
        }
        Problem::WrongContent { digest, models } => format!(
            "{digest} has other bytes than it should; a repair removes it, then pull or create again: {}",
            models.join(", ")
        ),
        Problem::Duplicate { file, size } => format!(
            "{file} ({}) is not the name of a blob that anything reads; a repair removes it",
            format_bytes(*size)
        ),
        Problem::Unused { digest, size } => {
            format!(
                "{digest} ({}) is used by no model; a repair removes it",
                format_bytes(*size)
            )
        }
        Problem::Leftover { file, size } => format!(
            "{file} ({}) is the rest of something that did not end; a repair removes it",
            format_bytes(*size)
        ),
        Problem::WrongOwner {
            path,
            uid,
            expected,
        } => {
            let path = path.display();
            format!(
                "{path} belongs to user {uid}; a repair by root or `sudo chown {expected} {path}` gives it back"
            )
        }
        Problem::WrongMode { path, mode } => {
            let path = path.display();
            format!("{path} has mode {mode:o}, its owner may not use it; a repair changes that")
        }
    }
}
