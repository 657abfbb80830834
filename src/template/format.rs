//! How values print without a verb: in the output, through `print` and `println`.

use super::number;
use super::value::{Content, Value};

/// Collects bytes up to a limit; beyond it, it only records that there was more.
#[derive(Debug)]
pub(super) struct Sink {
    bytes: Vec<u8>,
    limit: usize,
    is_full: bool,
}

impl Sink {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            bytes: Vec::new(),
            limit,
            is_full: false,
        }
    }

    pub(super) fn push(&mut self, text: &str) {
        self.push_bytes(text.as_bytes());
    }

    pub(super) fn push_bytes(&mut self, bytes: &[u8]) {
        if self.is_full || bytes.len() > self.limit - self.bytes.len() {
            self.is_full = true;
        } else {
            self.bytes.extend_from_slice(bytes);
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.is_full
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

/// Go's `%v`; nil prints as `<nil>`.
pub(super) fn value(out: &mut Sink, value: &Value) {
    match value {
        Value::Absent | Value::Nil => out.push("<nil>"),
        Value::Bool(value) => out.push(if *value { "true" } else { "false" }),
        Value::Int(value) => out.push(&value.to_string()),
        Value::Float(value) => out.push(&number::general(*value, None)),
        Value::String(bytes) => out.push_bytes(bytes),
        Value::List(list) => {
            out.push("[");
            sequence(out, list.items().iter());
            out.push("]");
        }
        Value::Map(map) => {
            out.push("map[");
            for (index, (key, item)) in map.iter().enumerate() {
                out.push(if index > 0 { " " } else { "" });
                out.push(key);
                out.push(":");
                self::value(out, item);
            }
            out.push("]");
        }
        Value::Typed(typed) => match (&typed.text, &typed.content) {
            (Some(text), _) => out.push(text),
            (None, Content::Plain(inner)) => self::value(out, inner),
            (None, Content::Fields(fields)) => {
                out.push("{");
                sequence(out, fields.iter().map(|(_, field)| field));
                out.push("}");
            }
        },
    }
}

fn sequence<'a>(out: &mut Sink, items: impl Iterator<Item = &'a Value>) {
    for (index, item) in items.enumerate() {
        if out.is_full() {
            return;
        }
        out.push(if index > 0 { " " } else { "" });
        value(out, item);
    }
}

/// What an action prints: as `%v`, but nil prints as `<no value>`.
pub(super) fn action(out: &mut Sink, printed: &Value) {
    if printed.is_nil() {
        out.push("<no value>");
    } else {
        value(out, printed);
    }
}

/// Go's `Sprint`: a space between two neighbors if neither is a string.
pub(super) fn print(out: &mut Sink, arguments: &[Value]) {
    let mut after_string = true;
    for argument in arguments {
        let is_string = matches!(argument, Value::String(_));
        if !after_string && !is_string {
            out.push(" ");
        }
        value(out, argument);
        after_string = is_string;
    }
}

/// Go's `Sprintln`.
pub(super) fn println(out: &mut Sink, arguments: &[Value]) {
    sequence(out, arguments.iter());
    out.push("\n");
}
