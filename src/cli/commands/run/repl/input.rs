//! What a typed line means. Pure; independent of models.

const QUOTES: &str = "\"\"\"";

/// A line's meaning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Input {
    /// An empty line, or another line of an open text.
    Nothing,
    Message(String),
    /// A complete system message.
    System(String),
    /// Begins with a slash but is not a command: perhaps a file.
    Slash(String),
    List,
    /// The words after the command, here and below.
    Load(Vec<String>),
    Save(Vec<String>),
    Clear,
    Set(Vec<String>),
    Show(Vec<String>),
    /// The topic, or empty.
    Help(String),
    Exit,
}

/// What an open `"""` text will become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Message,
    System,
}

/// A text whose `"""` is open.
#[derive(Debug)]
struct Open {
    kind: Kind,
    /// Its lines so far: as typed, and as they are in the text.
    lines: Vec<(String, String)>,
}

/// Turns lines into inputs; remembers a text whose `"""` is open.
#[derive(Debug, Default)]
pub(super) struct Reader {
    open: Option<Open>,
}

impl Reader {
    /// Whether the next line continues a text.
    pub(super) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Opens a system message of several lines: `typed` was its first line, and `text` is the beginning of the message.
    pub(super) fn open_system(&mut self, typed: &str, text: String) {
        self.start(Kind::System, typed, text);
    }

    /// Takes the next line.
    pub(super) fn push(&mut self, line: &str) -> Input {
        if let Some(open) = self.open.take() {
            return self.continue_text(open, line);
        }
        let Some(text) = line.strip_prefix(QUOTES) else {
            return classify(line);
        };
        match text.strip_suffix(QUOTES) {
            Some(text) => message(text),
            None => {
                self.start(Kind::Message, line, text.to_owned());
                Input::Nothing
            }
        }
    }

    /// Returns the last line of an open text as it was typed; taking back the first line closes the text.
    pub(super) fn take_back(&mut self) -> Option<String> {
        let mut open = self.open.take()?;
        let (typed, _) = open.lines.pop()?;
        self.open = Some(open).filter(|open| !open.lines.is_empty());
        Some(typed)
    }

    fn start(&mut self, kind: Kind, typed: &str, text: String) {
        self.open = Some(Open {
            kind,
            lines: vec![(typed.to_owned(), text)],
        });
    }

    fn continue_text(&mut self, mut open: Open, line: &str) -> Input {
        let Some(last) = line.strip_suffix(QUOTES) else {
            open.lines.push((line.to_owned(), line.to_owned()));
            self.open = Some(open);
            return Input::Nothing;
        };
        let lines = open.lines.iter().map(|(_, text)| text.as_str());
        let text = lines.chain([last]).collect::<Vec<_>>().join("\n");
        match open.kind {
            Kind::Message => message(&text),
            Kind::System => Input::System(text),
        }
    }
}

/// Recognises commands by the beginning of the line, in this order.
fn classify(line: &str) -> Input {
    let mut words = line.split_whitespace().map(str::to_owned);
    let first = words.next().unwrap_or_default();
    // `/shows/a.png` is not `/show`.
    let is_path = first.trim_start_matches('/').contains('/');
    let begins = |command: &str| !is_path && line.starts_with(command);
    match line {
        _ if begins("/list") => Input::List,
        _ if begins("/load") => Input::Load(words.collect()),
        _ if begins("/save") => Input::Save(words.collect()),
        _ if begins("/clear") => Input::Clear,
        _ if begins("/set") => Input::Set(words.collect()),
        _ if begins("/show") => Input::Show(words.collect()),
        _ if begins("/help") || begins("/?") => Input::Help(words.next().unwrap_or_default()),
        _ if begins("/exit") || begins("/bye") => Input::Exit,
        _ if line.starts_with('/') => Input::Slash(line.to_owned()),
        _ => message(line),
    }
}

fn message(text: &str) -> Input {
    if text.is_empty() {
        Input::Nothing
    } else {
        Input::Message(text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(lines: &[&str], expected: &Input) {
        let mut reader = Reader::default();
        let mut last = Input::Nothing;
        for line in lines {
            assert_eq!(last, Input::Nothing, "{lines:?}");
            last = reader.push(line);
        }
        assert_eq!(&last, expected, "{lines:?}");
        assert!(!reader.is_open());
    }

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn commands_are_prefixes() {
        check(&["/list x"], &Input::List);
        check(&["/load a b"], &Input::Load(words("a b")));
        check(&["/save"], &Input::Save(vec![]));
        check(&["/clear"], &Input::Clear);
        check(
            &["/set parameter stop a"],
            &Input::Set(words("parameter stop a")),
        );
        check(&["/show info"], &Input::Show(words("info")));
        check(&["/? set"], &Input::Help("set".to_owned()));
        check(&["/help"], &Input::Help(String::new()));
        check(&["/byebye"], &Input::Exit);
        for path in ["/frob x", "/shows/a.png", "/lists/b.png what?"] {
            check(&[path], &Input::Slash(path.to_owned()));
        }
        check(&[" /bye"], &Input::Message(" /bye".to_owned()));
        check(&[""], &Input::Nothing);
    }

    #[test]
    fn quotes_collect_lines() {
        check(&["\"\"\"a\"\"\""], &Input::Message("a".to_owned()));
        check(
            &["\"\"\"a", "/bye", "c\"\"\""],
            &Input::Message("a\n/bye\nc".to_owned()),
        );
        check(
            &["\"\"\"", "a", "\"\"\""],
            &Input::Message("\na\n".to_owned()),
        );
    }

    #[test]
    fn a_system_message_may_have_lines() {
        let mut reader = Reader::default();
        reader.open_system("/set system \"\"\"a", "a".to_owned());
        assert_eq!(reader.push("b"), Input::Nothing);
        assert_eq!(reader.push("c\"\"\""), Input::System("a\nb\nc".to_owned()));
    }

    #[test]
    fn lines_are_taken_back_one_by_one() {
        let mut reader = Reader::default();
        assert_eq!(reader.take_back(), None);
        for line in ["\"\"\"a", "b", "c"] {
            assert_eq!(reader.push(line), Input::Nothing);
        }
        assert_eq!(reader.take_back().as_deref(), Some("c"));
        assert_eq!(reader.take_back().as_deref(), Some("b"));
        assert_eq!(reader.push("d\"\"\""), Input::Message("a\nd".to_owned()));
        reader.open_system("/set system \"\"\"a", "a".to_owned());
        assert_eq!(reader.take_back().as_deref(), Some("/set system \"\"\"a"));
        assert!(!reader.is_open());
        assert_eq!(reader.take_back(), None);
    }
}
