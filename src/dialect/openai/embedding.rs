//! Embeddings: inputs and the two encodings of a vector.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::check::integer;
use super::invalid;
use super::values::Prompt;
use crate::api::openai::{
    Embedding, EmbeddingItem, EmbeddingRequest, EmbeddingResponse, EmbeddingUsage,
};
use crate::error::RequestError;
use crate::inference::{EmbedRequest, EmbedResponse, RequestOptions};
use crate::protocol::EmbedInput;

/// How vectors are encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    Float,
    Base64,
}

/// Converts a request.
///
/// # Errors
/// Refuses an unknown encoding, and inputs that are neither texts nor tokens, with Ollama's texts.
pub fn request(request: EmbeddingRequest) -> Result<(EmbedRequest, Encoding), RequestError> {
    let encoding = match request.encoding_format.to_lowercase().as_str() {
        "" | "float" => Encoding::Float,
        "base64" => Encoding::Base64,
        _ => {
            let message = format!(
                "Invalid value for 'encoding_format' = {}. Supported values: ['float', 'base64'].",
                request.encoding_format
            );
            return Err(invalid(message).about("encoding_format", "invalid_value"));
        }
    };
    integer("dimensions", Some(request.dimensions), 0..=i64::MAX)?;
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

fn inputs(input: Value) -> Result<Vec<EmbedInput>, RequestError> {
    let wrong = |message: &str, code| Err(invalid(message).about("input", code));
    let is_empty = input.as_array().is_some_and(Vec::is_empty);
    if input.is_null() || is_empty {
        return wrong("invalid input", "missing_required_parameter");
    }
    let Some(inputs) = Prompt::all_of(input) else {
        return wrong("invalid input type", "invalid_type");
    };
    let inputs = inputs.into_iter().map(|input| match input {
        Prompt::Text(text) => EmbedInput::Text(text),
        Prompt::Tokens(tokens) => EmbedInput::Tokens(tokens),
    });
    Ok(inputs.collect())
}

/// Makes the response to a request for `model`.
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

    fn read(body: Value) -> Result<(EmbedRequest, Encoding), RequestError> {
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
            let texts = texts
                .into_iter()
                .map(|text| EmbedInput::Text(text.to_owned()));
            assert_eq!(native.inputs, texts.collect::<Vec<_>>());
        }
        let tokens = |tokens: &[i32]| EmbedInput::Tokens(tokens.to_vec());
        for (input, inputs) in [
            (json!([1, 2]), vec![tokens(&[1, 2])]),
            (json!([[1, 2], [3]]), vec![tokens(&[1, 2]), tokens(&[3])]),
            (
                json!(["a", [3]]),
                vec![EmbedInput::Text("a".to_owned()), tokens(&[3])],
            ),
        ] {
            let (native, _) = read(json!({"model": "m", "input": input})).unwrap();
            assert_eq!(native.inputs, inputs);
        }
    }

    #[test]
    fn other_inputs_are_refused_in_ollamas_words() {
        for (body, message) in [
            (json!({}), "invalid input"),
            (json!({"input": null}), "invalid input"),
            (json!({"input": []}), "invalid input"),
            (json!({"input": [1, "a"]}), "invalid input type"),
            (json!({"input": [1.5]}), "invalid input type"),
            (json!({"input": [[1], []]}), "invalid input type"),
            (json!({"input": [4_294_967_296_i64]}), "invalid input type"),
            (json!({"input": 7}), "invalid input type"),
            (
                json!({"input": "a", "dimensions": -1}),
                "Invalid 'dimensions': integer below minimum value. Expected a value >= 0, but got -1 instead.",
            ),
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
    fn no_dimensions_mean_all() {
        for (given, n) in [(json!(3), 3), (json!(0), 0), (json!(null), 0)] {
            let (native, _) = read(json!({"input": "a", "dimensions": given})).unwrap();
            assert_eq!(native.dimensions, n);
        }
    }
}
