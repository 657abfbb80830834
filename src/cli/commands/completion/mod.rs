//! `completion`: prints a shell's completion script.
//!
//! Commands and flags are written into the script; models are asked for when they are needed.

use std::process::ExitCode;

use clap::{Command, ValueHint};
use clap_complete::{Shell, generate};

use crate::cli::args::CompletionArgs;
use crate::cli::help;
use crate::cli::ui::Ui;

/// Commands whose first argument is a model; all arguments of `rm` are.
const TAKES_MODEL: [&str; 10] = [
    "create", "show", "run", "stop", "pull", "push", "cp", "rm", "bench", "fit",
];

/// Prints the script of the named shell.
pub(crate) fn run(ui: Ui, args: &CompletionArgs, command: Command) -> anyhow::Result<ExitCode> {
    help::check_arity("completion", args.args.len()).map_err(anyhow::Error::msg)?;
    let command = visible(&command);
    let script = match args.args.first().map(String::as_str) {
        Some("bash") => bash(command),
        Some("zsh") => zsh(command),
        Some("fish") => fish(command),
        other => {
            let other = other.unwrap_or_default();
            anyhow::bail!("unknown shell \"{other}\" (must be bash, zsh, or fish)");
        }
    };
    ui.out(&script)?;
    Ok(ExitCode::SUCCESS)
}

/// The command without its hidden parts.
fn visible(command: &Command) -> Command {
    // `clap` adds `help` by itself.
    let subcommands = command.get_subcommands();
    let subcommands = subcommands.filter(|sub| !sub.is_hide_set() && sub.get_name() != "help");
    let arguments = command.get_arguments();
    let arguments = arguments.filter(|argument| argument.get_id() != "help");
    let name = match command.get_name() {
        "ollama" => "ollama",
        _ => "drover",
    };
    Command::new(name)
        .args(arguments.cloned())
        .subcommands(subcommands.cloned())
}

fn bash(command: Command) -> String {
    let models = models(include_str!("models.bash"), ('"', " | "), &command);
    script(Shell::Bash, command) + &models
}

fn fish(command: Command) -> String {
    let models = models(include_str!("models.fish"), ('\'', " "), &command);
    script(Shell::Fish, command) + &models
}

/// The part that completes models; flags are listed with this quote and this separator.
fn models(template: &str, (quote, between): (char, &str), command: &Command) -> String {
    let flags: Vec<String> = flags_with_value(command)
        .map(|flag| format!("{quote}{flag}{quote}"))
        .collect();
    let text = template
        .replace("COMMANDS", &TAKES_MODEL.join(" "))
        .replace("FLAGS", &flags.join(between));
    named(&text, command)
}

/// Places our functions by hints in the generated part: `clap` has hints for users and hosts, which no command of
/// ours needs otherwise.
fn zsh(mut command: Command) -> String {
    let is_there = |name: &&str| command.find_subcommand(name).is_some();
    let takes_model: Vec<&str> = TAKES_MODEL.iter().copied().filter(is_there).collect();
    for name in takes_model {
        let hint = match name {
            "rm" => ValueHint::Username,
            _ => ValueHint::Hostname,
        };
        command =
            command.mut_subcommand(name, |sub| sub.mut_arg("args", |arg| arg.value_hint(hint)));
    }
    let models = named(include_str!("models.zsh"), &command);
    let (users, hosts) = (
        named("_NAME_models", &command),
        named("_NAME_model", &command),
    );
    let script = script(Shell::Zsh, command)
        .replace(":_users'", &format!(":{users}'"))
        .replace(":_hosts'", &format!(":{hosts}'"));
    // The last lines call the function when the file itself is that function.
    match script.rfind("\nif [ \"$funcstack[1]\"") {
        Some(end) => format!("{}\n{models}{}", &script[..end], &script[end + 1..]),
        None => script,
    }
}

fn script(shell: Shell, mut command: Command) -> String {
    let name = command.get_name().to_owned();
    let mut script = Vec::new();
    generate(shell, &mut command, name, &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

fn named(text: &str, command: &Command) -> String {
    text.replace("NAME", command.get_name())
}

/// `create -f`, `create --file`, …: the flags whose value is the next word.
fn flags_with_value(command: &Command) -> impl Iterator<Item = String> {
    command.get_subcommands().flat_map(|sub| {
        let with_value = sub
            .get_opts()
            .filter(|arg| arg.get_action().takes_values() && !arg.is_require_equals_set());
        with_value.flat_map(move |arg| {
            let short = arg
                .get_short()
                .map(|short| format!("{} -{short}", sub.get_name()));
            let long = arg
                .get_long()
                .map(|long| format!("{} --{long}", sub.get_name()));
            short.into_iter().chain(long)
        })
    })
}
