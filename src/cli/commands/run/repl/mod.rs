//! The conversation in the terminal: reads a line, acts on it, shows the answer.

mod chat;
mod editor;
mod external;
mod help;
mod input;
mod load;
mod set;
mod show;
mod typed_ahead;

use crate::cli::context::Context;
use crate::cli::interrupt;
use crate::cli::session::Session;
use editor::{LineEditor, Typed};
use input::{Input, Reader};
use typed_ahead::TypedAhead;

/// Whether the conversation goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Continue,
    Leave,
}

/// Talks with the user until they leave.
pub(super) async fn run(context: &Context, session: Session) -> anyhow::Result<()> {
    let mut repl = Repl {
        context,
        session,
        reader: Reader::default(),
    };
    let typed_ahead = TypedAhead::keep();
    // Ctrl-C leaves, by a way that restores the terminal.
    match interrupt::or_else_none(load::preload(context, &repl.session)).await {
        None => return Ok(()),
        Some(loaded) => loaded?,
    }
    chat::replay(context, &repl.session)?;
    let mut editor = LineEditor::new(context.ui, &context.config, typed_ahead)?;
    let mut initial = String::new();
    loop {
        let typed = editor.read(repl.reader.is_open(), std::mem::take(&mut initial))?;
        let next = match typed {
            Typed::Line(line) => {
                // Before anything else, so that an entry is kept whatever happens next.
                editor.remember(&line, repl.session.save_history);
                repl.line(&line).await?
            }
            Typed::Interrupted => {
                repl.reader = Reader::default();
                context.ui.out_line("Use Ctrl + d or /bye to exit.")?;
                Next::Continue
            }
            Typed::Back => {
                initial = repl.reader.take_back().unwrap_or_default();
                context
                    .ui
                    .draw(&editor::erase(&initial, context.ui.stdout_width()))?;
                Next::Continue
            }
            Typed::End => Next::Leave,
        };
        if next == Next::Leave {
            return Ok(());
        }
    }
}

/// The conversation and the line that is being entered.
struct Repl<'a> {
    context: &'a Context,
    session: Session,
    reader: Reader,
}

impl Repl<'_> {
    async fn line(&mut self, line: &str) -> anyhow::Result<Next> {
        let ui = self.context.ui;
        match self.reader.push(line) {
            Input::Nothing => {}
            Input::Exit => return Ok(Next::Leave),
            Input::List => self.list().await?,
            Input::Load(args) => load::load(self.context, &mut self.session, &args).await?,
            Input::Save(args) => load::save(self.context, &self.session, &args).await?,
            Input::Clear => {
                self.session.clear();
                ui.out_line("Cleared session context")?;
            }
            Input::Set(args) => self.set(line, &args)?,
            Input::Show(args) => show::run(self.context, &self.session, &args).await?,
            Input::Help(topic) => ui.talk_raw(help::text(&topic)),
            Input::System(text) => {
                self.session.set_system(&text);
                ui.out_line("Set system message.")?;
            }
            Input::Slash(line) if !chat::is_file(&self.session, &line) => {
                let word = line.split_whitespace().next().unwrap_or_default();
                ui.out_line(&format!("Unknown command '{word}'. Type /? for help"))?;
            }
            Input::Slash(text) | Input::Message(text) => {
                chat::answer(self.context, &mut self.session, &text).await?;
            }
        }
        Ok(Next::Continue)
    }

    async fn list(&self) -> anyhow::Result<()> {
        let models = self.context.client.list().await?;
        let table = crate::cli::commands::list::text(&models, jiff::Timestamp::now());
        Ok(self.context.ui.out(&table)?)
    }

    fn set(&mut self, line: &str, args: &[String]) -> anyhow::Result<()> {
        let ui = self.context.ui;
        match set::apply(&mut self.session, args) {
            set::Reply::Said(text) => ui.out(&text)?,
            set::Reply::Warned { warning, said } => {
                ui.talk(&warning);
                ui.out(&said)?;
            }
            set::Reply::Help(text) => ui.talk_raw(text),
            set::Reply::OpenSystem(text) => self.reader.open_system(line, text),
        }
        Ok(())
    }
}
