//! A request in preparation.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::embedding::Embedding;
use super::generation::{Generation, Need};
use super::reading::Reading;
use super::{Outcome, Terms, limits};
use crate::engine::backend::{MediaEncoder, Preparer};
use crate::engine::prompt;
use crate::protocol::{
    Command, Constraint, Event, Failure, FailureKind, Priority, RequestId, Token,
};

/// Tokens that are turned into text in one slice.
const SLICE_TOKENS: usize = 16 << 10;

/// A request and its progress.
pub(super) struct Job<P: Preparer> {
    pub(super) id: RequestId,
    pub(super) client: String,
    pub(super) priority: Priority,
    /// Bytes of the command.
    pub(super) n_bytes: usize,
    arrived: Instant,
    task: Task<P>,
}

enum Task<P: Preparer> {
    Generate(Box<Generation<P>>),
    /// A prompt that is only counted.
    Count(Box<Generation<P>>),
    Embed(Embedding),
    Tokenize(Tokenization),
    Detokenize {
        tokens: Vec<Token>,
        n_done: usize,
        bytes: Vec<u8>,
    },
}

/// Texts that are only tokenized.
struct Tokenization {
    texts: VecDeque<String>,
    add_special: bool,
    parse_special: bool,
    /// Tokenizing a text stops when it has more tokens than this.
    limit: usize,
    reading: Option<Reading>,
    tokens: Vec<Vec<Token>>,
}

impl<P: Preparer> Job<P> {
    /// Makes a job of a command; `None` if the command needs no preparation.
    pub(super) fn new(command: Command, terms: &Terms<P>) -> Option<Result<Self, Failed>> {
        let n_bytes = command.n_bytes();
        let (id, client, priority, task) = match command {
            Command::Generate { id, params } => {
                let (client, priority) = (params.client.clone(), params.priority);
                let task = Generation::new(*params, terms);
                (
                    id,
                    client,
                    priority,
                    task.map(|task| Task::Generate(Box::new(task))),
                )
            }
            Command::Count { id, params } => {
                let (client, priority) = (params.client.clone(), params.priority);
                let task = Generation::counted(*params, terms);
                let task = task.map(|task| Task::Count(Box::new(task)));
                (id, client, priority, task)
            }
            Command::Embed { id, params } => {
                let (client, priority) = (params.client.clone(), params.priority);
                (
                    id,
                    client,
                    priority,
                    Embedding::new(params).map(Task::Embed),
                )
            }
            Command::Tokenize {
                id,
                texts,
                add_special,
                parse_special,
                limit,
                client,
            } => {
                let task = limits::check_texts(&texts).map(|()| {
                    Task::Tokenize(Tokenization {
                        texts: texts.into(),
                        add_special,
                        parse_special,
                        limit: limit.map_or(usize::MAX, |limit| limit as usize),
                        reading: None,
                        tokens: Vec::new(),
                    })
                });
                (id, client, Priority::Interactive, task)
            }
            Command::Detokenize { id, tokens, client } => {
                let task = check_tokens(&tokens, terms).map(|()| Task::Detokenize {
                    tokens,
                    n_done: 0,
                    bytes: Vec::new(),
                });
                (id, client, Priority::Interactive, task)
            }
            _ => return None,
        };
        Some(match task {
            Ok(task) => Ok(Self {
                id,
                client,
                priority,
                n_bytes,
                arrived: Instant::now(),
                task,
            }),
            Err(failure) => Err((id, failure)),
        })
    }

    /// How long ago it arrived.
    pub(super) fn age(&self) -> Duration {
        self.arrived.elapsed()
    }

    /// Does a slice of the work; returns what is needed next.
    pub(super) fn advance(&mut self, terms: &Terms<P>) -> Result<Need, Failure> {
        let more = match &mut self.task {
            Task::Generate(generation) | Task::Count(generation) => {
                return generation.advance(terms);
            }
            Task::Embed(embedding) => embedding.advance(terms)?,
            Task::Tokenize(tokenization) => tokenization.advance(terms)?,
            Task::Detokenize {
                tokens,
                n_done,
                bytes,
            } => {
                for &token in tokens.iter().skip(*n_done).take(SLICE_TOKENS) {
                    terms.preparer.append_piece(token, true, bytes);
                }
                *n_done += SLICE_TOKENS;
                *n_done < tokens.len()
            }
        };
        Ok(if more { Need::Time } else { Need::Nothing })
    }

    /// The constraint that is to be compiled.
    pub(super) fn constraint(&self) -> Option<&Constraint> {
        match &self.task {
            Task::Generate(generation) => generation.constraint(),
            _ => None,
        }
    }

    pub(super) fn set_grammar(&mut self, grammar: P::Grammar) {
        if let Task::Generate(generation) = &mut self.task {
            generation.set_grammar(grammar);
        }
    }

    /// Encodes one image.
    pub(super) fn encode(&mut self, encoder: &mut dyn MediaEncoder) -> Result<(), Failure> {
        match &mut self.task {
            Task::Generate(generation) | Task::Count(generation) => generation.encode(encoder),
            _ => Ok(()),
        }
    }

    /// Makes the result.
    pub(super) fn finish(self, terms: &Terms<P>) -> Result<Outcome<P::Sampler>, Failure> {
        let id = self.id;
        Ok(match self.task {
            Task::Generate(generation) => {
                Outcome::Prepared(generation.finish(id, self.arrived, terms)?)
            }
            Task::Count(generation) => Outcome::Answer(Event::Counted {
                id,
                n_tokens: generation.n_prompt(),
            }),
            Task::Embed(embedding) => Outcome::Prepared(embedding.finish(id)),
            Task::Tokenize(Tokenization { tokens, .. }) => {
                Outcome::Answer(Event::Tokenized { id, tokens })
            }
            Task::Detokenize { bytes, .. } => Outcome::Answer(Event::Detokenized {
                id,
                text: String::from_utf8_lossy(&bytes).into_owned(),
            }),
        })
    }
}

/// A request that failed.
pub(super) type Failed = (RequestId, Failure);

fn check_tokens<P: Preparer>(tokens: &[Token], terms: &Terms<P>) -> Result<(), Failure> {
    limits::check_tokens(tokens.len())?;
    prompt::check(terms.preparer.info(), tokens)
}

impl Tokenization {
    /// Tokenizes a slice of the first text; false when no text is left.
    fn advance<P: Preparer>(&mut self, terms: &Terms<P>) -> Result<bool, Failure> {
        let preparer = &*terms.preparer;
        if let Some(reading) = &mut self.reading {
            if reading.advance(preparer) && reading.len() <= self.limit {
                return Ok(true);
            }
            let tokens = self.reading.take().map(Reading::into_tokens);
            let mut tokens = tokens.unwrap_or_default();
            if self.add_special {
                let ends = preparer.ends();
                let parts = [&ends.before, &tokens, &ends.after];
                tokens = parts.map(Vec::as_slice).concat();
                if self.parse_special && preparer.info().add_bos {
                    prompt::drop_second_bos(&mut tokens);
                }
            }
            self.tokens.push(tokens);
        }
        let Some(text) = self.texts.pop_front() else {
            return Ok(false);
        };
        let next = Reading::new(preparer, text, self.parse_special);
        self.reading = Some(next.map_err(|error| prompt::refused(&error))?);
        Ok(true)
    }
}

/// Prepares a request completely.
#[cfg(test)]
pub(in crate::engine) fn now<P: Preparer>(
    command: Command,
    terms: &Terms<P>,
    mut reader: Option<&mut Box<dyn MediaEncoder>>,
) -> Result<Outcome<P::Sampler>, Failed> {
    let mut job = Job::new(command, terms).expect("a command to prepare")?;
    let id = job.id;
    loop {
        let done = match job.advance(terms) {
            Ok(Need::Time) => Ok(()),
            Ok(Need::Media) => match &mut reader {
                Some(reader) => job.encode(&mut ***reader),
                None => Err(blind()),
            },
            Ok(Need::Compiler) => {
                let constraint = job.constraint().expect("it has one").clone();
                let grammar = terms.preparer.compile(&constraint);
                let grammar = grammar.map_err(|error| prompt::refused(&error));
                grammar.map(|grammar| job.set_grammar(grammar))
            }
            Ok(Need::Nothing) => return job.finish(terms).map_err(|failure| (id, failure)),
            Err(failure) => Err(failure),
        };
        done.map_err(|failure| (id, failure))?;
    }
}

/// The error for images with a model without a projector.
pub(super) fn blind() -> Failure {
    prompt::failure(FailureKind::Unsupported, "this model cannot see images")
}
