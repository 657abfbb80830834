//! The official Python and npm clients, unchanged, against a real model.

use std::path::Path;
use std::time::Duration;

use serde_json::json;

use crate::support::TestServer;
use crate::support::real::{real, skip, variable};

/// Longest run of one script.
const PATIENCE: Duration = Duration::from_secs(300);

async fn run_script(program: &str, script: &str, variables: &[(&str, String)]) {
    let Some(model) = real("smollm2-135m") else {
        return skip("no SmolLM2 in DROVER_TEST_MODELS");
    };
    let server = TestServer::start().await;
    let file = fs_err::read(&model).unwrap();
    server
        .create("smollm2", file, json!({"parameters": {"num_ctx": 2048}}))
        .await
        .ok();
    let model = model.to_string_lossy().into_owned();
    let variables = [variables, &[("DROVER_GGUF", model)]].concat();
    run_against(&server, "smollm2", program, script, &variables).await;
}

/// Runs a script of `tests/clients` against a model of this server.
pub(super) async fn run_against(
    server: &TestServer,
    model: &str,
    program: &str,
    script: &str,
    variables: &[(&str, String)],
) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/clients")
        .join(script);
    if !path.is_file() {
        return skip(&format!("no tests/clients/{script}"));
    }
    let mut command = tokio::process::Command::new(program);
    command
        .arg(&path)
        .current_dir(server.root())
        .env("DROVER_URL", &server.url)
        .env("DROVER_MODEL", model)
        .env("OLLAMA_HOST", &server.url)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .envs(variables.iter().map(|(name, value)| (*name, value)))
        .kill_on_drop(true);
    let output = tokio::time::timeout(PATIENCE, command.output()).await;
    let output = output
        .unwrap_or_else(|_| panic!("{script} still runs"))
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    println!("{}", text(&output.stdout));
    assert!(
        output.status.success(),
        "{script}: {}\n{}",
        output.status,
        text(&output.stderr)
    );
}

async fn run_python(script: &str) {
    match variable("DROVER_PYTHON") {
        Some(python) => run_script(&python, script, &[]).await,
        None => skip("no DROVER_PYTHON with the clients"),
    }
}

#[tokio::test]
async fn python_ollama() {
    run_python("python_ollama.py").await;
}

#[tokio::test]
async fn python_openai() {
    run_python("python_openai.py").await;
}

#[tokio::test]
async fn js_ollama() {
    let Some(modules) = variable("DROVER_NODE_MODULES") else {
        return skip("no DROVER_NODE_MODULES with the client");
    };
    // An ES module finds packages only above itself; the script asks for this folder.
    run_script("node", "js_ollama.mjs", &[("DROVER_NODE_MODULES", modules)]).await;
}
