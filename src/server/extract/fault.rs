//! Locates a value of a wrong type in a body, and reports it: with Go's error text on Ollama's routes, with
//! the field's path on OpenAI's.

use std::cell::RefCell;

use super::go_types::go_type;
use crate::server::error::ApiError;

/// How many characters of a number an error repeats.
const SHOWN: usize = 32;

/// The location of the wrong value, recorded from the inside out.
#[derive(Debug, Default)]
pub(super) struct Fault(RefCell<Found>);

#[derive(Debug, Default)]
struct Found {
    steps: Vec<Step>,
    /// The kind of the wrong value.
    value: Option<Kind>,
    /// The innermost type and field around it.
    field: Option<(&'static str, &'static str)>,
    /// The number of lists and maps between that field and the value.
    n_inside: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Field(&'static str),
    Item(usize),
    /// A key that the client chose.
    Key,
}

/// The kind of a JSON value.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    Array,
    Bool,
    Null,
    /// With its text.
    Number(String),
    Object,
    String,
}

impl Kind {
    fn of(text: &str) -> Self {
        match text.trim_ascii_start().bytes().next() {
            Some(b'[') => Self::Array,
            Some(b'{') => Self::Object,
            Some(b'"') => Self::String,
            Some(b't' | b'f') => Self::Bool,
            Some(b'n') | None => Self::Null,
            Some(_) => {
                let text = text.trim_ascii_start();
                let is_number = |c: &char| matches!(c, '0'..='9' | '-' | '+' | '.' | 'e' | 'E');
                Self::Number(text.chars().take_while(is_number).take(SHOWN).collect())
            }
        }
    }
}

impl Fault {
    /// Records that the wrong value is in this field.
    pub(super) fn in_field(&self, owner: &'static str, field: &'static str, text: &str) {
        let mut found = self.0.borrow_mut();
        found.value.get_or_insert_with(|| Kind::of(text));
        found.field.get_or_insert((owner, field));
        found.steps.push(Step::Field(field));
    }

    /// Records that the wrong value is in this element of a list.
    pub(super) fn in_item(&self, index: usize, text: &str) {
        self.inside(Step::Item(index), text);
    }

    /// Records that the wrong value is in a value of a map.
    pub(super) fn in_entry(&self, text: &str) {
        self.inside(Step::Key, text);
    }

    fn inside(&self, step: Step, text: &str) {
        let mut found = self.0.borrow_mut();
        found.value.get_or_insert_with(|| Kind::of(text));
        found.n_inside += usize::from(found.field.is_none());
        found.steps.push(step);
    }

    /// Makes Go's error text, if it is a type error; `root` is the body's type, `text` the body.
    pub(super) fn in_go(&self, root: &str, text: &str, error: &str) -> Option<String> {
        if !is_of_types(error) {
            return None;
        }
        let found = self.0.borrow();
        let Some((owner, field)) = found.field else {
            let value = word(&Kind::of(text));
            return Some(format!(
                "json: cannot unmarshal {value} into Go value of type api.{root}"
            ));
        };
        let kind = go_type(owner, field, found.n_inside)?;
        let value = match found.value.as_ref()? {
            // Only then is the number itself wrong.
            Kind::Number(text) if matches!(kind, "int" | "int64") => format!("number {text}"),
            value => word(value).to_owned(),
        };
        let fields = found.steps.iter().rev().filter_map(|step| match step {
            Step::Field(name) => Some(*name),
            Step::Item(_) | Step::Key => None,
        });
        let path = fields.collect::<Vec<_>>().join(".");
        // In Ollama, messages have their own decoder, after which errors name only the outermost type.
        let owner = if path.starts_with("messages.") {
            root
        } else {
            owner
        };
        Some(format!(
            "json: cannot unmarshal {value} into Go struct field {owner}.{path} of type {kind}"
        ))
    }

    /// The path of the wrong value, such as `messages[0].role`.
    fn path(&self) -> Option<String> {
        let mut path = String::new();
        for step in self.0.borrow().steps.iter().rev() {
            match step {
                Step::Field(name) if path.is_empty() => path.push_str(name),
                Step::Field(name) => {
                    path.push('.');
                    path.push_str(name);
                }
                Step::Item(index) => path.push_str(&format!("[{index}]")),
                // Do not repeat a key that the client chose.
                Step::Key => break,
            }
        }
        (!path.is_empty()).then_some(path)
    }

    /// Makes the error for OpenAI's routes, with the field.
    pub(super) fn in_openai(&self, error: &str) -> ApiError {
        let Some(path) = self.path() else {
            return ApiError::invalid(error);
        };
        if !is_of_types(error) {
            return ApiError::invalid(error).about(path, "invalid_value");
        }
        let expected = error
            .rsplit_once("expected ")
            .map_or(error, |(_, kind)| kind);
        let expected = match expected {
            "i64" | "u64" | "i32" | "u32" => "an integer",
            "f64" | "f32" => "a number",
            "a sequence" => "an array",
            "a map" => "an object",
            other => other,
        };
        let got = match &self.0.borrow().value {
            Some(Kind::Array) => "an array",
            Some(Kind::Bool) => "a boolean",
            Some(Kind::Number(_)) => "a number",
            Some(Kind::Object) => "an object",
            Some(Kind::String) => "a string",
            Some(Kind::Null) | None => "null",
        };
        let message =
            format!("Invalid type for '{path}': expected {expected}, but got {got} instead.");
        ApiError::invalid(message).about(path, "invalid_type")
    }
}

fn is_of_types(error: &str) -> bool {
    error.starts_with("invalid type: ") || error.starts_with("invalid value: ")
}

/// Go's name of a kind of value.
fn word(kind: &Kind) -> &'static str {
    match kind {
        Kind::Array => "array",
        Kind::Bool => "bool",
        Kind::Null => "null",
        Kind::Number(_) => "number",
        Kind::Object => "object",
        Kind::String => "string",
    }
}
