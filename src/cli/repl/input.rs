//! What a typed line means. Pure; knows nothing of models.

const QUOTES: &str = "\"\"\"";

/// A line's meaning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Input {
    /// An empty line, or one more line of an open text.
    Nothing,
    Message(String),
    /// A finished system message.
    System(String),
    /// Begins with a slash but is no command: perhaps a file.
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

/// What an open `"""` collects.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Open {
    Message(String),
    System(String),
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

    /// Opens a system message of several lines that begins with `text`.
    pub(super) fn open_system(&mut self, text: String) {
        self.open = Some(Open::System(text));
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
                self.open = Some(Open::Message(format!("{text}\n")));
                Input::Nothing
            }
        }
    }

    fn continue_text(&mut self, open: Open, line: &str) -> Input {
        let (Open::Message(mut text) | Open::System(mut text)) = open.clone();
        let closed = line.strip_suffix(QUOTES);
        text.push_str(closed.unwrap_or(line));
        match (open, closed) {
            (Open::Message(_), Some(_)) => message(&text),
            (Open::System(_), Some(_)) => Input::System(text),
            (Open::Message(_), None) => {
                self.open = Some(Open::Message(text + "\n"));
                Input::Nothing
            }
            (Open::System(_), None) => {
                self.open = Some(Open::System(text + "\n"));
                Input::Nothing
            }
        }
    }
}

/// Commands are recognised by how the line begins, in this order.
fn classify(line: &str) -> Input {
    let mut words = line.split_whitespace().map(str::to_owned);
    let first = words.next().unwrap_or_default();
    let begins = |command: &str| line.starts_with(command);
    match line {
        _ if begins("/list") => Input::List,
        _ if begins("/load") => Input::Load(words.collect()),
        _ if begins("/save") => Input::Save(words.collect()),
        _ if begins("/clear") => Input::Clear,
        _ if begins("/set") => Input::Set(words.collect()),
        _ if begins("/show") => Input::Show(words.collect()),
        _ if begins("/help") || begins("/?") => Input::Help(words.next().unwrap_or_default()),
        _ if begins("/exit") || begins("/bye") => Input::Exit,
        _ if first.starts_with('/') && begins("/") => Input::Slash(line.to_owned()),
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
        check(&["/frob x"], &Input::Slash("/frob x".to_owned()));
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
        reader.open_system("a\n".to_owned());
        assert_eq!(reader.push("b"), Input::Nothing);
        assert_eq!(reader.push("c\"\"\""), Input::System("a\nb\nc".to_owned()));
    }
}
