//! `PARAMETER` lines as typed options.

use serde_json::{Map, Number, Value};

use super::{Modelfile, ModelfileError};
use crate::model::options::{Kind, kind_of};

/// Names that are accepted with a warning and ignored.
const DEPRECATED: [&str; 9] = [
    "penalize_newline",
    "low_vram",
    "f16_kv",
    "logits_all",
    "vocab_only",
    "use_mlock",
    "mirostat",
    "mirostat_tau",
    "mirostat_eta",
];

/// The options of a Modelfile.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Parameters {
    pub values: Map<String, Value>,
    /// Names that were ignored; the user is told `parameter x is deprecated`.
    pub deprecated: Vec<String>,
}

impl Modelfile {
    /// Reads the `PARAMETER` lines: the last of a name wins, `stop` accumulates.
    ///
    /// # Errors
    /// Returns Ollama's texts: `unknown parameter 'x'`, `invalid int value [x]`, …
    pub fn parameters(&self) -> Result<Parameters, ModelfileError> {
        let mut parameters = Parameters::default();
        for command in self
            .commands
            .iter()
            .filter(|command| command.name == "parameter")
        {
            let (key, text) = (command.key.as_str(), command.value.as_str());
            if DEPRECATED.contains(&key) {
                parameters.deprecated.push(key.to_owned());
                continue;
            }
            let kind = kind_of(key).ok_or_else(|| error(format!("unknown parameter '{key}'")))?;
            let value = match kind {
                Kind::Strings => {
                    let list = parameters
                        .values
                        .entry(key)
                        .or_insert_with(|| Value::Array(Vec::new()));
                    if let Value::Array(items) = list {
                        items.push(Value::from(text));
                    }
                    continue;
                }
                Kind::Integer => text
                    .parse::<i64>()
                    .map(Value::from)
                    .map_err(|_| bad("int", text))?,
                Kind::Float => float(text).ok_or_else(|| bad("float", text))?,
                Kind::Boolean => boolean(text)
                    .map(Value::from)
                    .ok_or_else(|| bad("bool", text))?,
            };
            parameters.values.insert(key.to_owned(), value);
        }
        Ok(parameters)
    }
}

/// A single-precision number, kept as the shortest text that yields it.
fn float(text: &str) -> Option<Value> {
    let number: f32 = text.parse().ok()?;
    let shortest: f64 = number.to_string().parse().ok()?;
    Number::from_f64(shortest).map(Value::Number)
}

fn boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}

fn bad(kind: &str, text: &str) -> ModelfileError {
    error(format!("invalid {kind} value [{text}]"))
}

fn error(text: String) -> ModelfileError {
    ModelfileError::Syntax(text)
}
