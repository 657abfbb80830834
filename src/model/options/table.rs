//! Every option's name, type and place.

use serde_json::Value;

use super::Options;

/// The JSON type of an option, as Ollama's error texts name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Integer,
    Float,
    Boolean,
    Strings,
}

/// Returns the type of an option that can be given as text; `None` for others and unknown names.
pub fn kind_of(name: &str) -> Option<Kind> {
    match find(name)?.setter {
        Setter::Integer(_) => Some(Kind::Integer),
        Setter::Float(_) => Some(Kind::Float),
        Setter::Boolean(_) => Some(Kind::Boolean),
        Setter::Strings(_) => Some(Kind::Strings),
        Setter::Biases(_) => None,
    }
}

pub(super) struct Row {
    name: &'static str,
    setter: Setter,
}

enum Setter {
    Integer(fn(&mut Options, i64)),
    Float(fn(&mut Options) -> &mut f32),
    Boolean(fn(&mut Options, bool)),
    Strings(fn(&mut Options, Vec<String>)),
    Biases(fn(&mut Options, Vec<(i32, f32)>)),
}

const TABLE: [Row; 33] = [
    row("num_keep", Setter::Integer(|o, n| o.num_keep = narrow(n))),
    row("seed", Setter::Integer(|o, n| o.seed = n)),
    row("num_predict", Setter::Integer(|o, n| o.num_predict = n)),
    row("top_k", Setter::Integer(|o, n| o.top_k = narrow(n))),
    row("top_p", Setter::Float(|o| &mut o.top_p)),
    row("min_p", Setter::Float(|o| &mut o.min_p)),
    row("typical_p", Setter::Float(|o| &mut o.typical_p)),
    row(
        "repeat_last_n",
        Setter::Integer(|o, n| o.repeat_last_n = narrow(n)),
    ),
    row("temperature", Setter::Float(|o| &mut o.temperature)),
    row("repeat_penalty", Setter::Float(|o| &mut o.repeat_penalty)),
    row(
        "presence_penalty",
        Setter::Float(|o| &mut o.presence_penalty),
    ),
    row(
        "frequency_penalty",
        Setter::Float(|o| &mut o.frequency_penalty),
    ),
    // Not in Ollama; names and meanings are llama-server's.
    row("dry_multiplier", Setter::Float(|o| &mut o.dry_multiplier)),
    row("dry_base", Setter::Float(|o| &mut o.dry_base)),
    row(
        "dry_allowed_length",
        Setter::Integer(|o, n| o.dry_allowed_length = narrow(n)),
    ),
    row(
        "dry_penalty_last_n",
        Setter::Integer(|o, n| o.dry_penalty_last_n = narrow(n)),
    ),
    row(
        "dry_sequence_breakers",
        Setter::Strings(|o, texts| o.dry_sequence_breakers = texts),
    ),
    row("xtc_probability", Setter::Float(|o| &mut o.xtc_probability)),
    row("xtc_threshold", Setter::Float(|o| &mut o.xtc_threshold)),
    row("mirostat", Setter::Integer(|o, n| o.mirostat = narrow(n))),
    row("mirostat_tau", Setter::Float(|o| &mut o.mirostat_tau)),
    row("mirostat_eta", Setter::Float(|o| &mut o.mirostat_eta)),
    row("logit_bias", Setter::Biases(|o, list| o.logit_bias = list)),
    // vLLM's.
    row(
        "min_tokens",
        Setter::Integer(|o, n| o.min_tokens = count(n)),
    ),
    row("ignore_eos", Setter::Boolean(|o, on| o.ignore_eos = on)),
    row("stop", Setter::Strings(|o, stop| o.stop = stop)),
    row(
        "num_ctx",
        Setter::Integer(|o, n| o.num_ctx = Some(count(n))),
    ),
    row(
        "num_batch",
        Setter::Integer(|o, n| o.num_batch = Some(count(n))),
    ),
    row("num_gpu", Setter::Integer(|o, n| o.num_gpu = narrow(n))),
    row(
        "main_gpu",
        Setter::Integer(|o, n| o.main_gpu = Some(narrow(n))),
    ),
    row("use_mmap", Setter::Boolean(|o, on| o.use_mmap = Some(on))),
    row(
        "num_thread",
        Setter::Integer(|o, n| o.num_thread = count(n).min(MOST_THREADS)),
    ),
    row(
        "draft_num_predict",
        Setter::Integer(|o, n| o.draft_num_predict = Some(count(n))),
    ),
];

const fn row(name: &'static str, setter: Setter) -> Row {
    Row { name, setter }
}

pub(super) fn find(name: &str) -> Option<&'static Row> {
    const ROWS: &[Row] = &TABLE;
    ROWS.iter().find(|row| row.name == name)
}

impl Row {
    pub(super) fn set(&self, options: &mut Options, value: &Value) -> Result<(), String> {
        let wrong = |kind: &str| format!("option \"{}\" must be of {kind}", self.name);
        match &self.setter {
            Setter::Integer(set) => set(
                options,
                integer(value).ok_or_else(|| wrong("type integer"))?,
            ),
            Setter::Float(place) => {
                *place(options) = float(value).ok_or_else(|| wrong("type float32"))?;
            }
            Setter::Boolean(set) => set(
                options,
                value.as_bool().ok_or_else(|| wrong("type boolean"))?,
            ),
            Setter::Strings(set) => {
                let items = value.as_array().ok_or_else(|| wrong("type array"))?;
                let texts: Option<Vec<String>> = items
                    .iter()
                    .map(|item| item.as_str().map(str::to_owned))
                    .collect();
                set(options, texts.ok_or_else(|| wrong("an array of strings"))?);
            }
            Setter::Biases(set) => {
                let list = biases(value);
                set(
                    options,
                    list.ok_or_else(|| wrong("type object: token numbers with numbers"))?,
                );
            }
        }
        Ok(())
    }
}

/// `{"15043": 1.5}` as in OpenAI's requests, or `[[15043, 1.5]]` as in llama-server's; `false`
/// instead of a number forbids the token.
fn biases(value: &Value) -> Option<Vec<(i32, f32)>> {
    let bias = |value: &Value| match value {
        Value::Bool(false) => Some(f32::NEG_INFINITY),
        value => float(value),
    };
    match value {
        Value::Object(map) => map
            .iter()
            .map(|(token, value)| Some((token.trim().parse().ok()?, bias(value)?)))
            .collect(),
        Value::Array(pairs) => pairs
            .iter()
            .map(|pair| match pair.as_array()?.as_slice() {
                [token, value] => Some((i32::try_from(token.as_i64()?).ok()?, bias(value)?)),
                _ => None,
            })
            .collect(),
        _ => None,
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "a fraction is cut off, as Ollama does; the cast saturates"
)]
fn integer(value: &Value) -> Option<i64> {
    value
        .as_i64()
        .or_else(|| value.as_f64().map(|number| number as i64))
}

/// The most threads that a request may ask for: llama.cpp's own limit.
const MOST_THREADS: u32 = 512;

/// Saturates as well: JSON, which carries the value to the runner, has no infinity.
#[expect(
    clippy::cast_possible_truncation,
    reason = "options are single precision"
)]
fn float(value: &Value) -> Option<f32> {
    let number = value.as_f64()? as f32;
    Some(number.clamp(f32::MIN, f32::MAX))
}

/// Saturates at the ends of the narrower type.
fn narrow(number: i64) -> i32 {
    i32::try_from(number).unwrap_or(if number < 0 { i32::MIN } else { i32::MAX })
}

fn count(number: i64) -> u32 {
    u32::try_from(number).unwrap_or(if number < 0 { 0 } else { u32::MAX })
}
