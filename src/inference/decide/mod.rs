//! Decisions: typed questions about a state, answered by probabilities instead of text.
//!
//! Each question is one prompt: the state, then the question with a label for each option. The answer is the
//! probabilities of the labels as the model's first token. All prompts of a request begin with the state: the
//! first question evaluates it, the others find it in the prefix cache.
//!
//! Models that were trained only for decisions have their own heads and prompts, which are not supported.

mod distribution;
mod labels;
mod prompt;
#[cfg(test)]
mod tests;

use std::time::Duration;

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};

pub use distribution::Distribution;

use super::chat;
use super::context::Context;
use super::error::{ErrorKind as Kind, RequestError, internal, invalid};
use super::load;
use super::prepare::{self, Prepared, Route, merge_options};
use super::refusal::engine_error;
use super::types::{ChatRequest, RequestOptions};
use crate::chat::{Block, Think, Turn};
use crate::config::KeepAlive;
use crate::model::capability::Capability;
use crate::protocol::Token;
use crate::runner_client::Tokenize;
use labels::{Label, Labels};

/// The most questions of a request: OpenAI's own limit.
pub const MOST_QUESTIONS: usize = 400;

/// The most options of a choice: the limit that OpenAI and `TypeSafe` have.
pub const MOST_OPTIONS: usize = 255;

/// The most levels of a score.
pub const MOST_LEVELS: usize = 10;

/// Questions in the runner at once.
const AT_ONCE: usize = 16;

/// Bytes of a prompt's end that labels are tokenized with, where its message cannot be found.
const MOST_TAIL: usize = 256;

/// How long a model stays at least until the next step of a request.
const BETWEEN_STEPS: Duration = Duration::from_secs(10);

/// The header key that says what kind of decision model a model is.
const HEAD: &str = ".decision.type";

/// A request with questions about a state.
#[derive(Debug, Clone, Default)]
pub struct DecideRequest {
    /// Only `model`, `options`, `keep_alive`, `priority` and `client` are used.
    pub common: RequestOptions,
    /// The system message; empty = none.
    pub instructions: String,
    /// What the questions are about.
    pub state: Vec<Block>,
    pub questions: Vec<Question>,
}

/// A question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// For error messages.
    pub name: String,
    /// What is asked; may be empty.
    pub instructions: String,
    pub kind: QuestionKind,
}

/// What the answers to a question may be. Descriptions may be empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum QuestionKind {
    /// One of several options.
    Choice(Vec<Choice>),
    /// A level of a scale, lowest first.
    Score(Vec<String>),
    /// Yes or no, with what each means. Probabilities have yes first.
    YesNo { yes: String, no: String },
}

/// An option.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    pub name: String,
    pub description: String,
}

/// The answers, in the order of the questions.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Decisions {
    pub answers: Vec<Distribution>,
    /// Tokens of all prompts; those of the state are counted once.
    pub n_input: u32,
    /// The part of them that came from the prefix cache.
    pub n_cached: u32,
}

/// Answers all questions.
pub(super) async fn run(
    context: &Context,
    mut request: DecideRequest,
) -> Result<Decisions, RequestError> {
    request.questions.iter().try_for_each(check)?;
    if !(1..=MOST_QUESTIONS).contains(&request.questions.len()) {
        let message = format!("\"questions\" must have 1 to {MOST_QUESTIONS} entries");
        return Err(invalid(message).about("questions", "invalid_value"));
    }
    let prepared = prepare::find(context, &request.common, Route::Chat).await?;
    check_model(&prepared, &request.common.model)?;
    let (between, after) = stays(
        request.common.keep_alive.take(),
        context.scheduler.keep_alive(),
    );
    request.common.keep_alive = between;
    let read = labels_at(context, &prepared, &request).await?;
    let labels = request
        .questions
        .iter()
        .map(|question| read.labels.of(question));
    let labels: Vec<Vec<Label>> = labels.collect::<Result<_, _>>()?;
    let n_questions = request.questions.len();
    if n_questions == 1 {
        request.common.keep_alive = after;
    }
    let ask = |index: usize| ask(context, &request, &request.questions[index], &labels[index]);
    if n_questions == 1 {
        return Ok(summed(vec![ask(0).await?], 0));
    }
    let all = async {
        let mut reads = vec![ask(0).await?];
        let rest = stream::iter(1..n_questions).map(ask);
        let rest: Vec<Read> = rest.buffered(read.n_at_once).try_collect().await?;
        reads.extend(rest);
        Ok::<_, RequestError>(reads)
    };
    let reads = all.await;
    let last = RequestOptions {
        keep_alive: after,
        ..request.common.clone()
    };
    // Also after a question that failed: it says how long the model stays. An answer is worth more than its count.
    let state = chat::count(context, conversation(&request, None, last)).await;
    let n_shared = state.map_or(0, |n_state| n_state.saturating_sub(read.n_tail));
    Ok(summed(reads?, n_shared))
}

/// The keep-alive of all steps but the last one, and that of the last. With a short time, the model would be loaded
/// again for each step.
fn stays(asked: Option<KeepAlive>, default: KeepAlive) -> (Option<KeepAlive>, Option<KeepAlive>) {
    let stay = asked.unwrap_or(default);
    if matches!(stay, KeepAlive::For(time) if time < BETWEEN_STEPS) {
        (Some(KeepAlive::For(BETWEEN_STEPS)), Some(stay))
    } else {
        (None, asked)
    }
}

/// The result of one question.
#[derive(Debug)]
struct Read {
    distribution: Distribution,
    n_prompt: u32,
    n_cached: u32,
}

fn summed(reads: Vec<Read>, n_shared: u32) -> Decisions {
    let sum = |of: fn(&Read) -> u32| reads.iter().map(of).fold(0, u32::saturating_add);
    let n_again = u32::try_from(reads.len().saturating_sub(1)).unwrap_or(u32::MAX);
    let n_input = sum(|read| read.n_prompt).saturating_sub(n_shared.saturating_mul(n_again));
    let n_computed = sum(|read| read.n_prompt.saturating_sub(read.n_cached));
    Decisions {
        answers: reads.into_iter().map(|read| read.distribution).collect(),
        n_input,
        n_cached: n_input.saturating_sub(n_computed),
    }
}

fn check(question: &Question) -> Result<(), RequestError> {
    let (n, least, most, what) = match &question.kind {
        QuestionKind::Choice(options) => (options.len(), 2, MOST_OPTIONS, "options"),
        QuestionKind::Score(levels) => (levels.len(), 2, MOST_LEVELS, "levels"),
        QuestionKind::YesNo { .. } => return Ok(()),
    };
    if (least..=most).contains(&n) {
        return Ok(());
    }
    let name = &question.name;
    let message = format!("question \"{name}\" has {n} {what}; it must have {least} to {most}");
    Err(invalid(message).about("questions", "invalid_value"))
}

fn check_model(prepared: &Prepared, requested: &str) -> Result<(), RequestError> {
    if let Some(kind) = prepared.header.string(HEAD) {
        let message = format!(
            "\"{requested}\" is a decision model of the type \"{kind}\", with a prompt and a head of its own that \
             this server cannot use; ask a chat model"
        );
        return Err(
            RequestError::new(Kind::Unsupported, message).about("model", "unsupported_value")
        );
    }
    if !prepared.has(Capability::Completion) {
        let message = format!("\"{requested}\" does not support decisions");
        return Err(invalid(message).about("model", "unsupported_value"));
    }
    Ok(())
}

/// What a model's vocabulary and template say before it is asked.
#[derive(Debug)]
struct Begin {
    labels: Labels,
    /// Tokens of a prompt after the message.
    n_tail: u32,
    /// Questions that its runner takes at once.
    n_at_once: usize,
}

/// Finds the tokens of labels where an answer begins.
///
/// The tokens of a text depend on what precedes it, so labels are tokenized after a short prompt that ends like
/// those of the questions.
async fn labels_at(
    context: &Context,
    prepared: &Prepared,
    request: &DecideRequest,
) -> Result<Begin, RequestError> {
    let mut common = request.common.clone();
    common.debug_render_only = true;
    let asked = conversation(
        &DecideRequest::default(),
        Some(prompt::CLOSE.to_owned()),
        common,
    );
    let mut started = chat::run(context, asked).await?;
    let mut prompt = None;
    while let Some(chunk) = started.chunks.try_next().await? {
        prompt = prompt.or(chunk.done.and_then(|done| done.debug));
    }
    let (prompt, _) = prompt.ok_or_else(|| internal("the prompt was not rendered"))?;
    if !prepared.chat_format.answers_at_once(&prompt) {
        let message = format!(
            "\"{}\" begins its answers with something else, such as thinking, and decisions are read where an \
             answer begins",
            request.common.model
        );
        return Err(
            RequestError::new(Kind::Unsupported, message).about("model", "unsupported_value")
        );
    }
    let wanted = labels::wanted(&request.questions);
    let tail = tail(&prompt);
    let message = tail.get(..prompt::CLOSE.len()).unwrap_or(tail);
    let mut texts = vec![message.to_owned(), tail.to_owned()];
    texts.extend(wanted.iter().map(|label| format!("{tail}{label}")));
    let (tokens, n_slots) = tokens(context, prepared, &request.common, texts).await?;
    let mut tokens = tokens.into_iter();
    let (message, tail) = (
        tokens.next().unwrap_or_default(),
        tokens.next().unwrap_or_default(),
    );
    let n_tail = tail.len().saturating_sub(message.len());
    Ok(Begin {
        labels: Labels::new(wanted, &tail, tokens),
        n_tail: u32::try_from(n_tail).unwrap_or(u32::MAX),
        n_at_once: n_slots.clamp(1, AT_ONCE),
    })
}

/// The end of a prompt, from the last line of its message on. What precedes it, such as a system message of any length,
/// would be tokenized again with each label.
fn tail(prompt: &str) -> &str {
    let begin = prompt.rfind(prompt::CLOSE).unwrap_or_else(|| {
        // The template has changed or left out the message.
        prompt.ceil_char_boundary(prompt.len().saturating_sub(MOST_TAIL))
    });
    &prompt[begin..]
}

async fn tokens(
    context: &Context,
    prepared: &Prepared,
    common: &RequestOptions,
    texts: Vec<String>,
) -> Result<(Vec<Vec<Token>>, usize), RequestError> {
    let options = merge_options(prepared, common)?;
    let loaded = load::load(context, prepared, &options, common).await?;
    let question = Tokenize {
        texts,
        client: common.client.clone(),
        ..Tokenize::default()
    };
    let runner = loaded.lease.runner();
    let tokens = runner.tokenize(question).await;
    let tokens = tokens.map_err(|error| engine_error(&error))?;
    Ok((tokens, runner.info().n_slots as usize))
}

/// The conversation about a state: with a question's text, or without.
fn conversation(
    request: &DecideRequest,
    question: Option<String>,
    common: RequestOptions,
) -> ChatRequest {
    let mut messages = Vec::new();
    if !request.instructions.is_empty() {
        messages.push(Turn::text("system", request.instructions.clone()));
    }
    let mut blocks = request.state.clone();
    blocks.extend(question.map(Block::Text));
    messages.push(Turn {
        role: "user".to_owned(),
        blocks,
        ..Turn::default()
    });
    ChatRequest {
        common: RequestOptions {
            think: Some(Think::Off),
            // A question is not answered on a truncated prompt.
            truncate: Some(false),
            shift: Some(false),
            ..common
        },
        messages,
        ..ChatRequest::default()
    }
}

async fn ask(
    context: &Context,
    request: &DecideRequest,
    question: &Question,
    labels: &[Label],
) -> Result<Read, RequestError> {
    let mut common = request.common.clone();
    common.logprobs = true;
    common.logprobs_of = labels
        .iter()
        .flat_map(|label| &label.tokens)
        .copied()
        .collect();
    // A single token, whatever it is: log-probabilities are computed before the token is picked.
    common.options.num_predict = Some(1);
    common.options.min_tokens = Some(1);
    let text = prompt::text(question, labels);
    let conversation = conversation(request, Some(text), common);
    let mut started = chat::run(context, conversation).await?;
    let (mut first, mut timings) = (None, None);
    while let Some(chunk) = started.chunks.try_next().await? {
        first = first.or_else(|| chunk.logprobs.into_iter().next());
        timings = timings.or(chunk.done.and_then(|done| done.timings));
    }
    let timings = timings.unwrap_or_default();
    let first = first.ok_or_else(|| {
        // The prompt used up the tokens that the key had left.
        let message = format!("no tokens are left for the answer to \"{}\"", question.name);
        RequestError::new(Kind::RateLimited, message).coded("rate_limit_exceeded")
    })?;
    let logprobs = first.top.iter().map(|top| f64::from(top.logprob));
    let n_tokens = labels.iter().map(|label| label.tokens.len());
    Ok(Read {
        distribution: Distribution::new(&logprobs.collect::<Vec<_>>(), n_tokens),
        n_prompt: started.n_prompt.unwrap_or(timings.n_prompt),
        n_cached: timings.n_cached,
    })
}
