//! One prompt, one answer.

use serde_json::Value;

use super::flags::Embedding;
use crate::api::ollama::{EmbedRequest, GenerateResponse, Metrics};
use crate::chat::Image;
use crate::cli::answer::{AnswerView, CUT, statistics};
use crate::cli::context::Context;
use crate::cli::session::Session;
use crate::cli::{interrupt, media};
use crate::client::Lines;

/// Prints the answer to a prompt; an empty prompt only loads the model.
pub(super) async fn generate(
    context: &Context,
    session: &Session,
    prompt: &str,
) -> anyhow::Result<()> {
    let mut text = prompt.to_owned();
    let mut images: Vec<Image> = Vec::new();
    if session.multimodal {
        let found = media::extract(context.ui, prompt)?;
        text = found.text;
        images = found.images;
    }
    let mut view = AnswerView::new(context.ui, session);
    let request = session.generate_request(&text, images);
    let work = async {
        let mut lines = context.client.generate(&request).await?;
        show(&mut lines, &mut view).await
    };
    let Some(answered) = interrupt::or_else_none(work).await else {
        return view_end(view, prompt);
    };
    let metrics = answered?;
    view_end(view, prompt)?;
    if metrics.is_some_and(|metrics| metrics.prompt_truncated) {
        context.ui.talk(CUT);
    }
    if let Some(metrics) = metrics.filter(|_| session.verbose) {
        context.ui.talk_raw(&statistics(&metrics));
    }
    Ok(())
}

fn view_end(view: AnswerView, prompt: &str) -> anyhow::Result<()> {
    if !prompt.is_empty() {
        view.finish()?;
    }
    Ok(())
}

async fn show(
    lines: &mut Lines<GenerateResponse>,
    view: &mut AnswerView,
) -> anyhow::Result<Option<Metrics>> {
    let mut metrics = None;
    while let Some(chunk) = lines.next().await? {
        view.thinking(&chunk.thinking)?;
        view.content(&chunk.response)?;
        view.tool_calls(&chunk.tool_calls)?;
        if chunk.done {
            metrics = Some(chunk.metrics);
        }
    }
    Ok(metrics)
}

/// Prints a prompt's vector as JSON.
pub(super) async fn embed(
    context: &Context,
    session: &Session,
    prompt: &str,
    flags: Embedding,
) -> anyhow::Result<()> {
    if prompt.is_empty() {
        anyhow::bail!(
            "embedding models require input text. Usage: {} run {} \"your text here\"",
            context.program.name(),
            session.model
        );
    }
    let request = EmbedRequest {
        model: session.model.clone(),
        input: Value::from(prompt),
        truncate: flags.truncate,
        dimensions: flags.dimensions,
        keep_alive: session.keep_alive.clone(),
        options: session.options.clone(),
    };
    let response = context.client.embed(&request).await?;
    let Some(vector) = response.embeddings.first() else {
        anyhow::bail!("no embeddings returned");
    };
    context.ui.out_line(&serde_json::to_string(vector)?)?;
    Ok(())
}
