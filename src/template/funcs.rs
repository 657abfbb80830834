//! The functions: Go's own and the four that Ollama adds. `and` and `or` are in `eval`, because they do not
//! evaluate all their arguments.

use std::cmp::Ordering;
use std::sync::Arc;

use jiff::{ToSpan, ZonedDateTime};

use super::format::{self, Sink};
use super::printf::printf;
use super::value::{Content, Value};
use super::{MAX_BYTES, compare, escape, json};

type Arguments<'a> = &'a [Value];
type Result<T = Value> = std::result::Result<T, String>;

/// A function with its allowed numbers of arguments; `most` is `None` for variadic functions.
pub(super) struct Function {
    pub(super) name: &'static str,
    pub(super) least: usize,
    pub(super) most: Option<usize>,
    pub(super) call: fn(Arguments<'_>) -> Result,
}

const fn function(
    name: &'static str,
    (least, most): (usize, Option<usize>),
    call: fn(Arguments<'_>) -> Result,
) -> Function {
    Function {
        name,
        least,
        most,
        call,
    }
}

const ANY: (usize, Option<usize>) = (0, None);
const ONE: (usize, Option<usize>) = (1, Some(1));
const TWO: (usize, Option<usize>) = (2, Some(2));
const SOME: (usize, Option<usize>) = (1, None);

const FUNCTIONS: &[Function] = &[
    function("and", SOME, last),
    function("call", SOME, call),
    function("currentDate", ANY, |_| Ok(date(0))),
    function("eq", SOME, |args| {
        compare::equals_any(&args[0], &args[1..]).map(Value::Bool)
    }),
    function("ge", TWO, |args| ordered(args, Ordering::is_ge)),
    function("gt", TWO, |args| ordered(args, Ordering::is_gt)),
    function("html", ANY, |args| text(args, escape::html)),
    function("index", SOME, index),
    function("js", ANY, |args| text(args, escape::js)),
    function("json", ONE, to_json),
    function("le", TWO, |args| ordered(args, Ordering::is_le)),
    function("len", ONE, len),
    function("lt", TWO, |args| ordered(args, Ordering::is_lt)),
    function("ne", TWO, |args| {
        compare::equals_any(&args[0], &args[1..]).map(|equal| Value::Bool(!equal))
    }),
    function("not", ONE, |args| Ok(Value::Bool(!args[0].is_true()))),
    function("or", SOME, last),
    function("print", ANY, |args| produce(|out| format::print(out, args))),
    function("printf", SOME, formatted),
    function("println", ANY, |args| {
        produce(|out| format::println(out, args))
    }),
    function("slice", SOME, slice),
    function("toTypeScriptType", ONE, |args| {
        Ok(type_script(&args[0], 0).into())
    }),
    function("urlquery", ANY, |args| text(args, escape::url_query)),
    function("yesterdayDate", ANY, |_| Ok(date(1))),
];

/// The function of a name.
pub(super) fn find(name: &str) -> Option<&'static Function> {
    FUNCTIONS.iter().find(|function| function.name == name)
}

/// `and` and `or`, when the earlier arguments did not decide the result.
fn last(arguments: Arguments<'_>) -> Result {
    Ok(arguments.last().cloned().unwrap_or(Value::Nil))
}

/// No value is a function; `eval` reports it with the operand's spelling where it has one.
fn call(arguments: Arguments<'_>) -> Result {
    let name = arguments[0].type_name();
    Err(format!("non-function of type {name}"))
}

fn date(days_ago: i64) -> Value {
    let now = ZonedDateTime::now();
    let day = now.checked_sub(days_ago.days()).unwrap_or(now);
    day.strftime("%Y-%m-%d").to_string().into()
}

fn ordered(arguments: Arguments<'_>, holds: fn(Ordering) -> bool) -> Result {
    let order = compare::order(&arguments[0], &arguments[1])?;
    Ok(Value::Bool(order.is_some_and(holds)))
}

/// Runs a writer under the limit for the output of functions.
fn produce(write: impl FnOnce(&mut Sink)) -> Result {
    let mut out = Sink::new(MAX_BYTES);
    write(&mut out);
    finish(out)
}

fn finish(out: Sink) -> Result {
    if out.is_full() {
        return Err("result too long".to_owned());
    }
    Ok(Value::bytes(out.into_bytes()))
}

/// The arguments as one text, escaped.
fn text(arguments: Arguments<'_>, escape: fn(&[u8]) -> Vec<u8>) -> Result {
    if let [Value::String(bytes)] = arguments {
        return Ok(Value::bytes(escape(bytes)));
    }
    let shown: Vec<Value> = arguments
        .iter()
        .map(|argument| {
            if argument.is_nil() {
                "<no value>".into()
            } else {
                argument.clone()
            }
        })
        .collect();
    match produce(|out| format::print(out, &shown))? {
        Value::String(bytes) => Ok(Value::bytes(escape(&bytes))),
        other => Ok(other),
    }
}

fn to_json(arguments: Arguments<'_>) -> Result {
    let mut out = Sink::new(MAX_BYTES);
    json::write(&mut out, &arguments[0])?;
    finish(out)
}

fn formatted(arguments: Arguments<'_>) -> Result {
    let Value::String(format) = &arguments[0] else {
        let name = arguments[0].type_name();
        return Err(format!("wrong type for value; expected string; got {name}"));
    };
    produce(|out| printf(out, format, &arguments[1..]))
}

fn len(arguments: Arguments<'_>) -> Result {
    let length = match arguments[0].plain() {
        Value::Absent | Value::Nil => return Err("len of nil pointer".to_owned()),
        Value::String(bytes) => bytes.len(),
        Value::List(list) => list.items().len(),
        Value::Map(map) => map.len(),
        other => return Err(format!("len of type {}", other.type_name())),
    };
    Ok(Value::Int(i64::try_from(length).unwrap_or(i64::MAX)))
}

/// Checks an index into a list or string; the length itself is allowed, as the end of a slice.
fn place(index: &Value, length: usize) -> Result<usize> {
    match index {
        Value::Int(at) => usize::try_from(*at)
            .ok()
            .filter(|place| *place <= length)
            .ok_or_else(|| format!("index out of range: {at}")),
        Value::Absent | Value::Nil => Err("cannot index slice/array with nil".to_owned()),
        other => {
            let name = other.type_name();
            Err(format!("cannot index slice/array with type {name}"))
        }
    }
}

/// `index x 1 2` is `x[1][2]`.
fn index(arguments: Arguments<'_>) -> Result {
    let mut item = arguments[0].clone();
    if item.is_nil() {
        return Err("index of untyped nil".to_owned());
    }
    for key in &arguments[1..] {
        let found = match item.plain() {
            Value::List(list) => {
                let at = place(key, list.items().len())?;
                list.items().get(at).cloned()
            }
            Value::String(bytes) => {
                let at = place(key, bytes.len())?;
                bytes.get(at).map(|byte| Value::Int(i64::from(*byte)))
            }
            Value::Map(map) => Some(map.get(&map_key(key)?).cloned().unwrap_or(Value::Nil)),
            Value::Absent | Value::Nil => return Err("index of nil pointer".to_owned()),
            other => return Err(format!("can't index item of type {}", other.type_name())),
        };
        let Some(found) = found else {
            return Err("reflect: slice index out of range".to_owned());
        };
        item = found;
    }
    Ok(item)
}

fn map_key(key: &Value) -> Result<String> {
    match key {
        Value::String(bytes) => Ok(String::from_utf8_lossy(bytes).into_owned()),
        Value::Absent | Value::Nil => Err("value is nil; should be of type string".to_owned()),
        other => {
            let name = other.type_name();
            Err(format!("value has type {name}; should be string"))
        }
    }
}

/// `slice x 1 2` is `x[1:2]`.
fn slice(arguments: Arguments<'_>) -> Result {
    let indices = &arguments[1..];
    if arguments[0].is_nil() {
        return Err("slice of untyped nil".to_owned());
    }
    if indices.len() > 3 {
        return Err(format!("too many slice indexes: {}", indices.len()));
    }
    let item = arguments[0].plain();
    let (length, capacity) = match item {
        Value::String(_) if indices.len() == 3 => {
            return Err("cannot 3-index slice a string".to_owned());
        }
        Value::String(bytes) => (bytes.len(), bytes.len()),
        Value::List(list) => (list.items().len(), list.capacity()),
        other => return Err(format!("can't slice item of type {}", other.type_name())),
    };
    let mut bounds = [0, length, capacity];
    for (bound, index) in bounds.iter_mut().zip(indices) {
        *bound = place(index, capacity)?;
    }
    let [start, end, capacity] = bounds;
    let wrong = if start > end {
        Some((start, end))
    } else {
        (end > capacity).then_some((end, capacity))
    };
    if let Some((low, high)) = wrong {
        return Err(format!("invalid slice index: {low} > {high}"));
    }
    Ok(match item {
        Value::String(bytes) => Value::String(Arc::from(bytes.get(start..end).unwrap_or_default())),
        Value::List(list) => Value::List(list.part(start, end)),
        _ => Value::Nil,
    })
}

/// The type of a tool's property in TypeScript; a struct or a map with `AnyOf` and `Type`.
fn type_script(property: &Value, depth: usize) -> String {
    const ANY: &str = "any";
    /// JSON itself is not nested deeper than this.
    const MAX_ANY_OF: usize = 128;
    let Value::Typed(typed) = property else {
        return ANY.to_owned();
    };
    let Content::Fields(fields) = &typed.content else {
        return ANY.to_owned();
    };
    let field = |name: &str| {
        let found = fields.iter().find(|(field, _)| *field == name);
        match found.map(|(_, value)| value.plain()) {
            Some(Value::List(list)) => list.items(),
            _ => &[],
        }
    };
    let (variants, names) = (field("AnyOf"), field("Type"));
    let spelled: Vec<String> = if variants.is_empty() || depth > MAX_ANY_OF {
        names
            .iter()
            .map(|name| type_name(name).to_owned())
            .collect()
    } else {
        let variants = variants.iter();
        variants
            .map(|variant| type_script(variant, depth + 1))
            .collect()
    };
    if spelled.is_empty() {
        return ANY.to_owned();
    }
    spelled.join(" | ")
}

fn type_name(name: &Value) -> &'static str {
    let Value::String(name) = name else {
        return "any";
    };
    match name.as_ref() {
        b"string" => "string",
        b"number" | b"integer" => "number",
        b"boolean" => "boolean",
        b"array" => "any[]",
        b"object" => "Record<string, any>",
        b"null" => "null",
        _ => "any",
    }
}
