//! Functions that chat templates expect beyond the language: `raise_exception`, `strftime_now`, and
//! `tojson` with Python's spacing and keyword arguments.

use std::io;

use jiff::ZonedDateTime;
use minijinja::value::Kwargs;
use minijinja::{Environment, Error, ErrorKind, Value};
use serde::Serialize;
use serde_json::ser::{Formatter, PrettyFormatter};

/// Adds the functions and filters to an environment.
pub(super) fn install(environment: &mut Environment<'_>) {
    environment.add_function("raise_exception", raise_exception);
    environment.add_filter("tojson", to_json);
    // Python cannot iterate over None; minijinja can.
    environment.add_test("iterable", |value: &Value| {
        !value.is_none() && value.try_iter().is_ok()
    });
}

fn raise_exception(message: String) -> Result<Value, Error> {
    Err(Error::new(ErrorKind::InvalidOperation, message))
}

/// Returns the function `strftime_now(format)` for one rendering.
pub(super) fn strftime_now(now: Option<&ZonedDateTime>) -> Value {
    let now = now.cloned();
    Value::from_function(move |format: String| {
        let now = now.clone().unwrap_or_else(ZonedDateTime::now);
        jiff::fmt::strtime::format(&format, &now)
            .map_err(|error| Error::new(ErrorKind::InvalidOperation, error.to_string()))
    })
}

/// Adds today's date under the names and in the forms that llama.cpp gives: Llama 3.x reads
/// `date_string`, firefunction-v2 `datetime`.
pub(super) fn add_dates(variables: &mut serde_json::Value, now: Option<&ZonedDateTime>) {
    let now = now.cloned().unwrap_or_else(ZonedDateTime::now);
    variables["date_string"] = now.strftime("%d %b %Y").to_string().into();
    variables["datetime"] = now.strftime("%b %d %Y").to_string().into();
}

/// `json.dumps` with `ensure_ascii=False`: separators `, ` and `: `, no HTML escapes.
fn to_json(value: &Value, kwargs: Kwargs) -> Result<Value, Error> {
    let indent: Option<usize> = kwargs.get("indent")?;
    let _: Option<bool> = kwargs.get("ensure_ascii")?;
    let sort_keys: Option<bool> = kwargs.get("sort_keys")?;
    let separators: Option<Vec<String>> = kwargs.get("separators")?;
    kwargs.assert_all_used()?;
    let mut json = serde_json::to_value(value).map_err(bad)?;
    if sort_keys == Some(true) {
        json.sort_all_objects();
    }
    let text = match (indent, separators.as_deref()) {
        (Some(width), _) => {
            let spaces = " ".repeat(width.min(16));
            write(&json, PrettyFormatter::with_indent(spaces.as_bytes()))?
        }
        (None, Some([item, key])) => write(&json, Python { item, key })?,
        (None, _) => write(
            &json,
            Python {
                item: ", ",
                key: ": ",
            },
        )?,
    };
    Ok(Value::from_safe_string(text))
}

fn write(json: &serde_json::Value, formatter: impl Formatter) -> Result<String, Error> {
    let mut text = Vec::new();
    let mut serializer = serde_json::Serializer::with_formatter(&mut text, formatter);
    json.serialize(&mut serializer).map_err(bad)?;
    String::from_utf8(text)
        .map_err(|error| Error::new(ErrorKind::BadSerialization, error.to_string()))
}

fn bad(error: serde_json::Error) -> Error {
    Error::new(ErrorKind::BadSerialization, error.to_string())
}

/// Separators as Python's `json.dumps` puts them on one line.
struct Python<'a> {
    item: &'a str,
    key: &'a str,
}

impl Formatter for Python<'_> {
    fn begin_array_value<W: ?Sized + io::Write>(
        &mut self,
        out: &mut W,
        first: bool,
    ) -> io::Result<()> {
        if first {
            Ok(())
        } else {
            out.write_all(self.item.as_bytes())
        }
    }

    fn begin_object_key<W: ?Sized + io::Write>(
        &mut self,
        out: &mut W,
        first: bool,
    ) -> io::Result<()> {
        if first {
            Ok(())
        } else {
            out.write_all(self.item.as_bytes())
        }
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, out: &mut W) -> io::Result<()> {
        out.write_all(self.key.as_bytes())
    }
}
