//! Go's `Sprintf`: verbs, flags, and its error messages inside the text.

use super::format::{self, Sink};
use super::value::{Content, Value};
use super::{escape, number};

/// Go's largest width or precision.
const MAX_WIDTH: usize = 1_000_000;

/// The flags between `%` and the verb.
#[derive(Debug, Clone, Copy, Default)]
struct Spec {
    plus: bool,
    minus: bool,
    sharp: bool,
    space: bool,
    zero: bool,
    width: Option<usize>,
    precision: Option<usize>,
}

/// Formats the arguments.
pub(super) fn printf(out: &mut Sink, format: &[u8], arguments: &[Value]) {
    let text = String::from_utf8_lossy(format);
    let mut printer = Printer {
        rest: &text,
        arguments,
        next: 0,
        is_reordered: false,
    };
    while let Some((plain, rest)) = printer.rest.split_once('%') {
        out.push(plain);
        printer.rest = rest;
        printer.directive(out);
        if out.is_full() {
            return;
        }
    }
    out.push(printer.rest);
    printer.complain_of_extra(out);
}

struct Printer<'a> {
    rest: &'a str,
    arguments: &'a [Value],
    next: usize,
    /// Arguments were chosen by index, so none counts as extra.
    is_reordered: bool,
}

impl Printer<'_> {
    fn directive(&mut self, out: &mut Sink) {
        let mut spec = self.flags();
        let mut is_good = self.argument_index();
        if self.accept("*") {
            match self.star() {
                Some(width) => {
                    spec.minus |= width < 0;
                    spec.width = usize::try_from(width.unsigned_abs()).ok();
                }
                None => out.push("%!(BADWIDTH)"),
            }
        } else {
            spec.width = self.digits();
        }
        if self.accept(".") {
            is_good &= self.argument_index();
            if self.accept("*") {
                let precision = self.star();
                spec.precision = precision.and_then(|precision| usize::try_from(precision).ok());
                if precision.is_none() {
                    out.push("%!(BADPREC)");
                }
            } else {
                spec.precision = Some(self.digits().unwrap_or(0));
            }
        }
        is_good &= self.argument_index();
        let mut characters = self.rest.chars();
        let Some(verb) = characters.next() else {
            out.push("%!(NOVERB)");
            return;
        };
        self.rest = characters.as_str();
        if verb == '%' {
            out.push("%");
        } else if !is_good {
            out.push(&format!("%!{verb}(BADINDEX)"));
        } else if let Some(argument) = self.arguments.get(self.next) {
            self.next += 1;
            print(out, argument, verb, spec);
        } else {
            out.push(&format!("%!{verb}(MISSING)"));
        }
    }

    fn flags(&mut self) -> Spec {
        let mut spec = Spec::default();
        loop {
            let flag = match self.rest.as_bytes().first() {
                Some(b'+') => &mut spec.plus,
                Some(b'-') => &mut spec.minus,
                Some(b'#') => &mut spec.sharp,
                Some(b' ') => &mut spec.space,
                Some(b'0') => &mut spec.zero,
                _ => return spec,
            };
            *flag = true;
            self.rest = self.rest.get(1..).unwrap_or_default();
        }
    }

    fn accept(&mut self, sign: &str) -> bool {
        let rest = self.rest.strip_prefix(sign);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn digits(&mut self) -> Option<usize> {
        let tail = self.rest.trim_start_matches(|c: char| c.is_ascii_digit());
        let digits = self.rest.get(..self.rest.len() - tail.len())?;
        self.rest = tail;
        let number: usize = digits.parse().ok()?;
        Some(number.min(MAX_WIDTH))
    }

    /// Takes a width or precision from the arguments.
    fn star(&mut self) -> Option<i64> {
        let argument = self.arguments.get(self.next);
        self.next += 1;
        match argument {
            Some(Value::Int(number)) if number.unsigned_abs() <= MAX_WIDTH as u64 => Some(*number),
            _ => None,
        }
    }

    /// `[n]`, if there is one: false if there is no such argument.
    fn argument_index(&mut self) -> bool {
        let Some(inside) = self.rest.strip_prefix('[') else {
            return true;
        };
        self.is_reordered = true;
        let Some((number, rest)) = inside.split_once(']') else {
            self.rest = inside;
            return false;
        };
        self.rest = rest;
        match number.parse::<usize>() {
            Ok(number) if (1..=self.arguments.len()).contains(&number) => {
                self.next = number - 1;
                true
            }
            _ => false,
        }
    }

    fn complain_of_extra(&self, out: &mut Sink) {
        let extra = self.arguments.get(self.next..).unwrap_or_default();
        if self.is_reordered || extra.is_empty() {
            return;
        }
        out.push("%!(EXTRA ");
        for (index, argument) in extra.iter().enumerate() {
            out.push(if index > 0 { ", " } else { "" });
            if !argument.is_nil() {
                out.push(argument.type_name());
                out.push("=");
            }
            format::value(out, argument);
        }
        out.push(")");
    }
}

/// One argument; verbs reach into lists and maps.
fn print(out: &mut Sink, value: &Value, verb: char, spec: Spec) {
    if out.is_full() {
        return;
    }
    if verb == 'T' {
        pad(out, value.type_name().as_bytes(), spec);
        return;
    }
    if verb == 'v' && spec.sharp {
        go_syntax(out, value);
        return;
    }
    match value {
        Value::Absent | Value::Nil if verb == 'v' => pad(out, b"<nil>", spec),
        Value::Absent | Value::Nil => out.push(&format!("%!{verb}(<nil>)")),
        Value::Bool(truth) if matches!(verb, 't' | 'v') => {
            pad(out, truth.to_string().as_bytes(), spec);
        }
        Value::Int(number) if integer(out, *number, verb, spec) => {}
        Value::Float(number) if float(out, *number, verb, spec) => {}
        Value::String(bytes) if string(out, bytes, verb, spec) => {}
        Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::String(_) => {
            bad_verb(out, value, verb);
        }
        Value::List(list) => {
            out.push("[");
            sequence(out, list.items().iter(), (verb, spec));
            out.push("]");
        }
        Value::Map(map) => {
            out.push("map[");
            for (index, (key, item)) in map.iter().enumerate() {
                out.push(if index > 0 { " " } else { "" });
                print(out, &Value::from(key.as_str()), verb, spec);
                out.push(":");
                print(out, item, verb, spec);
            }
            out.push("]");
        }
        Value::Typed(typed) => match (&typed.text, &typed.content) {
            (Some(text), _) if string(out, text.as_bytes(), verb, spec) => {}
            (_, Content::Plain(inner)) => print(out, inner, verb, spec),
            (_, Content::Fields(fields)) => {
                out.push("{");
                sequence(out, fields.iter().map(|(_, field)| field), (verb, spec));
                out.push("}");
            }
        },
    }
}

fn sequence<'a>(
    out: &mut Sink,
    items: impl Iterator<Item = &'a Value>,
    (verb, spec): (char, Spec),
) {
    for (index, item) in items.enumerate() {
        out.push(if index > 0 { " " } else { "" });
        print(out, item, verb, spec);
    }
}

fn bad_verb(out: &mut Sink, value: &Value, verb: char) {
    out.push(&format!("%!{verb}({}=", value.type_name()));
    format::value(out, value);
    out.push(")");
}

fn integer(out: &mut Sink, number: i64, verb: char, spec: Spec) -> bool {
    let magnitude = number.unsigned_abs();
    let character = u32::try_from(number).ok().and_then(char::from_u32);
    let character = character.unwrap_or('\u{fffd}');
    let (prefix, digits) = match verb {
        'v' | 'd' => ("", magnitude.to_string()),
        'b' => ("0b", format!("{magnitude:b}")),
        'o' => ("0", format!("{magnitude:o}")),
        'O' => ("0o", format!("{magnitude:o}")),
        'x' => ("0x", format!("{magnitude:x}")),
        'X' => ("0X", format!("{magnitude:X}")),
        'c' => {
            pad(out, character.to_string().as_bytes(), spec);
            return true;
        }
        'q' => {
            pad(
                out,
                escape::quote_char(character, spec.plus).as_bytes(),
                spec,
            );
            return true;
        }
        'U' => {
            pad(out, format!("U+{number:04X}").as_bytes(), spec);
            return true;
        }
        _ => return false,
    };
    let prefix = if spec.sharp || verb == 'O' {
        prefix
    } else {
        ""
    };
    let precision = spec.precision.unwrap_or(0);
    let digits = format!(
        "{}{digits}",
        "0".repeat(precision.saturating_sub(digits.len()))
    );
    let spec = Spec {
        zero: spec.zero && spec.precision.is_none(),
        ..spec
    };
    signed(out, number < 0, &format!("{prefix}{digits}"), spec);
    true
}

fn float(out: &mut Sink, number: f64, verb: char, spec: Spec) -> bool {
    let precision = spec.precision.unwrap_or(6);
    let text = match verb {
        'v' | 'g' => number::general(number, spec.precision),
        'G' => number::general(number, spec.precision).to_uppercase(),
        'e' => number::scientific(number, precision),
        'E' => number::scientific(number, precision).to_uppercase(),
        'f' | 'F' => number::fixed(number, precision),
        _ => return false,
    };
    let unsigned = text.trim_start_matches(['+', '-']);
    let spec = Spec {
        zero: spec.zero && number.is_finite(),
        plus: spec.plus || text.starts_with('+'),
        ..spec
    };
    signed(out, text.starts_with('-'), unsigned, spec);
    true
}

/// Prints a number with its sign; padding zeros go between the two.
fn signed(out: &mut Sink, is_negative: bool, unsigned: &str, spec: Spec) {
    let sign = match (is_negative, spec.plus, spec.space) {
        (true, ..) => "-",
        (_, true, _) => "+",
        (.., true) => " ",
        _ => "",
    };
    let missing = spec.width.unwrap_or(0);
    let missing = missing.saturating_sub(sign.len() + unsigned.len());
    if spec.zero && !spec.minus {
        out.push(sign);
        out.push(&"0".repeat(missing));
        out.push(unsigned);
    } else {
        pad(out, format!("{sign}{unsigned}").as_bytes(), spec);
    }
}

fn string(out: &mut Sink, bytes: &[u8], verb: char, spec: Spec) -> bool {
    let cut = match spec.precision {
        Some(precision) if matches!(verb, 'v' | 's' | 'q') => truncate(bytes, precision),
        Some(precision) => bytes.get(..precision).unwrap_or(bytes),
        None => bytes,
    };
    match verb {
        'v' | 's' => pad(out, cut, spec),
        'q' if spec.sharp && !cut.contains(&b'`') && is_plain_text(cut) => {
            let raw = [b"`", cut, b"`"].concat();
            pad(out, &raw, spec);
        }
        'q' => pad(out, escape::quote(cut, spec.plus).as_bytes(), spec),
        'x' | 'X' => {
            let separator = if spec.space { " " } else { "" };
            let hex: Vec<String> = cut.iter().map(|byte| format!("{byte:02x}")).collect();
            let hex = hex.join(separator);
            let hex = if verb == 'X' { hex.to_uppercase() } else { hex };
            pad(out, hex.as_bytes(), spec);
        }
        _ => return false,
    }
    true
}

fn is_plain_text(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes)
        .is_ok_and(|text| text.chars().all(|c| c == '\t' || escape::is_printable(c)))
}

/// The first characters.
fn truncate(bytes: &[u8], characters: usize) -> &[u8] {
    let starts = bytes
        .iter()
        .enumerate()
        .filter(|(_, byte)| **byte & 0xc0 != 0x80);
    let end = starts.map(|(at, _)| at).nth(characters);
    end.and_then(|end| bytes.get(..end)).unwrap_or(bytes)
}

/// Pads with spaces to the width, which counts characters.
fn pad(out: &mut Sink, bytes: &[u8], spec: Spec) {
    let width = spec.width.unwrap_or(0);
    let length = if width > 0 {
        String::from_utf8_lossy(bytes).chars().count()
    } else {
        0
    };
    let padding = " ".repeat(width.saturating_sub(length));
    if spec.minus {
        out.push_bytes(bytes);
        out.push(&padding);
    } else {
        out.push(&padding);
        out.push_bytes(bytes);
    }
}

/// Go's `%#v`.
fn go_syntax(out: &mut Sink, value: &Value) {
    match value {
        Value::String(bytes) => out.push(&escape::quote(bytes, false)),
        Value::List(list) => {
            out.push("[]interface {}{");
            for (index, item) in list.items().iter().enumerate() {
                out.push(if index > 0 { ", " } else { "" });
                go_syntax(out, item);
            }
            out.push("}");
        }
        Value::Map(map) => {
            out.push("map[string]interface {}{");
            for (index, (key, item)) in map.iter().enumerate() {
                out.push(if index > 0 { ", " } else { "" });
                out.push(&escape::quote(key.as_bytes(), false));
                out.push(":");
                go_syntax(out, item);
            }
            out.push("}");
        }
        other => format::value(out, other),
    }
}
