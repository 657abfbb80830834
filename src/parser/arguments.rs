//! Streams the arguments of a call, as the text that they will have when the call is complete.

use std::sync::LazyLock;

use regex::Regex;
use serde_json::Value;

use crate::chat::CallPart;

/// The text before the arguments of a call, with the call's name.
static HEAD: LazyLock<Regex> = LazyLock::new(|| {
    let pattern = r#"^[^{"]*\{\s*"name"\s*:\s*("(?:[^"\\]|\\.)+")\s*,\s*"arguments"\s*:\s*\{"#;
    #[expect(clippy::expect_used, reason = "a constant")]
    Regex::new(&pattern.replace(r"\s", r"[ \t\r\n]")).expect("a regular expression")
});

/// The most bytes before the arguments.
const LONGEST_HEAD: usize = 1024;

/// Follows a call in JSON while its text grows: `{"name": …, "arguments": {…}}`.
#[derive(Debug, Default)]
pub(crate) struct Follower {
    state: State,
    name: String,
    json: Compact,
    /// Where the arguments begin, and how far they have been read.
    start: usize,
    end: usize,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    #[default]
    Head,
    Arguments,
    Whole,
    /// The call has another form: it is passed on as a whole.
    Lost,
}

impl Follower {
    /// Follows a text that consists only of a call's arguments.
    pub(crate) fn of_arguments(name: &str) -> Self {
        Self {
            state: State::Arguments,
            name: name.to_owned(),
            ..Self::default()
        }
    }

    /// Continues reading in the call's text so far, and returns the new part. `is_call` is called once, with
    /// the name and the text before the arguments.
    pub(crate) fn read(
        &mut self,
        text: &str,
        index: u32,
        is_call: impl FnOnce(&str, &str) -> bool,
    ) -> Option<CallPart> {
        if self.state == State::Head {
            self.look_for_arguments(text, is_call);
        }
        if self.state != State::Arguments {
            return None;
        }
        let mut part = CallPart {
            index,
            ..CallPart::default()
        };
        let is_first = self.end == self.start;
        for c in text.get(self.end..)?.chars() {
            self.end += c.len_utf8();
            match self.json.push(c, &mut part.arguments) {
                Some(false) => {}
                Some(true) => {
                    self.state = State::Whole;
                    break;
                }
                None => {
                    self.state = State::Lost;
                    break;
                }
            }
        }
        if part.arguments.is_empty() {
            if is_first {
                // Nothing was passed on yet: the next part is the first.
                self.start = self.end;
            }
            return None;
        }
        if is_first {
            part.name.clone_from(&self.name);
        }
        Some(part)
    }

    fn look_for_arguments(&mut self, text: &str, is_call: impl FnOnce(&str, &str) -> bool) {
        let Some(found) = HEAD.captures(text) else {
            if text.len() > LONGEST_HEAD {
                self.state = State::Lost;
            }
            return;
        };
        // Before the brace.
        self.start = found[0].len() - 1;
        self.end = self.start;
        self.state = match serde_json::from_str::<String>(&found[1]) {
            Ok(name) if is_call(&name, &text[..self.start]) => {
                self.name = name;
                State::Arguments
            }
            _ => State::Lost,
        };
    }

    /// Whether a part of the call was passed on.
    pub(crate) fn has_begun(&self) -> bool {
        self.end > self.start
    }

    /// The call's name, its arguments as they were written, and where they end.
    pub(crate) fn whole<'a>(&'a self, text: &'a str) -> Option<(&'a str, &'a str, usize)> {
        let arguments = text.get(self.start..self.end)?;
        (self.state == State::Whole).then_some((&self.name, arguments, self.end))
    }
}

/// Rewrites JSON as `serde_json` would write the value, while it arrives. (Duplicate keys all stay.)
#[derive(Debug, Default)]
struct Compact {
    depth: usize,
    token: Token,
    /// The beginning of a number, a word or an escape.
    held: String,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Token {
    #[default]
    None,
    /// A number, `true`, `false` or `null`.
    Word,
    Text,
    Escape,
}

impl Compact {
    /// Adds a character. `Some(true)` = the outermost value has ended; `None` = this is not JSON, or not an
    /// object.
    fn push(&mut self, c: char, to: &mut String) -> Option<bool> {
        match self.token {
            Token::Text => self.text(c, to)?,
            Token::Escape => self.escape(c, to)?,
            Token::None | Token::Word => {
                if !matches!(
                    c,
                    ' ' | '\t' | '\r' | '\n' | ',' | ':' | '{' | '}' | '[' | ']' | '"'
                ) {
                    self.token = Token::Word;
                    self.held.push(c);
                    return (self.depth > 0).then_some(false);
                }
                if self.token == Token::Word {
                    let word: Value = serde_json::from_str(&self.held).ok()?;
                    to.push_str(&word.to_string());
                    self.held.clear();
                    self.token = Token::None;
                }
                return self.structure(c, to);
            }
        }
        Some(false)
    }

    fn structure(&mut self, c: char, to: &mut String) -> Option<bool> {
        match c {
            ' ' | '\t' | '\r' | '\n' => return Some(false),
            '{' => self.depth += 1,
            _ if self.depth == 0 => return None,
            '[' => self.depth += 1,
            '}' | ']' => self.depth -= 1,
            '"' => self.token = Token::Text,
            _ => {}
        }
        to.push(c);
        Some(self.depth == 0)
    }

    fn text(&mut self, c: char, to: &mut String) -> Option<()> {
        match c {
            '\\' => {
                self.token = Token::Escape;
                self.held.push(c);
                return Some(());
            }
            '"' => self.token = Token::None,
            '\0'..'\x20' => return None,
            _ => {}
        }
        to.push(c);
        Some(())
    }

    fn escape(&mut self, c: char, to: &mut String) -> Option<()> {
        self.held.push(c);
        let n_wanted = match self.held.get(1..).unwrap_or_default().as_bytes() {
            [b'u', digits @ ..] => {
                // The first half of a surrogate pair.
                let is_half = matches!(
                    digits,
                    [b'd' | b'D', b'8' | b'9' | b'a'..=b'b' | b'A'..=b'B', ..]
                );
                if is_half { 12 } else { 6 }
            }
            _ => 2,
        };
        if self.held.chars().count() < n_wanted {
            return Some(());
        }
        let decoded: String = serde_json::from_str(&format!("\"{}\"", self.held)).ok()?;
        let written = Value::String(decoded).to_string();
        to.push_str(written.get(1..written.len() - 1)?);
        self.held.clear();
        self.token = Token::Text;
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Map;

    use super::*;

    /// What is passed on of a text that arrives in pieces of `n` characters; the name first.
    fn told(text: &str, n: usize) -> (String, bool) {
        let mut follower = Follower::default();
        let characters: Vec<char> = text.chars().collect();
        let (mut seen, mut all) = (String::new(), String::new());
        for piece in characters.chunks(n) {
            seen.extend(piece);
            if let Some(part) = follower.read(&seen, 3, |_, _| true) {
                assert_eq!(part.index, 3);
                assert_eq!(part.name.is_empty(), !all.is_empty(), "{part:?}");
                all += &part.name;
                all += &part.arguments;
            }
        }
        (all, follower.whole(&seen).is_some())
    }

    #[test]
    fn arguments_are_told_as_they_will_be() {
        for arguments in [
            "{}",
            "{ }",
            r#"{"a" : 1 , "b":[ 1.0,-0, 1e5 ,12345678901234567890123 ]}"#,
            r#"{"text": "a\"b\\c\/d\u00e9\u001f\n \ud83d\ude00 é😀 }{"}"#,
            r#"{"a": {"b": [true,false , null, {}], "c": "" }}"#,
            "{\n  \"a\":\t\"x\"\r\n}",
        ] {
            let value: Map<String, Value> = serde_json::from_str(arguments).unwrap();
            let expected = format!("f{}", Value::Object(value));
            let text = format!(r#" [{{ "name" : "f" ,"arguments" :{arguments} }}, {{"name"#);
            for n in [1, 2, 3, 7, 1000] {
                assert_eq!(told(&text, n), (expected.clone(), true), "{n} {text}");
            }
        }
    }

    #[test]
    fn what_is_written_in_another_way_is_not_told() {
        for text in [
            r#"{"arguments": {"a": 1}, "name": "f"}"#,
            r#"{"name": "f", "parameters": {"a": 1}}"#,
            r#"{"name": "f", "arguments": "{\"a\": 1}"}"#,
            r#"{"name": "", "arguments": {}}"#,
            "the name",
        ] {
            assert_eq!(told(text, 1), (String::new(), false), "{text}");
        }
        let long = format!(
            "{}{{\"name\": \"f\", \"arguments\": {{}}}}",
            " ".repeat(2000)
        );
        assert_eq!(told(&long, 1).0, "");
        let mut follower = Follower::default();
        let text = r#"{"name": "f", "arguments": {"#;
        let refused = follower.read(text, 0, |name, before| {
            assert_eq!((name, before), ("f", &text[..text.len() - 1]));
            false
        });
        assert_eq!((refused, follower.has_begun()), (None, false));
    }

    #[test]
    fn what_is_no_json_is_told_up_to_there() {
        for (arguments, expected) in [
            (r#"{"a": tru, "b": 1}"#, r#"f{"a":"#),
            ("{\"a\": \"x\ny\"}", r#"f{"a":"x"#),
            (r#"{"a": "\ud83d x"}"#, r#"f{"a":""#),
            (r#"{"a": "\q"}"#, r#"f{"a":""#),
        ] {
            let text = format!(r#"{{"name": "f", "arguments": {arguments}}}"#);
            assert_eq!(told(&text, 1), (expected.to_owned(), false), "{text}");
        }
    }

    #[test]
    fn arguments_may_stand_alone() {
        let mut follower = Follower::of_arguments("f");
        assert_eq!(follower.read(" ", 0, |_, _| true), None);
        let part = follower.read(" {\"a\": 1", 0, |_, _| true).unwrap();
        assert_eq!(
            (part.name.as_str(), part.arguments.as_str()),
            ("f", "{\"a\":")
        );
        let part = follower.read(" {\"a\": 1}", 0, |_, _| true).unwrap();
        assert_eq!((part.name.as_str(), part.arguments.as_str()), ("", "1}"));
        let mut follower = Follower::of_arguments("f");
        assert_eq!(follower.read("\"{}\"", 0, |_, _| true), None);
    }
}
