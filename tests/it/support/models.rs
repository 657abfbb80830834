//! Tiny models for the fake backend.

use drover::model::gguf::builder::GgufBuilder;
use serde_json::json;

use super::TestServer;

/// ChatML: the fake backend answers the last user message with the same text, changed by marks such as `[[slow 20]]`
/// (milliseconds per token), `[[repeat 50]]`, `[[say TEXT]]`, `[[abort 3]]`, `[[hang]]` (see
/// `src/engine/backend/fake`).
const TEMPLATE: &str = "{% for message in messages %}<|im_start|>{{ message.role }}\n\
                        {{ message.content }}<|im_end|>\n{% endfor %}<|im_start|>assistant\n";

/// A model for the fake backend with a context of 4,096.
pub(crate) fn fake() -> GgufBuilder {
    let architecture = "drover-fake";
    GgufBuilder::model(architecture)
        .value(&format!("{architecture}.context_length"), 4096)
        .value("tokenizer.chat_template", TEMPLATE)
}

/// `sha256:…` of a file.
pub(crate) fn digest(file: &[u8]) -> String {
    drover::model::Digest::of(file).to_string()
}

/// A model for the fake backend that makes embeddings.
pub(crate) fn embedder() -> GgufBuilder {
    fake().value("drover-fake.pooling_type", 1)
}

impl TestServer {
    /// Makes a model `name` for the fake backend.
    pub(crate) async fn fake_model(&self, name: &str) {
        let answer = self.create(name, fake().build(), json!({})).await.ok();
        assert_eq!(answer.json(), json!({"status": "success"}));
    }
}

/// A model for the fake backend whose load takes that long.
pub(crate) fn fake_that_loads_for(time: std::time::Duration) -> GgufBuilder {
    fake().value(
        "drover-fake.load_ms",
        u64::try_from(time.as_millis()).unwrap(),
    )
}
