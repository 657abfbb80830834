//! Usage errors, in the words that Ollama's users and scripts know.

use std::error::Error as _;
use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::config::values::parse_bool;

/// Switches that may be written `--name=false`.
const SWITCHES: &[&str] = &[
    "version",
    "verbose",
    "nowordwrap",
    "insecure",
    "hidethinking",
    "experimental",
    "license",
    "modelfile",
    "parameters",
    "template",
    "system",
    "json",
    "help",
];

/// Replaces `--switch=true` by `--switch` and drops `--switch=false`, up to `--`.
///
/// # Errors
/// Returns Ollama's text when the value is not a boolean.
pub(super) fn fold_switches(args: impl Iterator<Item = OsString>) -> Result<Vec<OsString>, String> {
    let mut folded = Vec::new();
    let mut flags_ended = false;
    let mut is_command_known = false;
    for arg in args {
        flags_ended |= arg == "--";
        if !is_command_known && !arg.as_encoded_bytes().starts_with(b"-") {
            is_command_known = true;
            // The `--json` of these commands names a file, or their `--system` takes a text.
            flags_ended |= arg == "bench" || arg == "batch";
        }
        let switch = arg.to_str().filter(|_| !flags_ended).and_then(split_switch);
        let Some((name, value)) = switch else {
            folded.push(arg);
            continue;
        };
        match parse_bool(value) {
            Some(true) => folded.push(format!("--{name}").into()),
            Some(false) => {}
            None => {
                let reason = format!("strconv.ParseBool: parsing \"{value}\": invalid syntax");
                return Err(format!(
                    "invalid argument \"{value}\" for \"--{name}\" flag: {reason}"
                ));
            }
        }
    }
    Ok(folded)
}

fn split_switch(arg: &str) -> Option<(&str, &str)> {
    let (name, value) = arg.strip_prefix("--")?.split_once('=')?;
    SWITCHES.contains(&name).then_some((name, value))
}

/// Parses a flag's integer.
///
/// # Errors
/// Returns Go's text.
pub(super) fn integer(text: &str) -> Result<i64, String> {
    text.parse()
        .map_err(|_| format!("strconv.ParseInt: parsing \"{text}\": invalid syntax"))
}

/// Returns the message for a mistake that the parser found in a command line; `None` for help, which is not a mistake.
pub(super) fn message(
    error: &clap::Error,
    program: &'static str,
    words: &[OsString],
) -> Option<String> {
    let invalid_arg = || text_of(error, ContextKind::InvalidArg).unwrap_or_default();
    match error.kind() {
        ErrorKind::DisplayHelp
        | ErrorKind::DisplayVersion
        | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => None,
        ErrorKind::InvalidSubcommand => Some(unknown_command(error, program)),
        ErrorKind::UnknownArgument => Some(unknown_flag(&invalid_arg())),
        ErrorKind::InvalidValue | ErrorKind::ValueValidation => {
            let arg = invalid_arg();
            let flag = flag_name(&arg);
            let value = text_of(error, ContextKind::InvalidValue).unwrap_or_default();
            if value.is_empty() && error.source().is_none() {
                let flag = shorthand(words).unwrap_or_else(|| flag.to_owned());
                return Some(format!("flag needs an argument: {flag}"));
            }
            let reason = error.source().map(ToString::to_string).unwrap_or_default();
            Some(format!(
                "invalid argument \"{value}\" for \"{flag}\" flag: {reason}"
            ))
        }
        _ => {
            let text = error.to_string();
            let first = text.lines().next().unwrap_or_default();
            Some(first.trim_start_matches("error: ").to_owned())
        }
    }
}

fn unknown_command(error: &clap::Error, program: &'static str) -> String {
    let name = text_of(error, ContextKind::InvalidSubcommand).unwrap_or_default();
    let mut text = format!("unknown command \"{name}\" for \"{program}\"");
    let command = super::help::command(program);
    let suggestions: Vec<&str> = command
        .get_subcommands()
        .filter(|command| !command.is_hide_set())
        .map(clap::Command::get_name)
        .filter(|known| is_close(&name, known))
        .collect();
    if !suggestions.is_empty() {
        text.push_str("\n\nDid you mean this?\n");
        for suggestion in suggestions {
            text.push_str(&format!("\t{suggestion}\n"));
        }
    }
    text
}

/// At most two letters are wrong, or it is the beginning of the command (the rule of Ollama's parser).
fn is_close(typed: &str, known: &str) -> bool {
    let typed = typed.to_lowercase();
    !typed.is_empty() && (strsim::levenshtein(&typed, known) <= 2 || known.starts_with(&typed))
}

pub(super) fn unknown_flag(arg: &str) -> String {
    let arg = flag_name(arg);
    if arg.starts_with("--") {
        return format!("unknown flag: {arg}");
    }
    let letter: String = arg.chars().skip(1).take(1).collect();
    format!("unknown shorthand flag: '{letter}' in {arg}")
}

/// A one-letter flag that is the last word, as Ollama's parser names it.
fn shorthand(words: &[OsString]) -> Option<String> {
    let last = words.last()?.to_str()?;
    let letter = last
        .strip_prefix('-')
        .filter(|rest| !rest.starts_with('-'))?;
    Some(format!("'{letter}' in {last}"))
}

/// `--dimensions <N>` and `--dimensions=5` → `--dimensions`.
fn flag_name(arg: &str) -> &str {
    arg.split([' ', '=', '[']).next().unwrap_or(arg)
}

fn text_of(error: &clap::Error, kind: ContextKind) -> Option<String> {
    match error.get(kind)? {
        ContextValue::String(text) => Some(text.clone()),
        ContextValue::Strings(texts) => texts.first().cloned(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::help;

    fn check(line: &str, expected: &str) {
        let args = line.split(' ').map(OsString::from);
        let args = fold_switches(args).unwrap();
        let error = help::command("ollama")
            .try_get_matches_from(&args)
            .unwrap_err();
        let said = message(&error, "ollama", &args).unwrap();
        assert_eq!(said, expected, "{line}");
    }

    #[test]
    fn mistakes_have_ollamas_texts() {
        check(
            "ollama frobnicate",
            "unknown command \"frobnicate\" for \"ollama\"",
        );
        check(
            "ollama lst",
            "unknown command \"lst\" for \"ollama\"\n\nDid you mean this?\n\tlist\n\tps\n",
        );
        check("ollama list --nope", "unknown flag: --nope");
        check("ollama list --nope=1", "unknown flag: --nope");
        check("ollama list -x", "unknown shorthand flag: 'x' in -x");
        check("ollama create m --file", "flag needs an argument: --file");
        check("ollama create m -f", "flag needs an argument: 'f' in -f");
        check("ollama create m -q", "flag needs an argument: 'q' in -q");
        check(
            "ollama run m --dimensions x",
            "invalid argument \"x\" for \"--dimensions\" flag: strconv.ParseInt: parsing \"x\": invalid syntax",
        );
    }

    #[test]
    fn switches_take_values() {
        let fold = |line: &str| {
            let folded = fold_switches(line.split(' ').map(OsString::from));
            folded.map(|args| args.join(std::ffi::OsStr::new(" ")).into_string().unwrap())
        };
        assert_eq!(fold("run m --verbose=true x").unwrap(), "run m --verbose x");
        assert_eq!(fold("run m --verbose=0 x").unwrap(), "run m x");
        assert_eq!(
            fold("run m -- --verbose=0").unwrap(),
            "run m -- --verbose=0"
        );
        assert_eq!(fold("run m --think=high").unwrap(), "run m --think=high");
        assert_eq!(
            fold("bench m --json=x.json").unwrap(),
            "bench m --json=x.json"
        );
        assert_eq!(
            fold("run m --verbose=x").unwrap_err(),
            "invalid argument \"x\" for \"--verbose\" flag: strconv.ParseBool: parsing \"x\": invalid syntax"
        );
    }
}
