//! Reranking: how well documents match a query.
//!
//! A reranker with a classification head scores pairs directly. Other models are asked whether the document
//! meets the query, and the probability of "yes" against "no" is the score: this is how Qwen's generative
//! rerankers are trained (<https://huggingface.co/Qwen/Qwen3-Reranker-0.6B>).

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};

use super::chat;
use super::context::Context;
use super::embed;
use super::error::{RequestError, internal, invalid};
use super::load;
use super::prepare::{self, Prepared, Route, merge_options};
use super::types::{ChatRequest, Logprob, Pair, RequestOptions, RerankRequest, RerankResponse};
use crate::chat::{Think, Turn};
use crate::model::capability::Capability;
use crate::protocol::{EmbedInput, EmbedParams};

/// The value of `pooling_type` in the header of a model with a classification head (llama.cpp's
/// `LLAMA_POOLING_TYPE_RANK`).
const RANK: u64 = 4;

/// The header's key of a reranker's prompt, with `{query}` and `{document}` in it.
const PROMPT: &str = "tokenizer.chat_template.rerank";

/// The instruction for a model without a rank head.
const SYSTEM: &str = "Judge whether the Document meets the requirements based on the Query and the Instruct \
    provided. Note that the answer can only be \"yes\" or \"no\".";
const INSTRUCT: &str = "Given a web search query, retrieve relevant passages that answer the query";

/// How many of the most probable first tokens are searched for "yes" and "no".
const CANDIDATES: u32 = 128;

/// Questions in the runner at once.
const AT_ONCE: usize = 16;

/// Scores all pairs.
pub(super) async fn run(
    context: &Context,
    request: RerankRequest,
) -> Result<RerankResponse, RequestError> {
    let prepared = prepare::find(context, &request.common, Route::Embed).await?;
    if prepared.header.number(".pooling_type") == Some(RANK) {
        return by_head(context, &prepared, request).await;
    }
    if prepared.has(Capability::Completion) {
        return by_question(context, request).await;
    }
    let name = &request.common.model;
    let error = invalid(format!("\"{name}\" does not support reranking"));
    Err(error.about("model", "unsupported_value"))
}

async fn by_head(
    context: &Context,
    prepared: &Prepared,
    request: RerankRequest,
) -> Result<RerankResponse, RequestError> {
    let common = request.common;
    let options = merge_options(prepared, &common)?;
    let loaded = load::load(context, prepared, &options, &common).await?;
    let params = EmbedParams {
        inputs: Vec::new(),
        n_ctx: embed::n_ctx(&loaded.lease, options.num_ctx, false),
        truncate: common.truncate.unwrap_or(true),
        normalize: false,
        priority: common.priority,
        client: common.client,
    };
    let template = prepared.header.string(PROMPT);
    let inputs = request.pairs.into_iter().map(|pair| match template {
        Some(template) => EmbedInput::Prompt {
            prompt: filled(template, &pair),
        },
        None => EmbedInput::Pair {
            query: pair.query,
            document: pair.document,
        },
    });
    let result = embed::compute(&loaded.lease, params, inputs.collect()).await?;
    loaded.meter.charge(result.n_tokens);
    let scores = result.vectors.iter().map(|vector| {
        let score = vector.first().copied();
        score.ok_or_else(|| internal("the model computed no score"))
    });
    Ok(RerankResponse {
        scores: scores.collect::<Result<_, _>>()?,
        n_prompt: result.n_tokens,
    })
}

/// Fills a template in one pass, so that a query that contains `{document}` stays a query.
fn filled(template: &str, pair: &Pair) -> String {
    let mut prompt = String::with_capacity(template.len() + pair.document.len());
    let mut rest = template;
    while let Some(at) = rest.find('{') {
        let (before, tail) = rest.split_at(at);
        prompt.push_str(before);
        let known = [("{query}", &pair.query), ("{document}", &pair.document)]
            .into_iter()
            .find_map(|(mark, text)| Some((tail.strip_prefix(mark)?, text.as_str())));
        let (after, text) = known.unwrap_or((&tail[1..], "{"));
        prompt.push_str(text);
        rest = after;
    }
    prompt + rest
}

async fn by_question(
    context: &Context,
    request: RerankRequest,
) -> Result<RerankResponse, RequestError> {
    let RerankRequest { common, pairs } = request;
    let asked = stream::iter(pairs).map(|pair| ask(context, &common, pair));
    let answers: Vec<(f32, u32)> = asked.buffered(AT_ONCE).try_collect().await?;
    Ok(RerankResponse {
        n_prompt: answers.iter().map(|(_, n_prompt)| n_prompt).sum(),
        scores: answers.into_iter().map(|(score, _)| score).collect(),
    })
}

/// Returns the score of a pair and the length of the prompt.
async fn ask(
    context: &Context,
    common: &RequestOptions,
    pair: Pair,
) -> Result<(f32, u32), RequestError> {
    let Pair { query, document } = pair;
    let question = format!("<Instruct>: {INSTRUCT}\n<Query>: {query}\n<Document>: {document}");
    let mut common = RequestOptions {
        think: Some(Think::Off),
        logprobs: true,
        top_logprobs: CANDIDATES,
        ..common.clone()
    };
    common.options.num_predict = Some(1);
    let request = ChatRequest {
        common,
        messages: vec![Turn::text("system", SYSTEM), Turn::text("user", question)],
        ..ChatRequest::default()
    };
    let mut started = chat::run(context, request).await?;
    let mut first = None;
    while let Some(chunk) = started.chunks.try_next().await? {
        first = first.or_else(|| chunk.logprobs.into_iter().next());
    }
    let n_prompt = started.n_prompt.unwrap_or_default();
    Ok((first.map_or(0.0, |first| probability(&first)), n_prompt))
}

/// The probability of "yes" against "no"; if neither is among the candidates, the answer is no.
fn probability(first: &Logprob) -> f32 {
    let likelihood = |word: &str| {
        let own = std::iter::once((&first.token, first.logprob));
        let others = first.top.iter().map(|top| (&top.token, top.logprob));
        own.chain(others)
            .filter(|(token, _)| token.trim().eq_ignore_ascii_case(word))
            .map(|(_, logprob)| logprob)
            .fold(f32::NEG_INFINITY, f32::max)
            .exp()
    };
    let (yes, no) = (likelihood("yes"), likelihood("no"));
    if yes + no > 0.0 {
        yes / (yes + no)
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inference::TopLogprob;

    #[test]
    fn a_template_is_filled_once() {
        let pair = Pair {
            query: "{document}?".to_owned(),
            document: "d {query}".to_owned(),
        };
        let template = "{a} <q>{query}</q> {document} {";
        assert_eq!(
            filled(template, &pair),
            "{a} <q>{document}?</q> d {query} {"
        );
    }

    #[test]
    fn a_score_is_the_share_of_yes() {
        let of = |token: &str, top: &[(&str, f32)]| {
            let top = top.iter().map(|&(token, p)| TopLogprob {
                token: token.to_owned(),
                logprob: p.ln(),
                bytes: Vec::new(),
            });
            probability(&Logprob {
                token: token.to_owned(),
                logprob: 0.5_f32.ln(),
                bytes: Vec::new(),
                top: top.collect(),
            })
        };
        assert!((of("yes", &[("no", 0.1), ("maybe", 0.3)]) - 0.5 / 0.6).abs() < 1e-6);
        assert!((of("The", &[(" Yes", 0.1), ("yes", 0.05), ("no", 0.3)]) - 0.25).abs() < 1e-6);
        assert!(of("The", &[]).abs() < 1e-6);
    }
}
