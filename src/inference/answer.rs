//! Turns a generation of the engine into the chunks of an answer.

use std::time::{Duration, Instant};

use futures_util::stream;

use super::calls::Calls;
use super::engine_words::{logprob, millis, told, told_of};
use super::error::{RequestError, internal};
use super::load::Loaded;
use super::permit::Meter;
use super::refusal::{Refusal, broken, longer};
use super::types::{Chunk, Done, DoneReason, Started, Timings};
use super::waiting::Waiting;
use crate::metrics::{self, Class};
use crate::parser::{ParseError, Parser, Piece};
use crate::protocol::{
    FailureKind, FinishReason, Finished, GenerateParams, Priority, TokenLogprob,
};
use crate::runner_client::{Generation, GenerationEvent, RunnerError, Tokenize};
use crate::scheduler::Lease;

/// What one answer needs besides the engine's parameters.
#[derive(Debug)]
pub(super) struct AnswerSpec {
    pub(super) params: GenerateParams,
    pub(super) parser: Box<dyn Parser>,
    pub(super) calls: Calls,
    /// The request's own stop sequences, which an answer reports if one ends it.
    pub(super) stops: Vec<String>,
    /// Text of the prompt, if the final object carries the `context` tokens.
    pub(super) context_of: Option<String>,
    /// Messages were dropped to make the prompt fit.
    pub(super) truncated: bool,
    /// The error text for a prompt that does not fit, instead of the engine's.
    pub(super) too_long: Option<&'static str>,
    /// When the request arrived.
    pub(super) received: Instant,
}

/// Submits a generation and waits until the engine has accepted its prompt.
pub(super) async fn start(loaded: Loaded, spec: AnswerSpec) -> Result<Started, Refusal> {
    let Loaded {
        lease,
        load,
        model,
        meter,
        waiting,
    } = loaded;
    let class = match spec.params.priority {
        Priority::Interactive => Class::Interactive,
        Priority::Batch => Class::Batch,
    };
    let (n_ctx, client) = (spec.params.n_ctx, spec.params.client.clone());
    let mut generation = lease.runner().generate(spec.params).await?;
    let (n_prompt, is_cut) = match generation.next().await {
        Some(Ok(GenerationEvent::Started { n_prompt, is_cut })) => {
            if is_cut {
                tracing::warn!(n_prompt, n_ctx, "the prompt was cut to fit the context");
            }
            (n_prompt, is_cut)
        }
        Some(Err(error)) => {
            let words = spec
                .too_long
                .filter(|_| error.kind() == FailureKind::ContextExceeded);
            return Err(words.map_or_else(|| error.into(), |words| longer(words).into()));
        }
        Some(Ok(_)) | None => return Err(internal("the runner did not accept the prompt").into()),
    };
    meter.prompt(n_prompt)?;
    waiting.queued(lease.runner().clone(), generation.id());
    let answer = Answer {
        watch: metrics::Generation::new(&model, class, spec.received, n_prompt),
        generation: Some(generation),
        lease,
        meter,
        waiting,
        n_prompt,
        started: Instant::now(),
        parser: spec.parser,
        calls: spec.calls,
        stops: spec.stops,
        n_thinking: 0,
        n_undecided: 0,
        answers: false,
        context_of: spec.context_of,
        client,
        truncated: spec.truncated || is_cut,
        raw: String::new(),
        load,
        received: spec.received,
        ended: false,
    };
    let chunks = stream::unfold(answer, |mut answer| async move {
        let chunk = answer.next().await?;
        Some((chunk, answer))
    });
    Ok(Started {
        n_prompt: Some(n_prompt),
        chunks: Box::pin(chunks),
    })
}

/// An answer in progress. The lease lives as long as it does.
struct Answer {
    watch: metrics::Generation,
    /// `None` = it was ended early.
    generation: Option<Generation>,
    lease: Lease,
    meter: Meter,
    waiting: Waiting,
    n_prompt: u32,
    started: Instant,
    parser: Box<dyn Parser>,
    calls: Calls,
    stops: Vec<String>,
    /// Thinking tokens before the answer.
    n_thinking: u32,
    /// Tokens that are not yet known to be thinking or answer.
    n_undecided: u32,
    /// Output other than thinking has arrived.
    answers: bool,
    context_of: Option<String>,
    client: String,
    truncated: bool,
    /// All output of the model, if the request wants `context` tokens.
    raw: String,
    load: Duration,
    received: Instant,
    ended: bool,
}

impl Answer {
    async fn next(&mut self) -> Option<Result<Chunk, RequestError>> {
        if self.ended {
            return None;
        }
        loop {
            let generation = self.generation.as_mut()?;
            let event = generation.next().await;
            if !self.waiting.is_over() {
                self.waiting.answered();
            }
            match event {
                Some(Ok(GenerationEvent::Started { .. })) => {}
                Some(Ok(GenerationEvent::Text {
                    text,
                    n_tokens,
                    parts,
                    prompt,
                    mut logprobs,
                })) => {
                    if !self.meter.answer(n_tokens) {
                        self.ended = true;
                        let (n_bytes, n_tokens) = self.meter.parts(&parts);
                        self.watch.tokens(n_tokens);
                        logprobs.truncate(n_tokens as usize);
                        let text = text.get(..n_bytes).unwrap_or_default();
                        return Some(self.cut(text, n_tokens, logprobs).await);
                    }
                    self.watch.tokens(n_tokens);
                    let chunk = self
                        .text(&text, n_tokens, logprobs)
                        .map(|chunk| told(prompt, chunk));
                    if let Some(chunk) = chunk.transpose() {
                        // After an error, the parser has no more output.
                        self.ended = chunk.is_err();
                        if self.ended {
                            self.watch.failed();
                        }
                        return Some(chunk);
                    }
                }
                Some(Ok(GenerationEvent::Finished(finished))) => {
                    self.ended = true;
                    self.watch.finished(&told_of(&finished));
                    return Some(self.finish(finished).await);
                }
                Some(Err(error)) => {
                    self.ended = true;
                    self.watch.failed();
                    return Some(Err(broken(&error)));
                }
                None => {
                    self.ended = true;
                    self.watch.failed();
                    let error = RunnerError::Gone(String::new());
                    return Some(Err(broken(&error)));
                }
            }
        }
    }

    fn text(
        &mut self,
        text: &str,
        n_tokens: u32,
        logprobs: Vec<TokenLogprob>,
    ) -> Result<Option<Chunk>, RequestError> {
        if self.context_of.is_some() {
            self.raw.push_str(text);
        }
        let piece = self.parser.push(text).map_err(unreadable)?;
        self.count(&piece, n_tokens, text.len());
        let piece = self.calls.told(piece);
        if piece.is_empty() && logprobs.is_empty() {
            return Ok(None);
        }
        Ok(Some(Chunk {
            echo: None,
            content: piece.content,
            thinking: piece.thinking,
            tool_calls: piece.tool_calls,
            call_parts: piece.parts,
            logprobs: logprobs.into_iter().map(logprob).collect(),
            prompt_truncated: self.truncated,
            done: None,
        }))
    }

    /// Counts thinking tokens: those before any other output. If a piece contains both, its tokens are
    /// divided by the lengths of the texts.
    fn count(&mut self, piece: &Piece, n_tokens: u32, n_bytes: usize) {
        let is_answer =
            !piece.content.is_empty() || !piece.tool_calls.is_empty() || !piece.parts.is_empty();
        if !piece.thinking.is_empty() {
            let share = if is_answer {
                let n_thought = u64::from(n_tokens) * piece.thinking.len() as u64;
                let n_thought = n_thought / n_bytes.max(1) as u64;
                u32::try_from(n_thought).map_or(n_tokens, |n_thought| n_thought.min(n_tokens))
            } else {
                n_tokens
            };
            let n_undecided = std::mem::take(&mut self.n_undecided);
            self.n_thinking = self.n_thinking.saturating_add(n_undecided + share);
        } else if !self.answers && !is_answer {
            // A tag, or the possible start of one.
            self.n_undecided += n_tokens;
        }
        self.answers |= is_answer;
    }

    /// Ends an answer after this text, because its key has no tokens left.
    async fn cut(
        &mut self,
        text: &str,
        n_tokens: u32,
        logprobs: Vec<TokenLogprob>,
    ) -> Result<Chunk, RequestError> {
        // Dropping the generation stops the model.
        self.generation = None;
        let before = self.text(text, n_tokens, logprobs)?.unwrap_or_default();
        let finished = Finished {
            reason: FinishReason::Length,
            n_prompt: self.n_prompt,
            n_cached: 0,
            n_generated: self.meter.end(0),
            n_drafted: 0,
            n_accepted: 0,
            queue_ms: 0.0,
            prompt_ms: 0.0,
            generate_ms: self.started.elapsed().as_secs_f64() * 1e3,
        };
        self.watch.finished(&told_of(&finished));
        let mut last = self.finish(finished).await?;
        last.content.insert_str(0, &before.content);
        last.thinking.insert_str(0, &before.thinking);
        last.tool_calls.splice(..0, before.tool_calls);
        last.call_parts = before.call_parts;
        last.logprobs = before.logprobs;
        Ok(last)
    }

    async fn finish(&mut self, finished: Finished) -> Result<Chunk, RequestError> {
        let n_generated = self.meter.end(finished.n_generated);
        let piece = match finished.reason {
            FinishReason::Stop | FinishReason::StopSequence(_) => {
                self.parser.finish().map_err(unreadable)?
            }
            FinishReason::Length => self.parser.cut(),
        };
        let piece = self.calls.told(piece);
        let context = match self.context_of.take() {
            None => None,
            Some(prompt) => {
                let text = prompt + &self.raw;
                let question = Tokenize {
                    texts: vec![text],
                    client: std::mem::take(&mut self.client),
                    ..Tokenize::default()
                };
                let tokens = self.lease.runner().tokenize(question).await;
                tokens.map_err(|error| broken(&error))?.into_iter().next()
            }
        };
        Ok(Chunk {
            echo: None,
            content: piece.content,
            thinking: piece.thinking,
            tool_calls: piece.tool_calls,
            call_parts: piece.parts,
            logprobs: Vec::new(),
            prompt_truncated: self.truncated,
            done: Some(Done {
                reason: match finished.reason {
                    FinishReason::StopSequence(stop) if self.stops.contains(&stop) => {
                        DoneReason::StopSequence(stop)
                    }
                    FinishReason::Stop | FinishReason::StopSequence(_) => DoneReason::Stop,
                    FinishReason::Length => DoneReason::Length,
                },
                timings: Some(Timings {
                    total: self.received.elapsed(),
                    load: self.load,
                    n_prompt: finished.n_prompt,
                    n_cached: finished.n_cached,
                    prompt: millis(finished.prompt_ms),
                    n_generated,
                    n_thinking: self.n_thinking.min(n_generated),
                    generate: millis(finished.generate_ms),
                    n_drafted: finished.n_drafted,
                    n_accepted: finished.n_accepted,
                }),
                context,
                debug: None,
                prompt_truncated: self.truncated,
            }),
        })
    }
}

/// An answer that generates nothing: a single chunk.
pub(super) fn single(reason: DoneReason, debug: Option<(String, usize)>) -> Started {
    let done = Done {
        reason,
        timings: None,
        context: None,
        debug,
        prompt_truncated: false,
    };
    let chunk = Chunk {
        done: Some(done),
        ..Chunk::default()
    };
    Started {
        n_prompt: None,
        chunks: Box::pin(stream::once(async move { Ok(chunk) })),
    }
}

/// The model's output is not valid in its own format.
#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn unreadable(error: ParseError) -> RequestError {
    internal(error.to_string())
}
