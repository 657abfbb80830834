//! `run`: one answer, or a conversation.

mod flags;
mod oneshot;
mod repl;

use std::io::Read as _;

use crate::api::ollama::ShowResponse;
use crate::cli::args::RunArgs;
use crate::cli::context::Context;
use crate::cli::session::Session;

/// Answers the prompt of the command line, or talks with the user if there is none.
pub(crate) async fn run(context: &Context, args: &RunArgs) -> anyhow::Result<()> {
    let Some((name, prompts)) = args.args.split_first() else {
        return Ok(());
    };
    let mut session = flags::session(name, args)?;
    session.save_history = !context.config.no_history;
    let (prompt, interactive) = read_prompt(context, prompts)?;
    let shown = show_or_pull(context, &session, args.insecure).await?;
    session.adopt(&shown);
    let can = |name: &str| {
        shown
            .capabilities
            .iter()
            .any(|capability| capability == name)
    };
    if can("embedding") {
        return oneshot::embed(context, &session, &prompt, flags::embedding(args)?).await;
    }
    if can("image") {
        anyhow::bail!("image generation models are not currently supported");
    }
    if interactive {
        return repl::run(context, session).await;
    }
    oneshot::generate(context, &session, &prompt).await
}

/// Joins piped input and the arguments, and tells whether the session is interactive.
fn read_prompt(context: &Context, prompts: &[String]) -> anyhow::Result<(String, bool)> {
    let ui = context.ui;
    let mut pieces = Vec::new();
    if !ui.stdin_is_terminal {
        let mut bytes = Vec::new();
        std::io::stdin().read_to_end(&mut bytes)?;
        if !bytes.is_empty() {
            pieces.push(String::from_utf8_lossy(&bytes).into_owned());
        }
    }
    pieces.extend_from_slice(prompts);
    let interactive = pieces.is_empty() && ui.stdin_is_terminal && ui.stdout_is_terminal;
    Ok((pieces.join(" "), interactive))
}

async fn show_or_pull(
    context: &Context,
    session: &Session,
    insecure: bool,
) -> anyhow::Result<ShowResponse> {
    let request = session.show_request();
    match context.client.show(&request).await {
        Err(error) if error.is_not_found() => {
            super::pull::pull(context, &session.model, insecure).await?;
            Ok(context.client.show(&request).await?)
        }
        result => Ok(result?),
    }
}
