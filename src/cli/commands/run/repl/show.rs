//! `/show`: what is known about the session's model.

use serde_json::Value;

use super::help;
use crate::api::ollama::ShowResponse;
use crate::cli::commands;
use crate::cli::context::Context;
use crate::cli::session::Session;
use crate::client::ClientError;

/// Prints the section that the words ask for.
pub(super) async fn run(
    context: &Context,
    session: &Session,
    args: &[String],
) -> anyhow::Result<()> {
    let ui = context.ui;
    let Some(topic) = args.first() else {
        ui.talk_raw(help::SHOW);
        return Ok(());
    };
    let shown = match context.client.show(&session.show_request()).await {
        Ok(shown) => shown,
        Err(error) => {
            let what = match error {
                ClientError::Unreachable => format!("connect to {}", context.program.server()),
                _ => "get model".to_owned(),
            };
            ui.out_line(&format!("error: couldn't {what}"))?;
            return Err(error.into());
        }
    };
    if topic == "info" {
        ui.talk_raw(&commands::show::text(&shown, false));
        return Ok(());
    }
    ui.out(&section(topic, &shown, session))?;
    Ok(())
}

fn section(topic: &str, shown: &ShowResponse, session: &Session) -> String {
    match topic {
        "license" => or_missing(&shown.license, "license"),
        "modelfile" => format!("{}\n", shown.modelfile),
        "parameters" => parameters(shown, session),
        "system" if !session.system.is_empty() => format!("{}\n\n", session.system),
        "system" if !shown.system.is_empty() => format!("{}\n\n", shown.system),
        "system" => or_missing("", "system message"),
        "template" => or_missing(&shown.template, "prompt template"),
        other => format!("Unknown command '/show {other}'. Type /? for help\n"),
    }
}

fn or_missing(text: &str, what: &str) -> String {
    if text.is_empty() {
        format!("No {what} was specified for this model.\n")
    } else {
        format!("{text}\n")
    }
}

fn parameters(shown: &ShowResponse, session: &Session) -> String {
    let mut text = "Model defined parameters:\n".to_owned();
    if shown.parameters.is_empty() {
        text.push_str("  No additional parameters were specified for this model.\n");
    }
    for line in shown.parameters.lines() {
        text.push_str(&format!("  {line}\n"));
    }
    text.push('\n');
    if session.options.is_empty() {
        return text;
    }
    text.push_str("User defined parameters:\n");
    for (name, value) in &session.options {
        text.push_str(&format!("  {name:<30} {}\n", plain(value)));
    }
    text.push('\n');
    text
}

/// A value as the user would type it; lists in brackets.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(plain).collect();
            format!("[{}]", items.join(" "))
        }
        Value::Number(number) => {
            let whole = number
                .as_f64()
                .filter(|float| float.fract() == 0.0 && float.abs() < 1e15);
            whole.map_or_else(|| number.to_string(), |float| format!("{float:.0}"))
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_missing_is_told() {
        let (shown, session) = (ShowResponse::default(), Session::default());
        for (topic, expected) in [
            ("license", "No license was specified for this model.\n"),
            (
                "system",
                "No system message was specified for this model.\n",
            ),
            (
                "template",
                "No prompt template was specified for this model.\n",
            ),
            ("frob", "Unknown command '/show frob'. Type /? for help\n"),
        ] {
            assert_eq!(section(topic, &shown, &session), expected);
        }
    }

    #[test]
    fn both_kinds_of_parameters_are_listed() {
        let shown = ShowResponse {
            parameters: "stop                           \"x\"".to_owned(),
            ..ShowResponse::default()
        };
        let mut session = Session::default();
        session.options.insert("temperature".to_owned(), json!(1.0));
        session.options.insert("stop".to_owned(), json!(["a", "b"]));
        assert_eq!(
            section("parameters", &shown, &session),
            "Model defined parameters:
  stop                           \"x\"

User defined parameters:
  temperature                    1
  stop                           [a b]

"
        );
    }

    #[test]
    fn the_sessions_system_message_wins() {
        let shown = ShowResponse {
            system: "a".to_owned(),
            ..ShowResponse::default()
        };
        let mut session = Session::default();
        assert_eq!(section("system", &shown, &session), "a\n\n");
        session.system = "b".to_owned();
        assert_eq!(section("system", &shown, &session), "b\n\n");
    }
}
