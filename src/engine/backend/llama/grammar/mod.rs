//! Constraints: JSON schemas, regular expressions and grammars as masks over the vocabulary
//! (llguidance).
//!
//! The vocabulary's trie is built with the first constraint of a model (some hundred milliseconds
//! for the largest vocabularies) and shared by all later ones. End tokens are allowed exactly where
//! the text is complete.
//!
//! A constraint is a program that a client sends. [`limits`] says how large it may be, [`pace`] how long it may
//! compute between two tokens; [`recent`] caches compiled constraints.

mod limits;
mod pace;
mod recent;

use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};

use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::sampling::LlamaSampler;
use llguidance::api::TopLevelGrammar;
use llguidance::toktrie::SimpleVob;
use llguidance::{JsonCompileOptions, Matcher, ParserFactory};
use serde_json::{Value, json};

use self::pace::{Budget, Clock, Watched};
use self::recent::{Compiled, Recent};
use crate::engine::backend::BackendError;
use crate::protocol::{Constraint, Token};

/// Whitespace between JSON's tokens: none, a space, or line breaks with an indentation. With unlimited
/// whitespace, a model sometimes writes nothing else.
const WHITESPACE: &str = r"( |\n{1,2}[ \t]{0,20})";

/// States of the automaton that reads a constraint's text, at one to two kilobytes each. Schemas and
/// grammars of people and agents need some hundreds.
const STATES: usize = 50_000;

/// Makes constraints for one model.
pub(super) struct Grammars {
    model: Arc<LlamaModel>,
    factory: OnceLock<Result<ParserFactory, String>>,
    recent: Recent,
    clock: Clock,
}

/// The state of one sequence's constraint.
pub(crate) struct Grammar {
    compiled: Compiled,
    watched: Option<Arc<Watched>>,
    budget: Budget,
}

impl Grammars {
    pub(super) fn new(model: Arc<LlamaModel>) -> Self {
        Self {
            model,
            factory: OnceLock::new(),
            recent: Recent::default(),
            clock: Clock::default(),
        }
    }

    /// A constraint that was compiled recently.
    pub(super) fn recall(&self, constraint: &Constraint) -> Option<Grammar> {
        let compiled = self.recent.find(constraint)?;
        Some(self.start(compiled))
    }

    /// Compiles a constraint; an error says what is wrong with it.
    pub(super) fn compile(&self, constraint: &Constraint) -> Result<Grammar, BackendError> {
        if let Some(known) = self.recall(constraint) {
            return Ok(known);
        }
        let unread = |error: &str| match constraint {
            Constraint::JsonObject | Constraint::JsonSchema(_) => unusable(error),
            Constraint::Regex(_) => BackendError(format!("failed to read the regex: {error}")),
            Constraint::Lark(_) => BackendError(format!("failed to read the grammar: {error}")),
        };
        limits::check_bytes(constraint).map_err(|error| unread(&error))?;
        let grammar = match constraint {
            Constraint::JsonObject | Constraint::JsonSchema(_) => {
                TopLevelGrammar::from_json_schema(schema(constraint)?)
            }
            Constraint::Regex(pattern) => TopLevelGrammar::from_regex(pattern),
            Constraint::Lark(text) => TopLevelGrammar::from_lark(text.clone()),
        };
        let factory = self.factory.get_or_init(|| self.make_factory());
        let factory = factory
            .as_ref()
            .map_err(|error| BackendError(error.clone()))?;
        let parser = factory.create_parser(grammar);
        let matcher = Matcher::new(parser).into_cancellable();
        if let Some(error) = matcher.get_error() {
            return Err(unread(&error));
        }
        let compiled = Compiled::new(matcher);
        // A constraint that no text can match shows at the first token.
        if let Err(error) = self.start(compiled.clone()).allowed() {
            let error = error.to_string();
            let is_empty = error.contains("NoExtensionBias");
            return Err(unread(if is_empty {
                "no text matches it"
            } else {
                &error
            }));
        }
        self.recent.keep(constraint, compiled.clone());
        Ok(self.start(compiled))
    }

    fn start(&self, compiled: Compiled) -> Grammar {
        let handle = compiled.matcher.cancellation_handle();
        Grammar {
            watched: handle.map(|handle| self.clock.watch(handle)),
            compiled,
            budget: Budget::default(),
        }
    }

    fn make_factory(&self) -> Result<ParserFactory, String> {
        let vocabulary = LlamaSampler::llguidance_tok_env(&self.model);
        let mut factory =
            ParserFactory::new_simple(&vocabulary).map_err(|error| error.to_string())?;
        factory.quiet();
        let limits = factory.limits_mut();
        limits.verbose_errors = false;
        limits.max_lexer_states = STATES;
        Ok(factory)
    }
}

impl Grammar {
    /// The tokens that may come next.
    pub(super) fn allowed(&mut self) -> Result<SimpleVob, BackendError> {
        self.budget.earn();
        self.compute(Matcher::compute_mask_or_eos)
    }

    /// Advances by a token.
    pub(super) fn accept(&mut self, token: Token) -> Result<(), BackendError> {
        // Only the end token follows a complete text; the matcher need not see it.
        if self.compiled.matcher.is_stopped() {
            return Ok(());
        }
        let token = u32::try_from(token).map_err(|_| broken("not a token"))?;
        self.compute(|matcher| matcher.consume_token(token))
    }

    /// Runs a computation within the time limits.
    fn compute<T, E: std::fmt::Display>(
        &mut self,
        compute: impl FnOnce(&mut Matcher) -> Result<T, E>,
    ) -> Result<T, BackendError> {
        let matcher = &mut self.compiled.matcher;
        let begun = pace::processor_time();
        let result = match &self.watched {
            Some(watched) => watched.run(|| compute(matcher)),
            None => compute(matcher),
        };
        let spent = pace::processor_time().saturating_sub(begun);
        if !self.budget.spend(spent) || matcher.is_cancelled() {
            return Err(BackendError(
                "the constraint takes too long to compute for each token: make it simpler"
                    .to_owned(),
            ));
        }
        result.map_err(|error| {
            self.compiled.spoilt.store(true, Ordering::Relaxed);
            broken(&error.to_string())
        })
    }
}

fn schema(constraint: &Constraint) -> Result<Value, BackendError> {
    let mut schema = match constraint {
        Constraint::JsonSchema(text) => {
            Constraint::schema(text).map_err(|error| unusable(&error))?
        }
        _ => json!({ "type": "object" }),
    };
    if !schema.is_object() {
        return Err(unusable("not an object"));
    }
    limits::check_schema(&schema).map_err(|error| unusable(&error))?;
    schema = super::schema::prepare(schema).map_err(|error| unusable(&error))?;
    set_options(&mut schema);
    Ok(schema)
}

/// Tells llguidance how to read a schema.
pub(super) fn set_options(schema: &mut Value) {
    let options = JsonCompileOptions {
        whitespace_pattern: Some(WHITESPACE.to_owned()),
        // Keywords that cannot be enforced are ignored, as in llama.cpp's own converter.
        lenient: true,
        ..JsonCompileOptions::default()
    };
    options.apply_to(schema);
}

fn unusable(error: &str) -> BackendError {
    BackendError(format!("failed to convert JSON schema to grammar: {error}"))
}

fn broken(error: &str) -> BackendError {
    BackendError(format!("the constraint cannot go on: {error}"))
}
