//! One turn of the conversation.

use crate::api::ollama::Metrics;
use crate::chat::Message;
use crate::cli::answer::{AnswerView, CUT, statistics};
use crate::cli::context::Context;
use crate::cli::session::Session;
use crate::cli::{interrupt, media};
use crate::client::ClientError;

/// Shows the messages that come with the model.
pub(super) fn replay(context: &Context, session: &Session) -> anyhow::Result<()> {
    for message in &session.seeded {
        match message.role.as_str() {
            "user" => context.ui.out_line(&format!(">>> {}", message.content))?,
            "assistant" => {
                let mut view = AnswerView::new(context.ui, session);
                view.content(&message.content)?;
                view.finish()?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// Whether a line that begins with a slash names a file that the model could look at.
pub(super) fn is_file(session: &Session, line: &str) -> bool {
    let word = line.split_whitespace().next().unwrap_or_default();
    session.multimodal && media::mentions_path(line, word)
}

/// Sends a message and shows the answer. The answer joins the conversation. The question stays in it even if the answer
/// was interrupted, but not if the daemon refused it.
pub(super) async fn answer(
    context: &Context,
    session: &mut Session,
    text: &str,
) -> anyhow::Result<()> {
    let message = if session.multimodal {
        let found = media::extract(context.ui, text)?;
        Message {
            images: found.images,
            ..Message::text("user", found.text)
        }
    } else {
        Message::text("user", text)
    };
    session.messages.push(message);
    let mut view = AnswerView::new(context.ui, session);
    let work = stream(context, session, &mut view);
    let outcome = interrupt::or_else_none(work).await;
    let answered = match outcome {
        Some(Err(error)) => {
            view.fail()?;
            session.messages.pop();
            return recover(context, error);
        }
        Some(Ok(answered)) => Some(answered),
        None => None,
    };
    view.finish()?;
    if let Some((message, metrics)) = answered {
        session.messages.push(message);
        let is_cut = metrics.is_some_and(|metrics| metrics.prompt_truncated);
        if is_cut && !std::mem::replace(&mut session.told_of_cut, true) {
            context.ui.talk(CUT);
        }
        if let Some(metrics) = metrics.filter(|_| session.verbose) {
            context.ui.talk_raw(&statistics(&metrics));
        }
    }
    Ok(())
}

async fn stream(
    context: &Context,
    session: &Session,
    view: &mut AnswerView,
) -> anyhow::Result<(Message, Option<Metrics>)> {
    let mut lines = context.client.chat(&session.chat_request()).await?;
    let mut answer = Message::text("assistant", "");
    let mut metrics = None;
    while let Some(chunk) = lines.next().await? {
        view.thinking(&chunk.message.thinking)?;
        view.content(&chunk.message.content)?;
        view.tool_calls(&chunk.message.tool_calls)?;
        answer.thinking.push_str(&chunk.message.thinking);
        answer.content.push_str(&chunk.message.content);
        if chunk.done {
            metrics = Some(chunk.metrics);
        }
    }
    Ok((answer, metrics))
}

/// Reports a failure of the daemon; the conversation goes on, since the daemon may answer the next time.
fn recover(context: &Context, error: anyhow::Error) -> anyhow::Result<()> {
    if error.downcast_ref::<ClientError>().is_none() {
        return Err(error);
    }
    context.ui.out_line(&format!("error: {error}"))?;
    Ok(())
}
