//! Removes the folders of this machine, and of the build machine, from error texts.

use std::borrow::Cow;

/// Characters that may precede a path in a sentence.
const BEFORE: [char; 9] = ['"', '\'', '`', '(', '[', '{', '=', ',', '<'];

/// Characters that end a path in a sentence.
const AFTER: [char; 9] = ['"', '\'', '`', ')', ']', '}', ':', ',', '>'];

/// Replaces absolute paths by their file names: the name (often that of a blob) says which file it is, and
/// clients need not know the folders.
pub fn without_paths(text: &str) -> Cow<'_, str> {
    if !text.contains('/') {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut before = None;
    let mut rest = text;
    while let Some(character) = rest.chars().next() {
        if character == '/' && may_begin(before, rest) {
            let end = end(rest, before);
            let path = &rest[..end];
            let folder = path.trim_end_matches('/').rfind('/').unwrap_or(0);
            // A single name after a slash reveals nothing about this machine.
            let name = if folder > 0 {
                &path[folder + 1..]
            } else {
                path
            };
            out.push_str(name);
            before = path.chars().next_back();
            rest = &rest[end..];
            continue;
        }
        out.push(character);
        before = Some(character);
        rest = &rest[character.len_utf8()..];
    }
    Cow::Owned(out)
}

/// Whether a path may begin after this character: not inside a word, a relative path or a URL.
fn may_begin(before: Option<char>, rest: &str) -> bool {
    match before {
        None => true,
        // A `file:` URL has three slashes.
        Some(':') => !rest.starts_with("//") || rest.starts_with("///"),
        Some(character) => character.is_whitespace() || BEFORE.contains(&character),
    }
}

/// Returns the length of a path. A quoted path ends at the closing quote and may contain spaces.
fn end(rest: &str, before: Option<char>) -> usize {
    let quote = before.filter(|before| matches!(before, '"' | '\'' | '`'));
    let closing = quote.and_then(|quote| rest.find(quote));
    let open = || rest.find(|c: char| c.is_whitespace() || AFTER.contains(&c));
    closing.or_else(open).unwrap_or(rest.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_named_without_their_folders() {
        for (text, expected) in [
            (
                "failed to open file `/home/me/my models/blobs/sha256-12`: denied",
                "failed to open file `sha256-12`: denied",
            ),
            (
                "/root/.cargo/registry/src/llama.cpp/ggml/src/ggml.c:123: GGML_ASSERT(a / b) failed",
                "ggml.c:123: GGML_ASSERT(a / b) failed",
            ),
            (
                "model `x`: /data/blobs/sha256-3: cut",
                "model `x`: sha256-3: cut",
            ),
            ("path=/a/b, \"/c/d\" (/e/f/)", "path=b, \"d\" (f/)"),
            ("see /var/lib/drover", "see drover"),
            ("file:///srv/a/b x:/c/d", "file:b x:d"),
        ] {
            assert_eq!(without_paths(text), expected);
        }
    }

    #[test]
    fn what_is_no_path_stays() {
        for text in [
            "https://host/v2/library/x: 404",
            "library/llama3:8b and/or 3/4",
            "either / or",
            "POST /api: no",
            "3 tokens/s",
        ] {
            assert_eq!(without_paths(text), text);
        }
    }
}
