//! The official clients of the Responses API, unchanged, against a real model.

use crate::ollama::clients::{run_node, run_python};

#[tokio::test]
async fn python_responses() {
    run_python("python_responses.py").await;
}

#[tokio::test]
async fn js_responses() {
    run_node("js_responses.mjs").await;
}
