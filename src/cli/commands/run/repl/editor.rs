//! The line editor: keys, placeholder, history.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context as _;
use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::highlight::{CmdKind, Highlighter};
use rustyline::hint::{Hint, Hinter};
use rustyline::history::FileHistory;
use rustyline::validate::Validator;
use rustyline::{
    Cmd, ConditionalEventHandler, Config, Editor, Event, EventContext, EventHandler, Helper,
    KeyCode, KeyEvent, Modifiers, RepeatCount,
};

use unicode_width::UnicodeWidthStr;

use super::external;
use super::typed_ahead::TypedAhead;
use crate::cli::ui::Ui;
use crate::config::ClientConfig;

const HISTORY_ENTRIES: usize = 100;
const TAB: &str = "        ";

/// What the user did.
#[derive(Debug)]
pub(super) enum Typed {
    Line(String),
    /// Backspace on an empty line that continues a text.
    Back,
    /// Ctrl-C.
    Interrupted,
    /// Ctrl-D on an empty line.
    End,
}

/// Reads lines and keeps the history.
pub(super) struct LineEditor {
    editor: Editor<Placeholder, FileHistory>,
    /// Where entries are kept; `None` when there is no place.
    history: Option<PathBuf>,
    ui: Ui,
    editor_command: String,
    typed_ahead: TypedAhead,
    /// Ctrl-G was pressed.
    wants_editor: Arc<AtomicBool>,
    back: Arc<Back>,
}

impl LineEditor {
    /// Prepares the terminal's keys and loads the history.
    pub(super) fn new(
        ui: Ui,
        config: &ClientConfig,
        typed_ahead: TypedAhead,
    ) -> anyhow::Result<Self> {
        let settings = Config::builder()
            .max_history_size(HISTORY_ENTRIES)?
            .auto_add_history(false)
            .bracketed_paste(true)
            .build();
        let mut editor = Editor::with_config(settings)?;
        editor.set_helper(Some(Placeholder {
            text: "",
            color: !config.no_color,
        }));
        editor.bind_sequence(KeyEvent::ctrl('J'), Cmd::Newline);
        let tab = KeyEvent(KeyCode::Tab, Modifiers::NONE);
        editor.bind_sequence(tab, Cmd::Insert(1, TAB.to_owned()));
        let wants_editor = Arc::new(AtomicBool::new(false));
        let handler = OpenEditor(Arc::clone(&wants_editor));
        editor.bind_sequence(
            KeyEvent::ctrl('G'),
            EventHandler::Conditional(Box::new(handler)),
        );
        let back = Arc::new(Back::default());
        for key in [
            KeyEvent(KeyCode::Backspace, Modifiers::NONE),
            KeyEvent::ctrl('H'),
        ] {
            let handler = GoBack(Arc::clone(&back));
            editor.bind_sequence(key, EventHandler::Conditional(Box::new(handler)));
        }
        let history = config
            .state_dir
            .as_ref()
            .map(|folder| folder.join("history"));
        if let Some(path) = &history {
            // At the first start there is no file, and an unreadable one must not prevent the conversation.
            let _ = editor.load_history(path);
        }
        let editor_command = config.editor.clone();
        Ok(Self {
            editor,
            history,
            ui,
            editor_command,
            typed_ahead,
            wants_editor,
            back,
        })
    }

    /// Waits for the next line, which starts as `initial`; `continued` = it continues a text.
    pub(super) fn read(&mut self, continued: bool, mut initial: String) -> anyhow::Result<Typed> {
        self.back.possible.store(continued, Ordering::Relaxed);
        let (prompt, placeholder) = if continued {
            ("... ", "Press Enter to send")
        } else {
            (">>> ", "Send a message (/? for help)")
        };
        if let Some(helper) = self.editor.helper_mut() {
            helper.text = placeholder;
        }
        loop {
            let line = match self.editor.readline_with_initial(prompt, (&initial, "")) {
                Ok(line) => line,
                Err(ReadlineError::Interrupted) => return Ok(Typed::Interrupted),
                Err(ReadlineError::Eof) => return Ok(Typed::End),
                Err(error) => return Err(error.into()),
            };
            if self.back.wanted.swap(false, Ordering::Relaxed) {
                return Ok(Typed::Back);
            }
            if !self.wants_editor.swap(false, Ordering::Relaxed) {
                return Ok(Typed::Line(line));
            }
            let edit = || external::edit(self.ui, &self.editor_command, line);
            initial = self.typed_ahead.paused(edit);
        }
    }

    /// Adds an entry to the history, and to its file if `save`.
    pub(super) fn remember(&mut self, line: &str, save: bool) {
        if line.trim().is_empty() {
            return;
        }
        let added = self.editor.add_history_entry(line).unwrap_or(false);
        let Some(path) = self.history.as_ref().filter(|_| added && save) else {
            return;
        };
        // A full disk costs the history, not the conversation.
        let _ = save_beside(&mut self.editor, path);
    }
}

/// Writes the history to a file next to the old one, then renames it, so that an interrupted write leaves the old file
/// whole. Only its owner may read it.
fn save_beside(editor: &mut Editor<Placeholder, FileHistory>, path: &Path) -> anyhow::Result<()> {
    let folder = path.parent().context("the history has no folder")?;
    fs_err::create_dir_all(folder)?;
    let beside = tempfile::NamedTempFile::new_in(folder)?;
    editor.save_history(beside.path())?;
    beside.persist(path)?;
    Ok(())
}

/// How many screen rows an entry takes after a prompt of four columns, including a place for the cursor at its end.
fn rows(entry: &str, columns: usize) -> usize {
    let columns = columns.max(1);
    let widths = format!(">>> {entry}");
    let mut widths = widths.split('\n').map(UnicodeWidthStr::width);
    let last = widths.next_back().unwrap_or_default();
    let others = widths.map(|width| width.div_ceil(columns).max(1));
    others.sum::<usize>() + last / columns + 1
}

/// Clears an empty continued line and the one above it, which was `entry`. The cursor is below both, and then at the
/// beginning of the upper line's prompt.
pub(super) fn erase(entry: &str, columns: Option<usize>) -> String {
    let up = 1 + rows(entry, columns.unwrap_or(80));
    format!("\x1b[{up}A\r\x1b[J")
}

/// Whether Backspace may leave the line, and whether it has.
#[derive(Debug, Default)]
struct Back {
    possible: AtomicBool,
    wanted: AtomicBool,
}

/// Backspace: leaves an empty line for the previous one.
struct GoBack(Arc<Back>);

impl ConditionalEventHandler for GoBack {
    fn handle(&self, _: &Event, _: RepeatCount, _: bool, ctx: &EventContext<'_>) -> Option<Cmd> {
        if !self.0.possible.load(Ordering::Relaxed) || !ctx.line().is_empty() {
            return None;
        }
        self.0.wanted.store(true, Ordering::Relaxed);
        Some(Cmd::AcceptLine)
    }
}

/// Ctrl-G: hands the line to [`LineEditor::read`], which opens the editor.
struct OpenEditor(Arc<AtomicBool>);

impl ConditionalEventHandler for OpenEditor {
    fn handle(&self, _: &Event, _: RepeatCount, _: bool, _: &EventContext<'_>) -> Option<Cmd> {
        self.0.store(true, Ordering::Relaxed);
        Some(Cmd::AcceptLine)
    }
}

/// Grey text on an empty line.
struct Placeholder {
    text: &'static str,
    color: bool,
}

struct PlaceholderHint(&'static str);

impl Hint for PlaceholderHint {
    fn display(&self) -> &str {
        self.0
    }

    fn completion(&self) -> Option<&str> {
        None
    }
}

impl Hinter for Placeholder {
    type Hint = PlaceholderHint;

    fn hint(&self, line: &str, _: usize, _: &rustyline::Context<'_>) -> Option<PlaceholderHint> {
        (line.is_empty() && self.color).then_some(PlaceholderHint(self.text))
    }
}

impl Highlighter for Placeholder {
    fn highlight_hint<'h>(&self, hint: &'h str) -> Cow<'h, str> {
        Cow::Owned(format!("\x1b[38;5;245m{hint}\x1b[0m"))
    }

    /// Redraws everything at each key: otherwise a line end that is deleted at the end of the entry stays on the
    /// screen.
    fn highlight_char(&self, _: &str, _: usize, kind: CmdKind) -> bool {
        kind == CmdKind::Other
    }
}

impl Completer for Placeholder {
    type Candidate = String;
}

impl Validator for Placeholder {}

impl Helper for Placeholder {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_take_rows() {
        for (entry, expected) in [
            ("", 1),
            ("12345", 1),
            ("123456", 2),
            ("1234567", 2),
            ("日本語", 2),
            ("123456\n", 2),
            ("a\n\n1234567890", 4),
        ] {
            assert_eq!(rows(entry, 10), expected, "{entry:?}");
        }
    }
}
