//! Embeddings: inputs and the two spellings of a vector.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::invalid;
use crate::api::openai::{
    Embedding, EmbeddingItem, EmbeddingRequest, EmbeddingResponse, EmbeddingUsage,
};
use crate::inference::{EmbedRequest, EmbedResponse, InferenceError, RequestOptions};

/// How vectors are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    Float,
    Base64,
}

/// Reads a request.
///
/// # Errors
/// Refuses an unknown encoding and inputs that are not texts, in Ollama's words. Token numbers
/// are among them: they would be those of another model's vocabulary.
pub fn request(request: EmbeddingRequest) -> Result<(EmbedRequest, Encoding), InferenceError> {
    let encoding = match request.encoding_format.to_lowercase().as_str() {
        "" | "float" => Encoding::Float,
        "base64" => Encoding::Base64,
        _ => {
            return Err(invalid(format!(
                "Invalid value for 'encoding_format' = {}. Supported values: ['float', 'base64'].",
                request.encoding_format
            )));
        }
    };
    let native = EmbedRequest {
        inputs: inputs(request.input)?,
        dimensions: usize::try_from(request.dimensions).unwrap_or_default(),
        common: RequestOptions {
            model: request.model,
            ..RequestOptions::default()
        },
        legacy: false,
    };
    Ok((native, encoding))
}

fn inputs(input: Value) -> Result<Vec<String>, InferenceError> {
    match input {
        Value::String(text) => Ok(vec![text]),
        Value::Null => Err(invalid("invalid input")),
        Value::Array(items) if items.is_empty() => Err(invalid("invalid input")),
        Value::Array(items) => items
            .into_iter()
            .map(|item| match item {
                Value::String(text) => Ok(text),
                _ => Err(invalid("invalid input type")),
            })
            .collect(),
        _ => Err(invalid("invalid input type")),
    }
}

/// Spells an answer to a request for `model`.
pub fn response(model: String, native: EmbedResponse, encoding: Encoding) -> EmbeddingResponse {
    let n_prompt = u64::from(native.n_prompt);
    EmbeddingResponse {
        object: "list",
        data: native
            .vectors
            .into_iter()
            .enumerate()
            .map(|(index, vector)| EmbeddingItem {
                object: "embedding",
                embedding: match encoding {
                    Encoding::Float => Embedding::Floats(vector),
                    Encoding::Base64 => Embedding::Base64(base64_of(&vector)),
                },
                index,
            })
            .collect(),
        model,
        usage: EmbeddingUsage {
            prompt_tokens: n_prompt,
            total_tokens: n_prompt,
        },
    }
}

fn base64_of(vector: &[f32]) -> String {
    let bytes: Vec<u8> = vector
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect();
    STANDARD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(body: Value) -> Result<(EmbedRequest, Encoding), InferenceError> {
        request(serde_json::from_value(body).unwrap())
    }

    #[test]
    fn inputs_are_a_text_or_texts() {
        for (input, texts) in [
            (json!("a"), vec!["a"]),
            (json!(""), vec![""]),
            (json!(["a", ""]), vec!["a", ""]),
        ] {
            let (native, _) = read(json!({"model": "m", "input": input})).unwrap();
            assert_eq!(native.inputs, texts);
        }
    }

    #[test]
    fn other_inputs_are_refused_in_ollamas_words() {
        for (body, message) in [
            (json!({}), "invalid input"),
            (json!({"input": null}), "invalid input"),
            (json!({"input": []}), "invalid input"),
            (json!({"input": [1, 2]}), "invalid input type"),
            (json!({"input": [[1, 2], [3]]}), "invalid input type"),
            (json!({"input": 7}), "invalid input type"),
            (
                json!({"input": "a", "encoding_format": "hex"}),
                "Invalid value for 'encoding_format' = hex. Supported values: ['float', 'base64'].",
            ),
        ] {
            assert_eq!(read(body).unwrap_err().message, message);
        }
    }

    #[test]
    fn both_encodings_hold_the_same_values() {
        let native = EmbedResponse {
            vectors: vec![vec![0.6, -0.8], vec![1.0, 0.0]],
            n_prompt: 9,
            ..EmbedResponse::default()
        };
        let floats = response("m".to_owned(), native.clone(), Encoding::Float);
        assert_eq!(
            serde_json::to_string(&floats).unwrap(),
            concat!(
                r#"{"object":"list","data":[{"object":"embedding","embedding":[0.6,-0.8],"index":0},"#,
                r#"{"object":"embedding","embedding":[1.0,0.0],"index":1}],"model":"m","#,
                r#""usage":{"prompt_tokens":9,"total_tokens":9}}"#
            )
        );
        let (_, encoding) = read(json!({"input": "a", "encoding_format": "BASE64"})).unwrap();
        let coded = response("m".to_owned(), native, encoding);
        assert_eq!(
            coded.data[0].embedding,
            Embedding::Base64("mpkZP83MTL8=".to_owned())
        );
    }

    #[test]
    fn dimensions_below_one_mean_all() {
        for (given, n) in [(json!(3), 3), (json!(-1), 0), (json!(null), 0)] {
            let (native, _) = read(json!({"input": "a", "dimensions": given})).unwrap();
            assert_eq!(native.dimensions, n);
        }
    }
}
