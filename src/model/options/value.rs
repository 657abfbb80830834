//! Reads the values of options from JSON as Ollama does: numbers of either kind, truncated and saturated.

use serde_json::Value;

/// The JSON type of an option, as Ollama's error texts name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Integer,
    Float,
    Boolean,
    Strings,
}

/// Added to the logits of single tokens, by token id; -∞ = never sampled.
pub type Biases = Vec<(i32, f32)>;

/// The type of an option.
pub trait OptionValue: Sized {
    /// The type of the value in a patch.
    type Given: Clone;

    /// `None` for options that cannot be given as text.
    const KIND: Option<Kind>;

    /// Reads a value that is not `null`.
    ///
    /// # Errors
    /// Says which type the value must have, in Ollama's words.
    fn read(value: &Value) -> Result<Self::Given, &'static str>;

    /// The option's value for a given one.
    fn of(given: Self::Given) -> Self;
}

/// Implements [`OptionValue`] for a type that is the same in a patch.
macro_rules! given_as_it_is {
    ($type:ty, $kind:expr, $read:expr) => {
        impl OptionValue for $type {
            type Given = Self;
            const KIND: Option<Kind> = $kind;

            fn read(value: &Value) -> Result<Self, &'static str> {
                $read(value)
            }

            fn of(given: Self) -> Self {
                given
            }
        }
    };
}

given_as_it_is!(i64, Some(Kind::Integer), integer);
given_as_it_is!(i32, Some(Kind::Integer), |value| integer(value).map(narrow));
given_as_it_is!(u32, Some(Kind::Integer), |value| integer(value).map(count));
given_as_it_is!(f32, Some(Kind::Float), |value: &Value| {
    value.as_f64().map(single).ok_or("type float32")
});
given_as_it_is!(bool, Some(Kind::Boolean), |value: &Value| {
    value.as_bool().ok_or("type boolean")
});
given_as_it_is!(Vec<String>, Some(Kind::Strings), strings);
given_as_it_is!(Biases, None, |value| {
    biases(value).ok_or("type object: token numbers with numbers")
});

/// An option that may stay unset.
impl<T: OptionValue> OptionValue for Option<T> {
    type Given = T::Given;
    const KIND: Option<Kind> = T::KIND;

    fn read(value: &Value) -> Result<T::Given, &'static str> {
        T::read(value)
    }

    fn of(given: T::Given) -> Self {
        Some(T::of(given))
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "a fraction is cut off, as Ollama does; the cast saturates"
)]
fn integer(value: &Value) -> Result<i64, &'static str> {
    let fraction = || value.as_f64().map(|number| number as i64);
    value.as_i64().or_else(fraction).ok_or("type integer")
}

fn strings(value: &Value) -> Result<Vec<String>, &'static str> {
    let items = value.as_array().ok_or("type array")?;
    let texts = items.iter().map(|item| item.as_str().map(str::to_owned));
    texts.collect::<Option<_>>().ok_or("an array of strings")
}

/// Reads `{"15043": 1.5}` as in OpenAI's requests, or `[[15043, 1.5]]` as in llama-server's; `false` instead of
/// a number forbids the token. `None` = the value has neither form.
pub fn biases(value: &Value) -> Option<Biases> {
    let bias = |value: &Value| match value {
        Value::Bool(false) => Some(f32::NEG_INFINITY),
        value => value.as_f64().map(single),
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

/// Rounds to single precision. Saturates as well: JSON, which carries the value to the runner, has no
/// infinity.
#[expect(
    clippy::cast_possible_truncation,
    reason = "options are single precision"
)]
pub fn single(number: f64) -> f32 {
    (number as f32).clamp(f32::MIN, f32::MAX)
}

/// Saturates at the ends of the narrower type.
pub fn narrow(number: i64) -> i32 {
    i32::try_from(number).unwrap_or(if number < 0 { i32::MIN } else { i32::MAX })
}

/// Saturates at 0 and at the maximum of the narrower type.
pub fn count(number: i64) -> u32 {
    u32::try_from(number).unwrap_or(if number < 0 { 0 } else { u32::MAX })
}
