//! The flags of `run` as values.

use serde_json::Value;

use crate::cli::args::RunArgs;
use crate::cli::session::Session;
use crate::config::values::parse_bool;
use crate::json::deep;
use crate::units;

/// Flags that only embedding models use.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Embedding {
    pub(super) truncate: Option<bool>,
    pub(super) dimensions: i64,
}

/// Reads the flags for answers.
pub(super) fn session(model: &str, args: &RunArgs) -> anyhow::Result<Session> {
    let keep_alive = args.keepalive.as_deref().map(keep_alive).transpose()?;
    let think = args.think.as_deref().map(think).transpose()?;
    Ok(Session {
        model: model.to_owned(),
        keep_alive: keep_alive.unwrap_or_default(),
        format: format(args.format.as_deref().unwrap_or_default())?,
        think_explicit: think.is_some(),
        think: think.unwrap_or_default(),
        word_wrap: !args.nowordwrap,
        verbose: args.verbose,
        hide_thinking: args.hidethinking,
        ..Session::default()
    })
}

/// Reads the flags for embeddings.
pub(super) fn embedding(args: &RunArgs) -> anyhow::Result<Embedding> {
    let truncate = match args.truncate.as_deref() {
        None => None,
        Some(text) => match parse_bool(text) {
            None => anyhow::bail!(
                "invalid argument \"{text}\" for \"--truncate\" flag: strconv.ParseBool: \
                 parsing \"{text}\": invalid syntax"
            ),
            flag => flag,
        },
    };
    Ok(Embedding {
        truncate,
        dimensions: args.dimensions.unwrap_or(0).max(0),
    })
}

/// A duration, or a negative number, which means forever, as in the API.
fn keep_alive(text: &str) -> anyhow::Result<Value> {
    if let Some(seconds) = text.parse::<i64>().ok().filter(|seconds| *seconds < 0) {
        return Ok(Value::from(seconds));
    }
    units::parse_go_duration(text).map_err(anyhow::Error::msg)?;
    Ok(Value::from(text))
}

/// `json`, or a schema.
fn format(text: &str) -> anyhow::Result<Value> {
    match text {
        "" => Ok(Value::Null),
        "json" => Ok(Value::from("json")),
        schema => deep::parse(schema, deep::MAX_LEVELS).map_err(|error| {
            anyhow::Error::msg(format!(
                "invalid --format: neither json nor a JSON schema: {error}"
            ))
        }),
    }
}

fn think(text: &str) -> anyhow::Result<Value> {
    match text {
        "" | "true" => Ok(Value::Bool(true)),
        "false" => Ok(Value::Bool(false)),
        "high" | "medium" | "low" | "max" => Ok(Value::from(text)),
        other => anyhow::bail!(
            "invalid value for --think: \"{other}\" (must be true, false, high, medium, low, or max)"
        ),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn think_has_levels() {
        assert_eq!(think("true").unwrap(), json!(true));
        assert_eq!(think("max").unwrap(), json!("max"));
        assert_eq!(
            think("x").unwrap_err().to_string(),
            "invalid value for --think: \"x\" (must be true, false, high, medium, low, or max)"
        );
    }

    #[test]
    fn a_format_is_json_or_a_schema() {
        assert_eq!(format("").unwrap(), Value::Null);
        assert_eq!(format("json").unwrap(), json!("json"));
        assert_eq!(
            format(r#"{"type":"object"}"#).unwrap(),
            json!({"type": "object"})
        );
        assert!(format("yaml").is_err());
    }
}
