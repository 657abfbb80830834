//! The official clients, unchanged, against a real model.

use crate::ollama::clients::{run_node, run_python};

#[tokio::test]
async fn python_anthropic() {
    run_python("python_anthropic.py").await;
}

#[tokio::test]
async fn python_langchain() {
    run_python("python_langchain.py").await;
}

#[tokio::test]
async fn js_anthropic() {
    run_node("js_anthropic.mjs").await;
}
