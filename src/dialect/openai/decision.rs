//! Decisions: inputs, questions and answers.

#[cfg(test)]
mod tests;

use serde_json::Value;

use super::invalid;
use crate::api::openai::responses::{InputTokensDetails, ResponseUsage};
use crate::api::openai::{
    ChoiceProbability, Decision, DecisionAnswer, DecisionChoice, DecisionQuestion, DecisionRequest,
    File, LevelProbability,
};
use crate::chat::Block;
use crate::error::RequestError;
use crate::inference::RequestOptions;
use crate::inference::decide::{
    Choice, DecideRequest, Decisions, Distribution, MOST_OPTIONS, Question, QuestionKind,
};

/// A converted request, and what the answer needs.
#[derive(Debug)]
pub struct Decided {
    pub native: DecideRequest,
    model: String,
    /// What the answers repeat, in the order of the questions.
    echoes: Vec<(Option<String>, Echo)>,
}

/// What an answer repeats of its question.
#[derive(Debug)]
enum Echo {
    Predicate,
    Values(Vec<Value>),
    Labels(Vec<String>),
}

/// Converts a request.
///
/// # Errors
/// Names the field that is missing or not valid.
pub fn request(wire: DecisionRequest) -> Result<Decided, RequestError> {
    let state = input(wire.input)?;
    if wire.questions.is_empty() {
        let error = invalid("\"questions\" must be a non-empty array");
        return Err(error.about("questions", "missing_required_parameter"));
    }
    let mut natives = Vec::with_capacity(wire.questions.len());
    let mut echoes = Vec::with_capacity(wire.questions.len());
    for (index, wire) in wire.questions.into_iter().enumerate() {
        let name = wire.name.clone();
        let (native, echo) = question(index, wire).map_err(|message| {
            let field = format!("questions[{index}]");
            invalid(format!("{field}: {message}")).about(field, "invalid_value")
        })?;
        natives.push(native);
        echoes.push((name, echo));
    }
    Ok(Decided {
        native: DecideRequest {
            common: RequestOptions {
                model: wire.model.clone(),
                ..RequestOptions::default()
            },
            instructions: String::new(),
            state,
            questions: natives,
        },
        model: wire.model,
        echoes,
    })
}

/// Reads the input of the questions. If it has several messages, each begins with its role.
fn input(input: Value) -> Result<Vec<Block>, RequestError> {
    let items = match input {
        Value::String(text) => return Ok(vec![Block::Text(text)]),
        Value::Array(items) if !items.is_empty() => items,
        Value::Null => {
            let error = invalid("\"input\" must be provided");
            return Err(error.about("input", "missing_required_parameter"));
        }
        _ => return Err(wrong("\"input\" must be a text or a non-empty array")),
    };
    let is_talk = items.len() > 1;
    let blocks = items.into_iter().map(|item| self::item(item, is_talk));
    let blocks: Vec<Vec<Block>> = blocks.collect::<Result<_, _>>()?;
    Ok(blocks.into_iter().flatten().collect())
}

fn item(mut item: Value, is_talk: bool) -> Result<Vec<Block>, RequestError> {
    let word = |item: &Value, field: &str| item[field].as_str().unwrap_or_default().to_owned();
    let (who, content) = match word(&item, "type").as_str() {
        "" | "message" => {
            let role = word(&item, "role");
            if !["user", "developer", "system", "assistant"].contains(&role.as_str()) {
                return Err(wrong(format!("\"{role}\" is no role of a message")));
            }
            (role, item["content"].take())
        }
        "function_call" => {
            let call = format!("{}({})", word(&item, "name"), word(&item, "arguments"));
            ("call".to_owned(), call.into())
        }
        "custom_tool_call" => {
            let call = format!("{}({})", word(&item, "name"), word(&item, "input"));
            ("call".to_owned(), call.into())
        }
        "function_call_output" | "custom_tool_call_output" => {
            ("result".to_owned(), item["output"].take())
        }
        other => return Err(wrong(format!("\"{other}\" is no kind of an input item"))),
    };
    let mut blocks = Vec::new();
    if is_talk {
        blocks.push(Block::Text(format!("{who}:")));
    }
    match content {
        Value::String(text) => blocks.push(Block::Text(text)),
        Value::Array(parts) => {
            for part in parts {
                blocks.push(self::part(part).map_err(wrong)?);
            }
        }
        _ => {
            return Err(wrong(
                "the content of an input item must be a text or a list of parts",
            ));
        }
    }
    Ok(blocks)
}

fn part(mut part: Value) -> Result<Block, String> {
    let kind = part["type"].as_str().unwrap_or_default().to_owned();
    let text = |field: &str| match &part[field] {
        Value::String(text) => Ok(Block::Text(text.clone())),
        _ => Err(format!("a part of the type \"{kind}\" needs \"{field}\"")),
    };
    match kind.as_str() {
        "input_text" | "output_text" | "text" => text("text"),
        "refusal" => text("refusal"),
        "input_json" => match part["data"].take() {
            data @ (Value::Object(_) | Value::Array(_)) => Ok(Block::Text(data.to_string())),
            _ => Err("\"data\" of \"input_json\" must be an object or an array".to_owned()),
        },
        "input_image" => {
            let url = part["image_url"].as_str().unwrap_or_default();
            match File::of_url(url) {
                File::Data(image) => Ok(Block::Image(image)),
                File::Remote => Err("image URLs are not supported, send a data address".to_owned()),
                _ => Err("invalid image input".to_owned()),
            }
        }
        other => Err(format!("\"{other}\" is no kind of a part")),
    }
}

fn question(index: usize, wire: DecisionQuestion) -> Result<(Question, Echo), String> {
    let (kind, echo) = match wire.kind.as_str() {
        "predicate" => {
            let (yes, no) = (String::new(), String::new());
            (QuestionKind::YesNo { yes, no }, Echo::Predicate)
        }
        "choice" => choice(wire.choices)?,
        "score" => {
            let mut levels = Vec::with_capacity(wire.levels.len());
            let mut labels = Vec::with_capacity(wire.levels.len());
            for level in wire.levels {
                levels.push(match level.description.as_str() {
                    "" => level.label.clone(),
                    about => format!("{} ({about})", level.label),
                });
                labels.push(level.label);
            }
            (QuestionKind::Score(levels), Echo::Labels(labels))
        }
        "" => return Err("\"type\" must be provided".to_owned()),
        other => {
            return Err(format!(
                "the type \"{other}\" is not supported; it must be predicate, choice or score"
            ));
        }
    };
    let instructions = match wire.instructions {
        Value::String(text) => text,
        Value::Array(parts) => {
            let texts = parts.into_iter().map(|part| match self::part(part)? {
                Block::Text(text) => Ok(text),
                _ => Err("instructions with images are not supported".to_owned()),
            });
            texts.collect::<Result<Vec<String>, String>>()?.join("\n")
        }
        _ => return Err("\"instructions\" must be a text or a list of parts".to_owned()),
    };
    let native = Question {
        name: wire.name.unwrap_or_else(|| index.to_string()),
        instructions,
        kind,
    };
    Ok((native, echo))
}

fn choice(choices: Vec<DecisionChoice>) -> Result<(QuestionKind, Echo), String> {
    if choices.len() > MOST_OPTIONS {
        return Err(format!("it has more than {MOST_OPTIONS} choices"));
    }
    let mut options = Vec::with_capacity(choices.len());
    let mut values: Vec<Value> = Vec::with_capacity(choices.len());
    for choice in choices {
        let name = match &choice.value {
            Value::String(text) => text.clone(),
            Value::Bool(is_so) => is_so.to_string(),
            _ => return Err("the value of a choice must be a text, or true or false".to_owned()),
        };
        // A string and a boolean with the same text are distinct.
        if values.contains(&choice.value) {
            return Err(format!("the choice {} is there twice", choice.value));
        }
        values.push(choice.value);
        options.push(Choice {
            name,
            description: choice.description,
        });
    }
    Ok((QuestionKind::Choice(options), Echo::Values(values)))
}

impl Decided {
    /// Makes the answer.
    pub fn answer(self, decisions: Decisions) -> Decision {
        let (n_input, n_cached) = (decisions.n_input.into(), decisions.n_cached.into());
        let answers = self.echoes.into_iter().zip(decisions.answers);
        Decision {
            model: self.model,
            answers: answers
                .map(|((name, echo), told)| answer(name, echo, &told))
                .collect(),
            usage: ResponseUsage {
                input_tokens: n_input,
                input_tokens_details: InputTokensDetails {
                    cached_tokens: n_cached,
                    cache_write_tokens: n_input.saturating_sub(n_cached),
                },
                total_tokens: n_input,
                ..ResponseUsage::default()
            },
        }
    }
}

fn answer(name: Option<String>, echo: Echo, told: &Distribution) -> DecisionAnswer {
    let probabilities = told.probabilities.iter().copied();
    match echo {
        Echo::Predicate => DecisionAnswer::Predicate {
            name,
            probability: told.probabilities.first().copied().unwrap_or_default(),
        },
        Echo::Values(values) => DecisionAnswer::Choice {
            name,
            choice: values.get(told.best()).cloned().unwrap_or_default(),
            probabilities: values
                .into_iter()
                .zip(probabilities)
                .map(|(value, probability)| ChoiceProbability { value, probability })
                .collect(),
            confidence: told.confidence(),
        },
        Echo::Labels(labels) => DecisionAnswer::Score {
            name,
            score: told.mean(),
            probabilities: labels
                .into_iter()
                .zip(probabilities)
                .enumerate()
                .map(|(value, (label, probability))| LevelProbability {
                    value,
                    label,
                    probability,
                })
                .collect(),
            confidence: told.ordered_confidence(),
        },
    }
}

fn wrong(message: impl Into<String>) -> RequestError {
    invalid(message).about("input", "invalid_value")
}
