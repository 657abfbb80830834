//! `POST /tokenize`, `POST /detokenize` and `POST /apply-template`

use axum::extract::State;
use axum::response::Response;
use futures_util::TryStreamExt as _;

use crate::api::llama_server::{
    DetokenizeRequest, DetokenizeResponse, TemplateResponse, TokenizeRequest, TokenizeResponse,
};
use crate::api::openai::ChatRequest;
use crate::dialect::openai::chat;
use crate::inference::RequestOptions;
use crate::runner_client::Tokenize;
use crate::server::error::{ApiError, OpenAiError};
use crate::server::extract::{Client, OpenAiJson};
use crate::server::state::App;
use crate::server::stream::json;

pub(super) async fn tokenize(
    State(app): State<App>,
    client: Client,
    OpenAiJson(mut wire): OpenAiJson<TokenizeRequest>,
) -> Result<Response, OpenAiError> {
    model_or_loaded(&app, &mut wire.model).await?;
    let is_vllm = wire.content.is_empty() && !wire.prompt.is_empty();
    let question = Tokenize {
        texts: vec![if is_vllm { wire.prompt } else { wire.content }],
        add_special: wire
            .add_special
            .or(wire.add_special_tokens)
            .unwrap_or(is_vllm),
        special_as_text: wire.parse_special == Some(false),
        ..Tokenize::default()
    };
    let common = common(wire.model, &client);
    let tokens = app.inference.tokenize(common, question).await?;
    let count = tokens.len();
    Ok(json(&TokenizeResponse { tokens, count }))
}

pub(super) async fn detokenize(
    State(app): State<App>,
    client: Client,
    OpenAiJson(mut wire): OpenAiJson<DetokenizeRequest>,
) -> Result<Response, OpenAiError> {
    model_or_loaded(&app, &mut wire.model).await?;
    let common = common(wire.model, &client);
    let content = app.inference.detokenize(common, wire.tokens).await?;
    let prompt = content.clone();
    Ok(json(&DetokenizeResponse { content, prompt }))
}

/// Takes a chat request; answers with the prompt that the model would get.
pub(super) async fn apply_template(
    State(app): State<App>,
    client: Client,
    OpenAiJson(mut wire): OpenAiJson<ChatRequest>,
) -> Result<Response, OpenAiError> {
    model_or_loaded(&app, &mut wire.model).await?;
    wire.debug_render_only = true;
    let reading = app.block(move || chat::requests(wire));
    let native = reading.await??.into_iter().next();
    let mut native = native.ok_or_else(|| ApiError::internal("no request"))?;
    client.mark(&mut native.common);
    let mut chunks = app.inference.chat(native).await?;
    let mut prompt = None;
    while let Some(chunk) = chunks.try_next().await? {
        prompt = prompt.or(chunk.done.and_then(|done| done.debug));
    }
    let (prompt, _) = prompt.ok_or_else(|| ApiError::internal("the prompt was not rendered"))?;
    Ok(json(&TemplateResponse { prompt }))
}

fn common(model: String, client: &Client) -> RequestOptions {
    let mut common = RequestOptions {
        model,
        ..RequestOptions::default()
    };
    client.mark(&mut common);
    common
}

/// Fills in the loaded model where a request names none, as clients of llama-server do.
///
/// # Errors
/// No model is loaded, or several are.
pub(super) async fn model_or_loaded(app: &App, model: &mut String) -> Result<(), ApiError> {
    if !model.is_empty() {
        return Ok(());
    }
    match app.scheduler.loaded().await.as_slice() {
        [only] => {
            model.clone_from(&only.name.short());
            Ok(())
        }
        _ => {
            let error = ApiError::invalid("model is required");
            Err(error.about("model", "missing_required_parameter"))
        }
    }
}
