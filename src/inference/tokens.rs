//! Texts to tokens and back.

use super::context::Context;
use super::error::RequestError;
use super::load;
use super::prepare::{self, Route, merge_options};
use super::refusal::engine_error;
use super::types::RequestOptions;
use crate::protocol::Token;
use crate::runner_client::Tokenize;
use crate::scheduler::Lease;

/// Tokenizes the question's first text.
pub(super) async fn tokenize(
    context: &Context,
    common: RequestOptions,
    mut question: Tokenize,
) -> Result<Vec<Token>, RequestError> {
    question.client.clone_from(&common.client);
    let lease = lease(context, &common).await?;
    let tokens = lease.runner().tokenize(question).await;
    let tokens = tokens.map_err(|error| engine_error(&error))?;
    Ok(tokens.into_iter().next().unwrap_or_default())
}

/// Makes the text of tokens.
pub(super) async fn detokenize(
    context: &Context,
    common: RequestOptions,
    tokens: Vec<Token>,
) -> Result<String, RequestError> {
    let lease = lease(context, &common).await?;
    let text = lease.runner().detokenize(tokens, common.client).await;
    text.map_err(|error| engine_error(&error))
}

async fn lease(context: &Context, common: &RequestOptions) -> Result<Lease, RequestError> {
    let prepared = prepare::find(context, common, Route::Generate).await?;
    let options = merge_options(&prepared, common)?;
    let loaded = load::load(context, &prepared, &options, common).await?;
    Ok(loaded.lease)
}
