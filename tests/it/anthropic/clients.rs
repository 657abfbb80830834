//! The official clients, unchanged, against a real model.

use crate::ollama::clients::run_python;

#[tokio::test]
async fn python_anthropic() {
    run_python("python_anthropic.py").await;
}
