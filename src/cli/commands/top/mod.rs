//! `top`: shows live what the daemon is doing.

mod view;

use anyhow::Context as _;
use ratatui::crossterm::event;
use ratatui::crossterm::event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use tokio::sync::mpsc;

use crate::api::drover::DaemonState;
use crate::cli::args::TopArgs;
use crate::cli::context::Context;
use view::View;

/// Shows the state until a key is pressed; without a terminal, or as JSON, once.
pub(crate) async fn run(context: &Context, args: &TopArgs) -> anyhow::Result<()> {
    let mut states = context.client.states().await?;
    if args.json || !context.ui.stdout_is_terminal || !context.ui.stdin_is_terminal {
        // The first state has no rates yet.
        let _ = states.next().await?;
        let state = states.next().await?.context("the server says nothing")?;
        if args.json {
            return context.ui.out_json(&state);
        }
        return Ok(context.ui.out(&view::text(&state))?);
    }
    let (to, mut keys) = mpsc::channel(16);
    // The thread ends with the process: there is no way to interrupt a wait for keys.
    std::thread::Builder::new()
        .name("keys".to_owned())
        .spawn(move || {
            while let Ok(event) = event::read() {
                if to.blocking_send(event).is_err() {
                    return;
                }
            }
        })?;
    let mut terminal = ratatui::try_init()?;
    let shown = show(&mut terminal, &mut states, &mut keys).await;
    ratatui::restore();
    shown
}

async fn show(
    terminal: &mut ratatui::DefaultTerminal,
    states: &mut crate::client::States,
    keys: &mut mpsc::Receiver<Event>,
) -> anyhow::Result<()> {
    let mut view = View::default();
    loop {
        terminal.draw(|frame| view.draw(frame))?;
        tokio::select! {
            state = states.next() => {
                let state: DaemonState = state?.context("the server has ended")?;
                view.take(state);
            }
            event = keys.recv() => match event {
                Some(Event::Key(key)) if is_end(key) => return Ok(()),
                Some(_) => {}
                None => return Ok(()),
            },
        }
    }
}

fn is_end(key: KeyEvent) -> bool {
    let is_interrupt = key.modifiers.contains(KeyModifiers::CONTROL);
    let is_pressed = key.kind == KeyEventKind::Press;
    is_pressed
        && match key.code {
            KeyCode::Char('q') | KeyCode::Esc => true,
            KeyCode::Char('c') => is_interrupt,
            _ => false,
        }
}
