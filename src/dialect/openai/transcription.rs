//! Transcriptions: converts a form to a chat about an audio file, as Ollama does.

use super::check::decimal;
use super::invalid;
use crate::api::openai::TranscriptionRequest;
use crate::chat::{Image, Turn};
use crate::error::RequestError;
use crate::inference::{ChatRequest, RequestOptions};
use crate::model::options::{OptionPatch, single};

/// Ollama's instruction to the model.
const INSTRUCTION: &str = "Transcribe the audio exactly as spoken. Output only the spoken words. Do not answer any question in the audio.";
const QUESTION: &str = "What exact words are spoken in this audio?";

/// The format of the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    Json,
    Text,
}

/// Reads a form.
///
/// # Errors
/// Refuses what Ollama refuses, with its texts, and what would need the times of words, which no model reports.
pub fn request(form: TranscriptionRequest) -> Result<(ChatRequest, Form), RequestError> {
    let model = form.model.filter(|model| !model.is_empty());
    let model = model.ok_or_else(|| missing("model", "model is required"))?;
    let no_file = || missing("file", "file is required: http: no such file");
    let file = form.file.ok_or_else(no_file)?;
    if file.is_empty() {
        return Err(missing("file", "audio file is empty"));
    }
    let response_form = response_form(form.response_format.as_deref())?;
    if form
        .stream
        .is_some_and(|stream| stream.eq_ignore_ascii_case("true"))
    {
        let error = invalid("'stream' is not supported for transcriptions");
        return Err(error.about("stream", "unsupported_value"));
    }
    let temperature = temperature(form.temperature.as_deref())?;
    let mut instruction = INSTRUCTION.to_owned();
    if let Some(language) = form.language.filter(|text| !text.is_empty()) {
        instruction.push_str(&format!(" The audio is in {language}."));
    }
    if let Some(prompt) = form.prompt.filter(|text| !text.is_empty()) {
        instruction.push_str(&format!(" Context: {prompt}"));
    }
    let question = Turn {
        attachments: vec![Image(file)],
        ..Turn::text("user", QUESTION)
    };
    let options = OptionPatch {
        temperature: Some(single(temperature)),
        ..OptionPatch::default()
    };
    let native = ChatRequest {
        messages: vec![Turn::text("system", instruction), question],
        common: RequestOptions {
            model,
            options,
            ..RequestOptions::default()
        },
        ..ChatRequest::default()
    };
    Ok((native, response_form))
}

fn missing(field: &'static str, message: &str) -> RequestError {
    invalid(message).about(field, "missing_required_parameter")
}

fn response_form(word: Option<&str>) -> Result<Form, RequestError> {
    match word.unwrap_or_default() {
        "" | "json" => Ok(Form::Json),
        "text" => Ok(Form::Text),
        other => {
            let message = match other {
                "verbose_json" | "srt" | "vtt" => format!(
                    "'response_format' {other} is not supported: the model does not tell when words were spoken, use 'json' or 'text'"
                ),
                _ => "'response_format' must be 'json' or 'text'".to_owned(),
            };
            Err(invalid(message).about("response_format", "unsupported_value"))
        }
    }
}

fn temperature(text: Option<&str>) -> Result<f64, RequestError> {
    let Some(text) = text.filter(|text| !text.is_empty()) else {
        return Ok(0.0);
    };
    let temperature = text
        .trim()
        .parse()
        .ok()
        .filter(|number: &f64| !number.is_nan());
    let wrong = || invalid("'temperature' must be a number").about("temperature", "invalid_type");
    let temperature = temperature.ok_or_else(wrong)?;
    decimal("temperature", Some(temperature), 0.0..=2.0)?;
    Ok(temperature)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(model: &str, file: &'static [u8]) -> TranscriptionRequest {
        TranscriptionRequest {
            model: Some(model.to_owned()),
            file: Some(file.into()),
            ..TranscriptionRequest::default()
        }
    }

    #[test]
    fn a_form_is_a_chat_about_its_sound() {
        let (native, form_of_answer) = request(TranscriptionRequest {
            language: Some("German".to_owned()),
            prompt: Some("Names: Ada".to_owned()),
            response_format: Some("text".to_owned()),
            ..form("m", b"RIFF")
        })
        .unwrap();
        assert_eq!(form_of_answer, Form::Text);
        assert_eq!(native.common.model, "m");
        assert_eq!(native.common.options.temperature, Some(0.0));
        let messages: Vec<_> = native
            .messages
            .into_iter()
            .flat_map(Turn::into_messages)
            .collect();
        assert!(
            messages[0]
                .content
                .ends_with("in the audio. The audio is in German. Context: Names: Ada")
        );
        assert_eq!(messages[1].images, [Image("RIFF".into())]);
        let (_, form_of_answer) = request(form("m", b"RIFF")).unwrap();
        assert_eq!(form_of_answer, Form::Json);
    }

    #[test]
    fn mistakes_name_their_field() {
        let with = |change: fn(&mut TranscriptionRequest)| {
            let mut form = form("m", b"RIFF");
            change(&mut form);
            let error = request(form).unwrap_err();
            (error.param.unwrap_or_default(), error.message)
        };
        for (change, field, words) in [
            (
                (|form| form.model = None) as fn(&mut TranscriptionRequest),
                "model",
                "model is required",
            ),
            (|form| form.file = None, "file", "file is required"),
            (
                |form| form.file = Some("".into()),
                "file",
                "audio file is empty",
            ),
            (
                |form| form.response_format = Some("srt".to_owned()),
                "response_format",
                "does not tell when",
            ),
            (
                |form| form.response_format = Some("xml".to_owned()),
                "response_format",
                "must be 'json' or 'text'",
            ),
            (
                |form| form.temperature = Some("hot".to_owned()),
                "temperature",
                "must be a number",
            ),
            (
                |form| form.temperature = Some("3".to_owned()),
                "temperature",
                "3",
            ),
            (
                |form| form.temperature = Some("NaN".to_owned()),
                "temperature",
                "must be a number",
            ),
            (
                |form| form.stream = Some("true".to_owned()),
                "stream",
                "not supported",
            ),
        ] {
            let (param, message) = with(change);
            assert!(
                param == field && message.contains(words),
                "{param}: {message}"
            );
        }
    }
}
