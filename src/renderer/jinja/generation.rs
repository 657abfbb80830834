//! `{% generation %}` and its end tag mark training targets; they have no effect on prompts.
//!
//! minijinja does not support these tags, so they are removed before parsing. Only real tags are removed:
//! the same words in a comment, a string or a `raw` block stay.

/// Turns the tags into comments, which keep the tags' whitespace control.
pub(super) fn without_tags(source: &str) -> String {
    let mut text = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(start) = rest.find('{') {
        let (front, marker) = rest.split_at(start);
        text.push_str(front);
        let length = match marker.as_bytes().get(1) {
            Some(b'#') => marker.find("#}").map_or(marker.len(), |end| end + 2),
            Some(b'{') => length_of(marker, "}}"),
            Some(b'%') => block(marker, &mut text),
            _ => 1,
        };
        let (done, after) = marker.split_at(length);
        if !is_tag(done, &["generation", "endgeneration"]) {
            text.push_str(done);
        }
        rest = after;
    }
    text.push_str(rest);
    text
}

/// Returns the length of a block tag (of a `raw` block, including its content); pushes a comment for a
/// removed tag.
fn block(marker: &str, text: &mut String) -> usize {
    let length = length_of(marker, "%}");
    let tag = &marker[..length];
    if is_tag(tag, &["generation", "endgeneration"]) {
        text.push_str(&tag.replace("{%", "{#").replace("%}", "#}"));
    }
    if !is_tag(tag, &["raw"]) {
        return length;
    }
    let mut end = length;
    while let Some(start) = marker[end..].find("{%") {
        end += start;
        let Some(tag_length) = marker[end..].find("%}") else {
            break;
        };
        if is_tag(&marker[end..end + tag_length + 2], &["endraw"]) {
            return end + tag_length + 2;
        }
        end += 2;
    }
    marker.len()
}

fn is_tag(tag: &str, names: &[&str]) -> bool {
    let inner = tag
        .strip_prefix("{%")
        .and_then(|tag| tag.strip_suffix("%}"));
    let is_control = |c: char| matches!(c, '-' | '+');
    inner.is_some_and(|inner| names.contains(&inner.trim_matches(is_control).trim()))
}

/// Returns the length of a tag or an expression that ends with `end`, outside strings and brackets; the
/// rest of the text if it does not end.
fn length_of(marker: &str, end: &str) -> usize {
    let bytes = marker.as_bytes();
    let mut at = 2;
    let mut n_open = 0_usize;
    while at < bytes.len() {
        match bytes[at] {
            _ if n_open == 0 && bytes[at..].starts_with(end.as_bytes()) => return at + end.len(),
            quote @ (b'"' | b'\'') => at = string_end(bytes, at, quote),
            b'(' | b'[' | b'{' => n_open += 1,
            b')' | b']' | b'}' => n_open = n_open.saturating_sub(1),
            _ => (),
        }
        at += 1;
    }
    marker.len()
}

/// Returns the position of the closing quote of the string that starts at `start`.
fn string_end(bytes: &[u8], start: usize, quote: u8) -> usize {
    let mut at = start + 1;
    while at < bytes.len() && bytes[at] != quote {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    at.min(bytes.len() - 1)
}
