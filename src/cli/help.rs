//! The table of commands: usage, counts of arguments, examples and variables for each help text.

use std::ffi::OsString;
use std::fmt::Write as _;

use clap::{Command, CommandFactory as _};

use super::args::Cli;
use super::usage::unknown_flag;
use crate::config::env::of_commands::{EDITOR, HOST, KEY, NO_HISTORY, OPENAI_BASE, OPENAI_KEY};
use crate::config::env::{VARIABLES, Variable};

/// How many arguments a command takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arity {
    Any,
    Exactly(usize),
    AtLeast(usize),
}

/// What the help shows of one command.
struct Row {
    name: &'static str,
    usage: &'static str,
    arity: Arity,
    /// Example lines without the program's name in front; NAME in them stands for that name.
    examples: &'static [&'static str],
    variables: &'static [Variable],
}

const CLIENT: &[Variable] = &[HOST, KEY];

const RUN: &[Variable] = &[HOST, KEY, EDITOR, NO_HISTORY];

const BATCH: &[Variable] = &[HOST, KEY, OPENAI_KEY, OPENAI_BASE];

#[rustfmt::skip]
const ROWS: &[Row] = &[
    Row { name: "serve", usage: "serve [flags]", arity: Arity::Exactly(0), variables: VARIABLES,
        examples: &["serve", "serve --host 0.0.0.0:11434"] },
    Row { name: "create", usage: "create MODEL [flags]", arity: Arity::Exactly(1), variables: CLIENT,
        examples: &["create my-model -f ./Modelfile", "create small -f ./Modelfile --quantize q4_K_M"] },
    Row { name: "show", usage: "show MODEL [flags]", arity: Arity::Exactly(1), variables: CLIENT,
        examples: &["show llama3.2", "show llama3.2 --modelfile", "show llama3.2 --json | jq '.capabilities'"] },
    Row { name: "run", usage: "run MODEL [PROMPT] [flags]", arity: Arity::AtLeast(1), variables: RUN,
        examples: &["run llama3.2", "run llama3.2 \"Why is the sky blue?\"", "run llama3.2 \"Summarise:\" < README.md", "run gemma3 \"What is in ./photo.jpg?\""] },
    Row { name: "stop", usage: "stop MODEL [flags]", arity: Arity::Exactly(1), variables: CLIENT,
        examples: &["stop llama3.2"] },
    Row { name: "pull", usage: "pull MODEL [flags]", arity: Arity::Exactly(1), variables: CLIENT,
        examples: &["pull llama3.2", "pull hf.co/bartowski/Llama-3.2-1B-Instruct-GGUF:Q4_K_M"] },
    Row { name: "push", usage: "push MODEL [flags]", arity: Arity::Exactly(1), variables: CLIENT,
        examples: &["push registry.example.com/team/model"] },
    Row { name: "signin", usage: "signin", arity: Arity::Any, variables: CLIENT, examples: &["signin"] },
    Row { name: "signout", usage: "signout", arity: Arity::Any, variables: CLIENT, examples: &["signout"] },
    Row { name: "list", usage: "list [PREFIX] [flags]", arity: Arity::Any, variables: CLIENT,
        examples: &["list", "list llama", "list --json | jq -r '.models[].name'"] },
    Row { name: "ps", usage: "ps [PREFIX] [flags]", arity: Arity::Any, variables: CLIENT,
        examples: &["ps", "ps --gpu", "ps --json | jq -r '.models[].expires_at'"] },
    Row { name: "top", usage: "top [flags]", arity: Arity::Exactly(0), variables: CLIENT,
        examples: &["top", "top --json | jq '.models[] | [.name, .generated_rate]'"] },
    Row { name: "health", usage: "health", arity: Arity::Exactly(0), variables: &[HOST],
        examples: &["health"] },
    Row { name: "rpc-server", usage: "rpc-server [flags]", arity: Arity::Exactly(0), variables: &[],
        examples: &["rpc-server", "rpc-server --listen 10.0.0.2:50052"] },
    Row { name: "cp", usage: "cp SOURCE DESTINATION [flags]", arity: Arity::Exactly(2), variables: CLIENT,
        examples: &["cp llama3.2 my-llama"] },
    Row { name: "rm", usage: "rm MODEL [MODEL...] [flags]", arity: Arity::AtLeast(1), variables: CLIENT,
        examples: &["rm llama3.2", "rm one two"] },
    Row { name: "launch", usage: "launch [NAME] [flags] [-- ARGS]", arity: Arity::Any, variables: CLIENT,
        examples: &["launch", "launch claude --model gpt-oss:20b", "launch codex --model gpt-oss:20b -- exec \"What is in this folder?\""] },
    Row { name: "completion", usage: "completion bash|zsh|fish", arity: Arity::Exactly(1), variables: &[],
        examples: &["completion bash > ~/.local/share/bash-completion/completions/NAME",
            "completion zsh > ~/.zfunc/_NAME", "completion fish > ~/.config/fish/completions/NAME.fish"] },
    Row { name: "batch", usage: "batch run FILE|ID | list | show ID | cancel ID [flags]", arity: Arity::Any, variables: BATCH,
        examples: &["batch run requests.jsonl -o answers.jsonl",
            "batch run mails.csv --model llama3.2 --prompt \"Summarise: {text}\" -o answers.jsonl",
            "batch run questions.txt --model llama3.2 --detach", "batch run batch_abc123 -o answers.jsonl",
            "batch list", "batch show batch_abc123 --json", "batch cancel batch_abc123",
            "batch run requests.jsonl --host openai -o answers.jsonl"] },
    Row { name: "key", usage: "key create NAME | list | revoke NAME [flags]", arity: Arity::Any, variables: CLIENT,
        examples: &["key create open-webui", "key create ci --models llama3.2,team/* --expires 90d",
            "key create jo --limit requests=2,queue=10,tokens=60000", "key create boss --scope admin",
            "key create prometheus --scope metrics", "key list", "key revoke ci",
            "key create first --scope admin --file /var/lib/drover/keys.json"] },
    Row { name: "bench", usage: "bench MODEL [flags]", arity: Arity::Exactly(1), variables: CLIENT,
        examples: &["bench llama3.2", "bench llama3.2 --against http://127.0.0.1:11435 --concurrency 1,8 --markdown result.md",
            "bench llama3.2 --api openai --url http://127.0.0.1:8080", "bench llama3.2 --arrival poisson:2 --concurrency 16 --requests 200",
            "bench llama3.2 --shared-prefix 1000 --prompt-tokens 1200 --turns 4",
            "bench llama3.2 --against http://127.0.0.1:11435 --pairs 10 --svg result.svg"] },
    Row { name: "fit", usage: "fit MODEL [flags]", arity: Arity::Exactly(1), variables: CLIENT,
        examples: &["fit gpt-oss:20b", "fit gemma3:12b --ctx 32768 --slots 4", "fit gemma3:12b --kv q8_0",
            "fit mistral --json | jq '.choices[] | select(.whole_on_gpu)'"] },
    Row { name: "takeover", usage: "takeover [flags]", arity: Arity::Any, variables: &[],
        examples: &["takeover --dry-run", "takeover"] },
    Row { name: "rollback", usage: "rollback", arity: Arity::Any, variables: &[], examples: &["rollback"] },
    Row { name: "doctor", usage: "doctor [store] [flags]", arity: Arity::Any, variables: CLIENT,
        examples: &["doctor", "doctor --json", "doctor store", "doctor store --quick --json",
            "doctor store --repair --models /usr/share/ollama/.ollama/models"] },
    Row { name: "man", usage: "man FOLDER", arity: Arity::Any, variables: &[], examples: &["man ."] },
    Row { name: "runner", usage: "runner", arity: Arity::Any, variables: &[], examples: &["runner"] },
    Row { name: "renderer", usage: "renderer", arity: Arity::Any, variables: &[], examples: &["renderer"] },
];

/// Commands that Ollama does not have; the help of `ollama` does not list them.
const OWN: &[&str] = &[
    "top",
    "health",
    "batch",
    "bench",
    "fit",
    "key",
    "takeover",
    "rollback",
    "doctor",
    "rpc-server",
];

/// Builds the parser for a program called `program` (`ollama` or `drover`).
pub(crate) fn command(program: &'static str) -> Command {
    let mut command = Cli::command()
        .name(program)
        .bin_name(program)
        .override_usage(format!("{program} [flags]\n       {program} [command]"))
        .after_help(variables_help(CLIENT));
    for row in ROWS {
        command = command.mut_subcommand(row.name, |sub| {
            sub.override_usage(format!("{program} {}", row.usage))
                .after_help(after_help(program, row))
                .args_override_self(true)
        });
    }
    if program == "ollama" {
        for name in OWN {
            command = command.mut_subcommand(name, |sub| sub.hide(true));
        }
    }
    command
}

/// Checks the number of a command's arguments.
///
/// # Errors
/// Returns Ollama's text.
pub(crate) fn check_arity(name: &str, count: usize) -> Result<(), String> {
    let row = ROWS.iter().find(|row| row.name == name);
    match row.map_or(Arity::Any, |row| row.arity) {
        Arity::Exactly(wanted) if count != wanted => {
            Err(format!("accepts {wanted} arg(s), received {count}"))
        }
        Arity::AtLeast(wanted) if count < wanted => Err(format!(
            "requires at least {wanted} arg(s), only received {count}"
        )),
        _ => Ok(()),
    }
}

/// The answer of `help` to words that the parser does not take as a topic.
#[derive(Debug, PartialEq)]
pub(crate) enum Topic {
    /// The help of the first word, for standard output; the words after it belong to the command.
    Known(String),
    /// For standard error; as in Ollama, this is not a failure.
    Unknown(String),
}

/// Reads the words of `help WORD…`; `None` when that is not the command.
///
/// # Errors
/// Returns Ollama's text for a flag that `help` does not have.
pub(super) fn topic(words: &[OsString], command: &mut Command) -> Result<Option<Topic>, String> {
    let [_, help, words @ ..] = words else {
        return Ok(None);
    };
    if help != "help" {
        return Ok(None);
    }
    let words: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
    let (flags, names): (Vec<_>, Vec<_>) = words
        .into_iter()
        .filter(|word| word != "--")
        .partition(|word| word.len() > 1 && word.starts_with('-'));
    let about_help = ["-h", "--help"];
    if let Some(flag) = flags.iter().find(|flag| !about_help.contains(&&***flag)) {
        return Err(unknown_flag(flag));
    }
    let first = match flags.is_empty() {
        true => names.first().map_or("", |name| name),
        false => "help",
    };
    if let Some(known) = command.find_subcommand_mut(first) {
        return Ok(Some(Topic::Known(known.render_help().to_string())));
    }
    let names: Vec<String> = names.iter().map(|name| quoted(name)).collect();
    let usage = command.render_help().to_string();
    let (_about, usage) = usage.split_once("\n\n").unwrap_or_default();
    let names = names.join(" ");
    let text = format!("Unknown help topic [{names}]\n{usage}");
    Ok(Some(Topic::Unknown(text)))
}

/// A word as Go quotes it: in backquotes, if it contains none and nothing to escape.
fn quoted(word: &str) -> String {
    if word.contains(['`', '\u{feff}']) || word.contains(|c: char| c.is_control() && c != '\t') {
        return format!("{word:?}");
    }
    format!("`{word}`")
}

fn after_help(program: &str, row: &Row) -> String {
    let mut text = "Examples:\n".to_owned();
    for example in row.examples {
        let example = example.replace("NAME", program);
        text.push_str(&format!("  {program} {example}\n"));
    }
    if !row.variables.is_empty() {
        text.push('\n');
        text.push_str(&variables_help(row.variables));
    }
    text
}

/// The section that lists variables; names take 27 columns.
fn variables_help(variables: &[Variable]) -> String {
    let mut text = "Environment Variables:\n".to_owned();
    for Variable { name, default, doc } in variables {
        // Writing to a string does not fail.
        let _ = match *default {
            "" => writeln!(text, "      {name:<24}   {doc}"),
            default => writeln!(text, "      {name:<24}   {doc} (default {default})"),
        };
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_row() {
        let command = command("ollama");
        command.clone().debug_assert();
        for sub in command.get_subcommands() {
            assert!(
                ROWS.iter().any(|row| row.name == sub.get_name()),
                "{}",
                sub.get_name()
            );
        }
    }

    #[test]
    fn own_commands_are_listed_under_the_own_name_only() {
        let help = |program| command(program).render_help().to_string();
        assert!(help("drover").contains("\n  bench "));
        assert!(!help("ollama").contains("bench"));
    }

    #[test]
    fn wrong_counts_have_ollamas_texts() {
        assert_eq!(
            check_arity("show", 0).unwrap_err(),
            "accepts 1 arg(s), received 0"
        );
        assert_eq!(
            check_arity("run", 0).unwrap_err(),
            "requires at least 1 arg(s), only received 0"
        );
        assert_eq!(check_arity("list", 9), Ok(()));
    }

    #[test]
    fn unknown_topics_are_named_before_the_usage() {
        let ask = |line: &str| {
            let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            let mut command = command("ollama");
            command.build();
            topic(&words, &mut command)
        };
        let unknown = |line| match ask(line) {
            Ok(Some(Topic::Unknown(text))) => text,
            other => panic!("{line}: {other:?}"),
        };
        let text = unknown("ollama help nosuch");
        let start = "Unknown help topic [`nosuch`]\nUsage: ollama [flags]\n";
        assert!(text.starts_with(start), "{text}");
        assert!(text.contains("\n  pull "), "{text}");
        for (line, named) in [
            ("ollama help no such", "[`no` `such`]"),
            ("ollama help no -- run", "[`no` `run`]"),
            ("ollama help a`b", "[\"a`b\"]"),
            ("ollama help -", "[`-`]"),
        ] {
            let start = format!("Unknown help topic {named}\n");
            assert!(unknown(line).starts_with(&start), "{line}");
        }
        for (line, usage) in [
            ("ollama help run nosuch", "Usage: ollama run MODEL"),
            ("ollama help ls x", "Usage: ollama list"),
            ("ollama help nosuch --help", "Usage: ollama help"),
        ] {
            let known = ask(line);
            let is_it = matches!(&known, Ok(Some(Topic::Known(text))) if text.contains(usage));
            assert!(is_it, "{line}: {known:?}");
        }
        let mistake = |line| ask(line).unwrap_err();
        assert_eq!(mistake("ollama help --nope"), "unknown flag: --nope");
        let letter = "unknown shorthand flag: 'x' in -x";
        assert_eq!(mistake("ollama help run -x"), letter);
        for line in ["ollama", "ollama run help", "ollama nosuch"] {
            assert_eq!(ask(line), Ok(None), "{line}");
        }
    }

    #[test]
    fn help_has_examples_and_variables() {
        let mut command = command("drover");
        let run = command
            .find_subcommand_mut("run")
            .unwrap()
            .render_help()
            .to_string();
        assert!(run.contains("drover run MODEL [PROMPT] [flags]"), "{run}");
        assert!(
            run.contains("\nExamples:\n  drover run llama3.2\n"),
            "{run}"
        );
        let row = "      OLLAMA_NOHISTORY           Do not preserve readline history\n";
        assert!(
            run.contains("Environment Variables:\n      OLLAMA_HOST"),
            "{run}"
        );
        assert!(run.contains(row), "{run}");
    }
}
