//! Removes secrets from URLs.

use std::borrow::Cow;

/// Characters that end a URL in a sentence.
const END: [char; 6] = ['"', '\'', '`', '<', '>', '|'];

/// Punctuation that may follow a URL in a sentence and is not its last character.
const PUNCTUATION: [char; 7] = [')', ']', '}', '.', ',', ':', ';'];

/// Removes user, password and query from the URLs in a text; a query may hold a signature.
pub fn redacted(text: &str) -> Cow<'_, str> {
    if !text.contains("://") {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, address) = rest.split_at(at + 3);
        out.push_str(before);
        let end = address.find(|c: char| c.is_whitespace() || END.contains(&c));
        let (address, after) = address.split_at(end.unwrap_or(address.len()));
        push(address, &mut out);
        rest = after;
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// Appends a URL, from its host on, without secrets.
fn push(address: &str, out: &mut String) {
    let host = address.get(login(address)..).unwrap_or_default();
    if host.len() < address.len() {
        out.push_str("***@");
    }
    let address = host.trim_end_matches(PUNCTUATION);
    match address.split_once('?') {
        Some((path, _)) => {
            out.push_str(path);
            out.push_str("?***");
        }
        None => out.push_str(address),
    }
    out.push_str(&host[address.len()..]);
}

/// Returns the length of the part with user and password, including the `@`.
fn login(address: &str) -> usize {
    let end = address.find(['/', '?', '#']).unwrap_or(address.len());
    let authority = &address[..end];
    if let Some(at) = authority.rfind('@') {
        return at + 1;
    }
    // A password with an unescaped slash: the text before the slash is not a host with a port.
    let is_login = authority
        .split_once(':')
        .is_some_and(|(_, port)| !port.bytes().all(|byte| byte.is_ascii_digit()));
    match address.rfind('@') {
        Some(at) if is_login && !authority.starts_with('[') => at + 1,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_and_signatures_are_not_shown() {
        for (text, expected) in [
            ("http://user:pw@host:80/v2", "http://***@host:80/v2"),
            ("https://token@host", "https://***@host"),
            ("x://a:p@ss@host/y", "x://***@host/y"),
            ("x://a:p/ss@host/y", "x://***@host/y"),
            ("x://a:p?#ss@host/y", "x://***@host/y"),
            (
                "asking (https://h/a?X-Amz-Signature=1): no",
                "asking (https://h/a?***): no",
            ),
            (
                "[\"http://a:b@c\", \"http://d:e@f/?g\"]",
                "[\"http://***@c\", \"http://***@f/?***\"]",
            ),
            ("socks5h://u:p@[::1]:9", "socks5h://***@[::1]:9"),
        ] {
            assert_eq!(redacted(text), expected);
        }
    }

    #[test]
    fn everything_else_stays() {
        for text in [
            "http://127.0.0.1:11434",
            "https://[::1]:5000/v2/library/x@sha256:abc",
            "mail me@example.com?",
            "https://host/a@b.",
            "://",
        ] {
            assert_eq!(redacted(text), text);
        }
    }
}
