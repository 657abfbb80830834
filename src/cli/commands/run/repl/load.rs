//! Changing the model of a conversation, and storing a conversation as a model.

use crate::cli::context::Context;
use crate::cli::interrupt;
use crate::cli::session::Session;
use crate::cli::ui::Spinner;
use crate::client::ClientError;

/// Loads the model, so that the first answer comes quickly and errors show before it.
pub(super) async fn preload(context: &Context, session: &Session) -> Result<(), ClientError> {
    let spinner = Spinner::start(context.ui, "");
    let request = session.generate_request("", Vec::new());
    let mut lines = context.client.generate(&request).await?;
    while lines.next().await?.is_some() {}
    drop(spinner);
    Ok(())
}

/// `/load`: continues with another model and an empty conversation.
pub(super) async fn load(
    context: &Context,
    session: &mut Session,
    args: &[String],
) -> anyhow::Result<()> {
    let ui = context.ui;
    let [name] = args else {
        return Ok(ui.out_line("Usage:\n  /load <modelname>")?);
    };
    let mut next = Session {
        model: name.clone(),
        ..session.clone()
    };
    next.messages.clear();
    ui.out_line(&format!("Loading model '{name}'"))?;
    let work = async {
        let shown = context.client.show(&next.show_request()).await?;
        next.adopt(&shown);
        preload(context, &next).await
    };
    match interrupt::or_else_none(work).await {
        None => {}
        Some(Ok(())) => {
            if !next.system.is_empty() {
                next.clear();
            }
            *session = next;
        }
        Some(Err(error)) if error.to_string().contains("not found") => {
            ui.out_line(&format!("Couldn't find model '{name}'"))?;
        }
        Some(Err(error)) if error.to_string().contains("does not support thinking") => {
            ui.out_line(&format!("error: {error}"))?;
        }
        Some(Err(ClientError::Unreachable)) => {
            let server = context.program.server();
            ui.out_line(&format!("error: couldn't connect to {server}"))?;
            return Err(ClientError::Unreachable.into());
        }
        Some(Err(error)) => return Err(error.into()),
    }
    Ok(())
}

/// `/save`: stores model, system message, options and conversation under a new name.
pub(super) async fn save(
    context: &Context,
    session: &Session,
    args: &[String],
) -> anyhow::Result<()> {
    let ui = context.ui;
    let [name] = args else {
        return Ok(ui.out_line("Usage:\n  /save <modelname>")?);
    };
    let work = async {
        let mut lines = context.client.create(&session.create_request(name)).await?;
        while lines.next().await?.is_some() {}
        Ok::<(), ClientError>(())
    };
    match interrupt::or_else_none(work).await {
        None => {}
        Some(Ok(())) => ui.out_line(&format!("Created new model '{name}'"))?,
        Some(Err(error)) if error.to_string().contains("invalid model name") => {
            ui.out_line(&format!("error: The model name '{name}' is invalid"))?;
        }
        Some(Err(error)) => return Err(error.into()),
    }
    Ok(())
}
