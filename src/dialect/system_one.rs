//! System One's dialect: decisions.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use serde_json::Value;

use super::ollama::keep_alive;
use crate::api::named::{Named, NamedOrListed};
use crate::api::system_one::{
    SystemOneAnswer, SystemOneQuestion, SystemOneRequest, SystemOneResponse, SystemOneTokens,
    SystemOneUsage,
};
use crate::chat::Block;
use crate::error::RequestError;
use crate::inference::RequestOptions;
use crate::inference::decide::{
    Choice, DecideRequest, Decisions, Distribution, Question, QuestionKind,
};

/// The most images of a request.
const MOST_IMAGES: usize = 64;

/// A converted request, and what the answer needs.
#[derive(Debug)]
pub struct SystemOne {
    pub native: DecideRequest,
    model: String,
    /// What the answers repeat, in the order of the questions.
    echoes: Vec<(String, Echo)>,
}

/// What an answer repeats of its question.
#[derive(Debug)]
enum Echo {
    Noul,
    Options(Vec<String>),
    Levels(Vec<Value>),
}

/// Converts a request.
///
/// # Errors
/// Names the field that is missing or not valid.
pub fn system_one(wire: SystemOneRequest) -> Result<SystemOne, RequestError> {
    if !wire.assets.is_null() {
        let message = "\"assets\" are not supported; send images as base64 in \"images\"";
        return Err(wrong("assets", message));
    }
    let state = match wire.state {
        Value::Null => {
            let error = RequestError::invalid("\"state\" must be provided");
            return Err(error.about("state", "missing_required_parameter"));
        }
        state @ (Value::String(_) | Value::Object(_) | Value::Array(_)) => text(state),
        Value::Bool(_) | Value::Number(_) => {
            return Err(wrong(
                "state",
                "\"state\" must be a text, an object or a list",
            ));
        }
    };
    let Named(questions) = wire.questions;
    if questions.is_empty() {
        let error = RequestError::invalid("\"questions\" must be a non-empty object");
        return Err(error.about("questions", "missing_required_parameter"));
    }
    let names = questions.iter().map(|(name, _)| name);
    if let Some(name) = twice(names) {
        return Err(wrong(
            "questions",
            format!("question \"{name}\" is there twice"),
        ));
    }
    let pictures: Vec<_> = wire.images.into_iter().chain(wire.files).collect();
    if pictures.len() > MOST_IMAGES {
        return Err(wrong("images", format!("more than {MOST_IMAGES} images")));
    }
    let images = pictures.into_iter().map(|picture| Block::Image(picture.0));
    let mut echoes = Vec::with_capacity(questions.len());
    let mut natives = Vec::with_capacity(questions.len());
    for (name, wire) in questions {
        let (native, echo) = question(&name, wire).map_err(|error| {
            let message = format!("question \"{name}\": {error}");
            wrong("questions", message)
        })?;
        natives.push(native);
        echoes.push((name, echo));
    }
    Ok(SystemOne {
        native: DecideRequest {
            common: RequestOptions {
                model: wire.model.clone(),
                keep_alive: keep_alive(&wire.keep_alive)?,
                ..RequestOptions::default()
            },
            instructions: wire.instructions,
            state: images.chain([Block::Text(state)]).collect(),
            questions: natives,
        },
        model: wire.model,
        echoes,
    })
}

fn question(name: &str, wire: SystemOneQuestion) -> Result<(Question, Echo), String> {
    let (kind, echo) = match wire.kind.as_str() {
        "choice" => choice(wire.criteria)?,
        "score" => score(wire.criteria)?,
        "noul" => (noul(wire.criteria)?, Echo::Noul),
        "" => return Err("\"type\" must be provided".to_owned()),
        other => {
            return Err(format!(
                "the type \"{other}\" is not supported; it must be choice, score or noul"
            ));
        }
    };
    let instructions = match wire.instructions {
        Value::Bool(_) | Value::Number(_) => {
            return Err("\"instructions\" must be a text, an object or a list".to_owned());
        }
        instructions => text(instructions),
    };
    let native = Question {
        name: name.to_owned(),
        instructions,
        kind,
    };
    Ok((native, echo))
}

fn choice(criteria: NamedOrListed) -> Result<(QuestionKind, Echo), String> {
    let options: Vec<(String, String)> = match criteria {
        NamedOrListed::Named(options) => {
            let options = options.into_iter();
            options.map(|(name, about)| (name, text(about))).collect()
        }
        NamedOrListed::Listed(names) => names
            .into_iter()
            .map(|name| match name {
                Value::String(name) => Ok((name, String::new())),
                _ => Err("the options of a list must be texts".to_owned()),
            })
            .collect::<Result<_, _>>()?,
        NamedOrListed::Absent | NamedOrListed::Other => {
            return Err("\"criteria\" must be an object of options, or a list of names".to_owned());
        }
    };
    if let Some(name) = twice(options.iter().map(|(name, _)| name)) {
        return Err(format!("option \"{name}\" is there twice"));
    }
    let names = options.iter().map(|(name, _)| name.clone()).collect();
    let options = options
        .into_iter()
        .map(|(name, description)| Choice { name, description });
    let kind = QuestionKind::Choice(options.collect());
    Ok((kind, Echo::Options(names)))
}

fn score(criteria: NamedOrListed) -> Result<(QuestionKind, Echo), String> {
    let NamedOrListed::Listed(levels) = criteria else {
        return Err("\"criteria\" must be a list of levels".to_owned());
    };
    let is_level = |level: &Value| level.is_string() || level.is_object() || level.is_array();
    if !levels.iter().all(is_level) {
        return Err("levels must be texts, objects or lists".to_owned());
    }
    let texts = levels.iter().cloned().map(text).collect();
    Ok((QuestionKind::Score(texts), Echo::Levels(levels)))
}

fn noul(criteria: NamedOrListed) -> Result<QuestionKind, String> {
    let criteria = match criteria {
        NamedOrListed::Absent => Vec::new(),
        NamedOrListed::Named(criteria) => criteria,
        NamedOrListed::Listed(_) | NamedOrListed::Other => {
            let message = "\"criteria\" must be an object with \"true\" and \"false\"";
            return Err(message.to_owned());
        }
    };
    let (mut yes, mut no) = (String::new(), String::new());
    for (name, about) in criteria {
        match name.as_str() {
            "true" => yes = text(about),
            "false" => no = text(about),
            _ => {
                return Err(format!(
                    "\"criteria\" has \"true\" and \"false\", not \"{name}\""
                ));
            }
        }
    }
    Ok(QuestionKind::YesNo { yes, no })
}

impl SystemOne {
    /// Makes the answer.
    pub fn answer(self, decisions: Decisions) -> SystemOneResponse {
        let answers = self.echoes.into_iter().zip(decisions.answers);
        let answers = answers.map(|((name, echo), told)| (name, answer(echo, &told)));
        SystemOneResponse {
            model: self.model,
            answers: Named(answers.collect()),
            usage: SystemOneUsage {
                input_tokens: decisions.n_input.into(),
                output_tokens: 0,
                input_tokens_details: SystemOneTokens {
                    cached_tokens: decisions.n_cached.into(),
                },
            },
        }
    }
}

fn answer(echo: Echo, told: &Distribution) -> SystemOneAnswer {
    let x_label_mass = told.label_mass;
    let probabilities = told.probabilities.iter().copied();
    match echo {
        Echo::Noul => SystemOneAnswer::Noul {
            noul: told.probabilities.first().copied().unwrap_or_default(),
            x_label_mass,
        },
        Echo::Options(names) => SystemOneAnswer::Choice {
            choice: names.get(told.best()).cloned().unwrap_or_default(),
            probabilities: Named(names.into_iter().zip(probabilities).collect()),
            confidence: told.confidence(),
            x_label_mass,
        },
        Echo::Levels(levels) => {
            let numbers = || (0_usize..).map(|number| number.to_string());
            SystemOneAnswer::Score {
                score: told.mean(),
                legend: Named(numbers().zip(levels).collect()),
                probabilities: Named(numbers().zip(probabilities).collect()),
                confidence: told.ordered_confidence(),
                x_label_mass,
            }
        }
    }
}

/// The text of a value in a prompt: a string as it is, other values as JSON.
fn text(value: Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text,
        other => other.to_string(),
    }
}

/// The first name that occurs twice.
fn twice<'a>(names: impl Iterator<Item = &'a String>) -> Option<&'a String> {
    let mut known = BTreeSet::new();
    names.into_iter().find(|name| !known.insert(*name))
}

fn wrong(field: &'static str, message: impl Into<String>) -> RequestError {
    RequestError::invalid(message).about(field, "invalid_value")
}
