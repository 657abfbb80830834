//! Repairs arguments that cannot be read: the mistakes that small models make most often.

use super::QUOTE;
use super::arguments::{delimited, key_end, quoted_end};
use crate::chat::ToolDefinition;
use crate::chat::typed::{Properties, TypedProperty, TypedTool};

/// Repaired texts to try, the most careful repair first.
pub(super) fn candidates(text: &str, tool: Option<&ToolDefinition>) -> Vec<String> {
    let mut candidates = vec![mend(text, false)];
    let properties = tool.and_then(|tool| TypedTool::from(tool).function.parameters.properties);
    if let Some(raw) = properties.and_then(|properties| quote_bare_text(text, &properties)) {
        candidates.push(mend(&raw, true));
    }
    candidates
}

/// A brace is added only if something else was repaired, too: then the text was cut off.
fn mend(text: &str, may_close: bool) -> String {
    let mended = close_text(&single_quotes(text));
    if may_close || mended != text {
        close_object(&mended)
    } else {
        mended
    }
}

/// Closes an open text, before the brackets that follow it.
fn close_text(text: &str) -> String {
    if text.matches(QUOTE).count().is_multiple_of(2) {
        return text.to_owned();
    }
    let trimmed = text.trim_end();
    let end = match trimmed.strip_suffix(['}', ']']) {
        Some(before) => before.len(),
        None => trimmed.len(),
    };
    format!("{}{QUOTE}{}", &text[..end], &text[end..])
}

fn close_object(text: &str) -> String {
    let trimmed = text.trim_end();
    if !text.trim_start().starts_with('{') || trimmed.ends_with('}') {
        return text.to_owned();
    }
    format!("{trimmed}}}")
}

/// Turns values in single quotes into texts.
fn single_quotes(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(sign) = rest.chars().next() {
        if let Some((_, after)) = delimited(rest) {
            out.push_str(&rest[..rest.len() - after.len()]);
            rest = after;
            continue;
        }
        if rest.starts_with(QUOTE) {
            break;
        }
        if let Some(end) = quoted_end(rest) {
            out.push_str(&rest[..end]);
            rest = &rest[end..];
            continue;
        }
        out.push(sign);
        rest = &rest[sign.len_utf8()..];
        if sign != ':' {
            continue;
        }
        let value = rest.trim_start();
        out.push_str(&rest[..rest.len() - value.len()]);
        rest = value;
        if let Some((inside, after)) = single_quoted(value) {
            out.push_str(QUOTE);
            out.push_str(inside);
            out.push_str(QUOTE);
            rest = after.strip_prefix(QUOTE).unwrap_or(after);
        }
    }
    out.push_str(rest);
    out
}

fn single_quoted(text: &str) -> Option<(&str, &str)> {
    let inside = text.strip_prefix('\'')?;
    let mut escaped = false;
    for (at, c) in inside.char_indices() {
        if c == '\'' && !escaped {
            return Some((&inside[..at], &inside[at + 1..]));
        }
        escaped = c == '\\' && !escaped;
    }
    None
}

/// Puts quotes around a bare value where the tool says that it is a text.
fn quote_bare_text(text: &str, properties: &Properties) -> Option<String> {
    let texts = properties.iter().filter(|(_, property)| is_text(property));
    texts.into_iter().find_map(|(key, _)| {
        let mut from = 0;
        while let Some(start) = value_start(text, key, from) {
            if is_structured(text[start..].trim_start()) {
                from = start;
                continue;
            }
            let end = bare_end(text, start, properties);
            return Some(format!(
                "{}{QUOTE}{}{QUOTE}{}",
                &text[..start],
                &text[start..end],
                &text[end..]
            ));
        }
        None
    })
}

fn is_text(property: &TypedProperty) -> bool {
    property
        .kinds
        .iter()
        .any(|kind| kind.eq_ignore_ascii_case("string"))
        || property.any_of.iter().any(is_text)
}

fn is_structured(value: &str) -> bool {
    let signs = ['\'', '"', '{', '[', '-', 't', 'f', 'n'];
    value.starts_with(QUOTE)
        || value.starts_with(signs)
        || value.starts_with(|c: char| c.is_ascii_digit())
}

/// Where the value of a key begins, outside texts.
fn value_start(text: &str, key: &str, from: usize) -> Option<usize> {
    let mut at = from;
    while let Some(sign) = text[at..].chars().next() {
        let rest = &text[at..];
        if rest.starts_with(QUOTE) {
            let (_, after) = delimited(rest)?;
            at = text.len() - after.len();
            continue;
        }
        if let Some(end) = quoted_end(rest) {
            at += end;
            continue;
        }
        at += sign.len_utf8();
        if matches!(sign, '{' | ',')
            && let Some(after) = text[at..].trim_start().strip_prefix(key)
            && let Some(value) = after.trim_start().strip_prefix(':')
        {
            return Some(text.len() - value.len());
        }
    }
    None
}

/// Where a bare value ends: before the next key that the tool knows, or the last brace.
fn bare_end(text: &str, start: usize, properties: &Properties) -> usize {
    for (at, _) in text[start..].match_indices(',') {
        let at = start + at;
        let key = text[at + 1..].trim_start();
        let end = key_end(key);
        let is_known = properties.iter().any(|(name, _)| *name == key[..end]);
        if is_known && key[end..].trim_start().starts_with(':') {
            return at;
        }
    }
    match text.trim_end().strip_suffix('}') {
        Some(before) if before.len() >= start => before.len(),
        _ => text.len(),
    }
}
