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

/// Returns the type of an option, `None` for unknown names.
pub fn kind_of(name: &str) -> Option<Kind> {
    find(name).map(|row| match row.setter {
        Setter::Integer(_) => Kind::Integer,
        Setter::Float(_) => Kind::Float,
        Setter::Boolean(_) => Kind::Boolean,
        Setter::Strings(_) => Kind::Strings,
    })
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
}

const TABLE: [Row; 20] = [
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
        Setter::Integer(|o, n| o.num_thread = count(n)),
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
        }
        Ok(())
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

#[expect(
    clippy::cast_possible_truncation,
    reason = "options are single precision"
)]
fn float(value: &Value) -> Option<f32> {
    value.as_f64().map(|number| number as f32)
}

/// Saturates at the ends of the narrower type.
fn narrow(number: i64) -> i32 {
    i32::try_from(number).unwrap_or(if number < 0 { i32::MIN } else { i32::MAX })
}

fn count(number: i64) -> u32 {
    u32::try_from(number).unwrap_or(if number < 0 { 0 } else { u32::MAX })
}
