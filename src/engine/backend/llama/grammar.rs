//! Constraints: JSON schemas, regular expressions and grammars as masks over the vocabulary
//! (llguidance).
//!
//! The vocabulary's trie is built with the first constraint of a model (some hundred milliseconds
//! for the largest vocabularies) and shared by all later ones. End tokens are allowed exactly where
//! the text is complete.

use std::sync::{Arc, OnceLock};

use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::sampling::LlamaSampler;
use llguidance::api::TopLevelGrammar;
use llguidance::toktrie::SimpleVob;
use llguidance::{JsonCompileOptions, Matcher, ParserFactory};
use serde_json::{Value, json};

use crate::engine::backend::BackendError;
use crate::protocol::{Constraint, Token};

/// White space between JSON's tokens: none, a blank, or line breaks with an indentation. A model
/// that may write as much of it as it likes sometimes writes nothing else.
const WHITESPACE: &str = r"( |\n{1,2}[ \t]{0,20})";

/// Makes constraints for one model.
pub(super) struct Grammars {
    model: Arc<LlamaModel>,
    factory: OnceLock<Result<ParserFactory, String>>,
}

/// The state of one sequence's constraint.
pub(super) struct Grammar(Matcher);

impl Grammars {
    pub(super) fn new(model: Arc<LlamaModel>) -> Self {
        Self {
            model,
            factory: OnceLock::new(),
        }
    }

    /// Compiles a constraint; the error says what is wrong with it.
    pub(super) fn compile(&self, constraint: &Constraint) -> Result<Grammar, BackendError> {
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
        let matcher = Matcher::new(parser);
        match matcher.get_error() {
            None => Ok(Grammar(matcher)),
            Some(error) => Err(match constraint {
                Constraint::JsonObject | Constraint::JsonSchema(_) => unusable(&error),
                Constraint::Regex(_) => BackendError(format!("failed to read the regex: {error}")),
                Constraint::Lark(_) => BackendError(format!("failed to read the grammar: {error}")),
            }),
        }
    }

    fn make_factory(&self) -> Result<ParserFactory, String> {
        let vocabulary = LlamaSampler::llguidance_tok_env(&self.model);
        let mut factory =
            ParserFactory::new_simple(&vocabulary).map_err(|error| error.to_string())?;
        factory.quiet();
        factory.limits_mut().verbose_errors = false;
        Ok(factory)
    }
}

impl Grammar {
    /// The tokens that may come next.
    pub(super) fn allowed(&mut self) -> Result<SimpleVob, BackendError> {
        self.0
            .compute_mask_or_eos()
            .map_err(|error| broken(&error.to_string()))
    }

    /// Goes on by a token.
    pub(super) fn accept(&mut self, token: Token) -> Result<(), BackendError> {
        // Nothing follows a complete text but the end token, which it need not be told.
        if self.0.is_stopped() {
            return Ok(());
        }
        let token = u32::try_from(token).map_err(|_| broken("not a token"))?;
        self.0
            .consume_token(token)
            .map_err(|error| broken(&error.to_string()))
    }
}

fn schema(constraint: &Constraint) -> Result<Value, BackendError> {
    let mut schema = match constraint {
        Constraint::JsonSchema(text) => {
            serde_json::from_str(text).map_err(|error| unusable(&error.to_string()))?
        }
        _ => json!({ "type": "object" }),
    };
    if !schema.is_object() {
        return Err(unusable("not an object"));
    }
    schema = super::schema::prepare(schema).map_err(|error| unusable(&error))?;
    set_options(&mut schema);
    Ok(schema)
}

/// Tells llguidance how to read a schema.
pub(super) fn set_options(schema: &mut Value) {
    let options = JsonCompileOptions {
        whitespace_pattern: Some(WHITESPACE.to_owned()),
        // Keywords that cannot be enforced are passed over, as llama.cpp's own converter does.
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
