//! Tiny models for the fake backend.

use drover::model::gguf::builder::GgufBuilder;
use serde_json::json;

use super::TestServer;

/// Every message on a line of its own, so that the fake backend sees its markers.
const TEMPLATE: &str = "{% for message in messages %}{{ message.role }}: {{ message.content }}\n\
                        {% endfor %}assistant:";

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
