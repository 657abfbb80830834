//! Converts a job's input and results between Anthropic's format and the lines of files.

use std::collections::HashSet;

use super::check::{self, elements, entries, object, string};

/// The route of the requests.
pub const MESSAGES: &str = "/v1/messages";

/// The most characters of a `custom_id`, and the most requests.
const MAX_ID: usize = 64;
const MAX_REQUESTS: usize = 50_000;

/// Requests in the form of an input file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageLines {
    pub text: Vec<u8>,
    pub n: u64,
    pub model: String,
}

/// Makes the input file from `{"requests":[{"custom_id","params"}]}`. Blocks.
///
/// # Errors
/// Says what is wrong, and where.
/// Says what is wrong, with its place.
pub fn message_lines(body: &[u8]) -> Result<MessageLines, String> {
    let text = object(body.trim_ascii()).ok_or("The request body is not valid JSON")?;
    let requests = entries(text).filter(|(key, _)| key == "requests").last();
    let requests = requests.ok_or("requests: Field required")?.1;
    if !requests.starts_with('[') {
        return Err("requests: Input should be a valid array".to_owned());
    }
    let mut lines = MessageLines {
        text: Vec::new(),
        n: 0,
        model: String::new(),
    };
    let mut ids = HashSet::new();
    for (index, request) in elements(requests).enumerate() {
        if index == MAX_REQUESTS {
            return Err(format!("requests: at most {MAX_REQUESTS} are allowed"));
        }
        let place = format!("requests.{index}");
        let [mut id, mut params] = [None; 2];
        for (key, value) in entries(request) {
            match &*key {
                "custom_id" => id = Some(value),
                "params" => params = Some(value),
                _ => {}
            }
        }
        let id = id.ok_or_else(|| format!("{place}.custom_id: Field required"))?;
        let is_good = |id: &str| !id.is_empty() && id.chars().count() <= MAX_ID;
        let name = string(id).filter(|id| is_good(id)).ok_or_else(|| {
            format!("{place}.custom_id: Input should be a string of 1 to {MAX_ID} characters")
        })?;
        if !ids.insert(name.into_owned()) {
            return Err(format!("{place}.custom_id: must be unique in a batch"));
        }
        let params = params.filter(|params| params.starts_with('{'));
        let params = params.ok_or_else(|| format!("{place}.params: Field required"))?;
        let start = lines.text.len();
        let line =
            format!(r#"{{"custom_id":{id},"method":"POST","url":"{MESSAGES}","body":{params}}}"#);
        // Line ends between values; strings contain none.
        lines
            .text
            .extend(line.bytes().filter(|byte| !matches!(byte, b'\n' | b'\r')));
        let checked = check::check(&lines.text[start..], MESSAGES, 1);
        let model = match checked {
            Ok(checked) => checked.map(|checked| checked.model).unwrap_or_default(),
            Err(faults) => {
                let message = faults.first().map(|fault| fault.message.as_str());
                return Err(format!("{place}.params: {}", message.unwrap_or_default()));
            }
        };
        if lines.n > 0 && model != lines.model {
            return Err(format!(
                "{place}.params.model: all requests of a batch must have the same model"
            ));
        }
        lines.text.push(b'\n');
        lines.n += 1;
        lines.model = model;
    }
    if lines.n == 0 {
        return Err("requests: at least one is required".to_owned());
    }
    Ok(lines)
}

/// Converts a line of a result file to Anthropic's format.
pub fn message_result(line: &str) -> Option<String> {
    let field = |text, name: &str| {
        let found = entries(text).find(|(key, _)| key == name);
        found
            .map(|(_, value)| value)
            .filter(|value| *value != "null")
    };
    let id = field(line, "custom_id")?;
    let result = match field(line, "response") {
        Some(response) => {
            let body = field(response, "body")?;
            match field(response, "status_code")? {
                "200" => format!(r#"{{"type":"succeeded","message":{body}}}"#),
                _ => format!(r#"{{"type":"errored","error":{body}}}"#),
            }
        }
        None => match string(field(field(line, "error")?, "code")?)?.as_ref() {
            "batch_cancelled" => r#"{"type":"canceled"}"#.to_owned(),
            _ => r#"{"type":"expired"}"#.to_owned(),
        },
    };
    Some(format!(r#"{{"custom_id":{id},"result":{result}}}"#) + "\n")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn params() -> Value {
        json!({"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": "a\nb"}]})
    }

    #[test]
    fn requests_become_lines() {
        let body = json!({"requests": [
            {"custom_id": "a\"", "params": params()}, {"params": params(), "custom_id": "b"},
        ]});
        let body = serde_json::to_string_pretty(&body).unwrap();
        let lines = message_lines(body.as_bytes()).unwrap();
        assert_eq!((lines.n, lines.model.as_str()), (2, "m"));
        let text = String::from_utf8(lines.text).unwrap();
        let lines: Vec<Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(lines[0]["custom_id"], "a\"");
        assert_eq!(
            (&lines[1]["url"], &lines[1]["body"]),
            (&json!(MESSAGES), &params())
        );
    }

    #[test]
    fn what_is_wrong_has_its_place() {
        let mut other = params();
        other["model"] = json!("n");
        let mut streamed = params();
        streamed["stream"] = json!(true);
        for (requests, message) in [
            (json!([]), "requests: at least one is required"),
            (json!({}), "requests: Input should be a valid array"),
            (json!([{}]), "requests.0.custom_id: Field required"),
            (
                json!([{"custom_id": "a"}]),
                "requests.0.params: Field required",
            ),
            (
                json!([{"custom_id": "a", "params": params()}, {"custom_id": "a", "params": params()}]),
                "requests.1.custom_id: must be unique in a batch",
            ),
            (
                json!([{"custom_id": "a", "params": params()}, {"custom_id": "b", "params": other}]),
                "requests.1.params.model: all requests of a batch must have the same model",
            ),
            (
                json!([{"custom_id": "a", "params": streamed}]),
                "requests.0.params: Messages: Streaming is not supported in the Batch API.",
            ),
        ] {
            let body = json!({"requests": requests}).to_string();
            assert_eq!(message_lines(body.as_bytes()).unwrap_err(), message);
        }
        assert!(message_lines(b"[").is_err());
        assert!(message_lines(b"{}").is_err());
    }

    #[test]
    fn results_have_anthropics_form() {
        for (line, result) in [
            (
                json!({"custom_id": "a", "response": {"status_code": 200, "body": {"x": 1}}, "error": null}),
                json!({"type": "succeeded", "message": {"x": 1}}),
            ),
            (
                json!({"custom_id": "a", "response": {"status_code": 400, "body": {"type": "error"}}, "error": null}),
                json!({"type": "errored", "error": {"type": "error"}}),
            ),
            (
                json!({"custom_id": "a", "response": null, "error": {"code": "batch_cancelled"}}),
                json!({"type": "canceled"}),
            ),
            (
                json!({"custom_id": "a", "response": null, "error": {"code": "batch_expired"}}),
                json!({"type": "expired"}),
            ),
        ] {
            let spelled: Value =
                serde_json::from_str(&message_result(&line.to_string()).unwrap()).unwrap();
            assert_eq!(spelled, json!({"custom_id": "a", "result": result}));
        }
        assert_eq!(message_result("{}"), None);
    }
}
