//! `/set`: the switches of a session.

use serde_json::Value;

use super::help;
use crate::cli::parameter;
use crate::cli::session::Session;

const QUOTES: &str = "\"\"\"";

/// What the user is told.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// On stdout.
    Said(String),
    /// On stderr, then on stdout.
    Warned { warning: String, said: String },
    /// On stderr.
    Help(&'static str),
    /// More lines of the system message follow.
    OpenSystem(String),
}

/// Applies `/set` with its words.
pub(super) fn apply(session: &mut Session, args: &[String]) -> Reply {
    let Some((name, rest)) = args.split_first() else {
        return Reply::Help(help::SET);
    };
    match (name.as_str(), rest) {
        ("history", _) => quietly(&mut session.save_history, true),
        ("nohistory", _) => quietly(&mut session.save_history, false),
        ("wordwrap", _) => mode(&mut session.word_wrap, true, name),
        ("nowordwrap", _) => mode(&mut session.word_wrap, false, name),
        ("verbose", _) => mode(&mut session.verbose, true, name),
        ("quiet", _) => mode(&mut session.verbose, false, name),
        ("think", []) => think(session, Value::Bool(true), "Set 'think' mode."),
        ("think", [level, ..]) => {
            let said = format!("Set 'think' mode to '{level}'.");
            think(session, Value::from(level.as_str()), &said)
        }
        ("nothink", _) => think(session, Value::Bool(false), "Set 'nothink' mode."),
        ("format", [format]) if format == "json" => {
            session.format = Value::from("json");
            said("Set format to 'json' mode.")
        }
        ("format", _) => said("Invalid or missing format. For 'json' mode use '/set format json'"),
        ("noformat", _) => {
            session.format = Value::Null;
            said("Disabled format.")
        }
        ("parameter", [name, values @ ..]) if !values.is_empty() => {
            set_parameter(session, name, values)
        }
        ("parameter", _) => Reply::Help(help::PARAMETERS),
        ("system", []) => Reply::Help(help::SET),
        ("system", words) => system(session, &words.join(" ")),
        (other, _) => said(&format!("Unknown command '/set {other}'. Type /? for help")),
    }
}

fn said(text: &str) -> Reply {
    Reply::Said(format!("{text}\n"))
}

fn quietly(switch: &mut bool, value: bool) -> Reply {
    *switch = value;
    Reply::Said(String::new())
}

fn mode(switch: &mut bool, value: bool, name: &str) -> Reply {
    *switch = value;
    said(&format!("Set '{name}' mode."))
}

fn think(session: &mut Session, value: Value, text: &str) -> Reply {
    session.think = value;
    session.think_explicit = true;
    if session.can_think {
        return said(text);
    }
    let model = &session.model;
    Reply::Warned {
        warning: format!("warning: model \"{model}\" does not support thinking output"),
        said: format!("{text}\n"),
    }
}

fn set_parameter(session: &mut Session, name: &str, values: &[String]) -> Reply {
    let values: Vec<&str> = values.iter().map(String::as_str).collect();
    match parameter::parse(name, &values) {
        Ok(value) => {
            session.options.insert(name.to_owned(), value);
            said(&format!(
                "Set parameter '{name}' to '{}'",
                values.join(", ")
            ))
        }
        Err(error) => said(&format!("Couldn't set parameter: \"{error}\"")),
    }
}

fn system(session: &mut Session, text: &str) -> Reply {
    let text = match text.strip_prefix(QUOTES) {
        None => text,
        Some(text) => match text.strip_suffix(QUOTES) {
            None => return Reply::OpenSystem(text.to_owned()),
            Some(text) => text,
        },
    };
    session.set_system(text);
    said("Set system message.")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn apply_line(session: &mut Session, line: &str) -> Reply {
        let args: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        apply(session, &args)
    }

    fn check(line: &str, expected: &str) -> Session {
        let mut session = Session {
            can_think: true,
            ..Session::default()
        };
        assert_eq!(
            apply_line(&mut session, line),
            Reply::Said(expected.to_owned()),
            "{line}"
        );
        session
    }

    #[test]
    fn switches_are_told() {
        assert!(check("wordwrap", "Set 'wordwrap' mode.\n").word_wrap);
        assert!(check("verbose", "Set 'verbose' mode.\n").verbose);
        assert!(check("history", "").save_history);
        assert_eq!(check("think", "Set 'think' mode.\n").think, json!(true));
        assert_eq!(
            check("think high", "Set 'think' mode to 'high'.\n").think,
            json!("high")
        );
        assert_eq!(
            check("format json", "Set format to 'json' mode.\n").format,
            json!("json")
        );
        check("noformat", "Disabled format.\n");
        check(
            "format yaml",
            "Invalid or missing format. For 'json' mode use '/set format json'\n",
        );
        check("frob", "Unknown command '/set frob'. Type /? for help\n");
    }

    #[test]
    fn parameters_are_checked() {
        let session = check("parameter stop a b", "Set parameter 'stop' to 'a, b'\n");
        assert_eq!(session.options["stop"], json!(["a", "b"]));
        check(
            "parameter x 1",
            "Couldn't set parameter: \"unknown parameter 'x'\"\n",
        );
        let mut session = Session::default();
        assert_eq!(
            apply_line(&mut session, "parameter seed"),
            Reply::Help(help::PARAMETERS)
        );
        assert_eq!(apply_line(&mut session, ""), Reply::Help(help::SET));
    }

    #[test]
    fn a_system_message_may_be_quoted() {
        assert_eq!(
            check("system be brief", "Set system message.\n").system,
            "be brief"
        );
        assert_eq!(
            check("system \"\"\"be brief\"\"\"", "Set system message.\n").system,
            "be brief"
        );
        let mut session = Session::default();
        let open = apply_line(&mut session, "system \"\"\"be");
        assert_eq!(open, Reply::OpenSystem("be".to_owned()));
    }

    #[test]
    fn thinking_that_is_not_there_is_warned_about() {
        let mut session = Session {
            model: "m".to_owned(),
            ..Session::default()
        };
        let reply = apply_line(&mut session, "nothink");
        let warning = "warning: model \"m\" does not support thinking output".to_owned();
        assert_eq!(
            reply,
            Reply::Warned {
                warning,
                said: "Set 'nothink' mode.\n".to_owned()
            }
        );
    }
}
