//! The official Python and npm clients and libraries based on them, unchanged, against a real model.

use std::path::Path;
use std::time::Duration;

use serde_json::json;

use super::language::TEMPLATE;
use super::real::TOOLS_TEMPLATE;
use crate::support::TestServer;
use crate::support::models::fake;
use crate::support::real::{real, skip, variable};

/// The longest run of one script.
const PATIENCE: Duration = Duration::from_secs(300);

/// Runs a client against SmolLM2 and the models that are made here.
async fn run_client(program: &str, args: &[&str], variables: &[(&str, String)]) {
    let Some(model) = real("smollm2-135m") else {
        return skip("no SmolLM2 in DROVER_TEST_MODELS");
    };
    let server = TestServer::start().await;
    let file = fs_err::read(&model).unwrap();
    server
        .create("smollm2", file, json!({"parameters": {"num_ctx": 2048}}))
        .await
        .ok();
    // The same model with a template for tools, so that OpenAI's clients can force it to call.
    let caller =
        json!({"model": "caller", "from": "smollm2", "template": TOOLS_TEMPLATE, "stream": false});
    server.post("/api/create", &caller).await.ok();
    // Nothing in Ollama's protocol can force a call, so this model calls when the question says so.
    // It answers the last user message, so tool results are shown to it as such.
    let template = TEMPLATE.replace(
        "{{ .Role }}",
        "{{ if eq .Role \"tool\" }}user{{ else }}{{ .Role }}{{ end }}",
    );
    let scripted = server.create("scripted", fake().build(), json!({"template": template}));
    scripted.await.ok();
    let model = model.to_string_lossy().into_owned();
    let own = [
        ("DROVER_GGUF", model),
        ("DROVER_CALLER", "caller".to_owned()),
        ("DROVER_SCRIPTED", "scripted".to_owned()),
    ];
    let variables = [variables, &own].concat();
    run(&server, "smollm2", program, args, &variables).await;
}

/// The path of a script of `tests/clients`.
fn path_of(script: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients");
    path.join(script).to_string_lossy().into_owned()
}

/// Runs a script of `tests/clients` against a model of this server.
pub(super) async fn run_against(server: &TestServer, model: &str, program: &str, script: &str) {
    run(server, model, program, &[&path_of(script)], &[]).await;
}

async fn run(
    server: &TestServer,
    model: &str,
    program: &str,
    args: &[&str],
    variables: &[(&str, String)],
) {
    let mut command = tokio::process::Command::new(program);
    command
        .args(args)
        .current_dir(server.root())
        .env("DROVER_URL", &server.url)
        .env("DROVER_MODEL", model)
        .env("OLLAMA_HOST", &server.url)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .envs(variables.iter().map(|(name, value)| (*name, value)))
        .kill_on_drop(true);
    let output = tokio::time::timeout(PATIENCE, command.output()).await;
    let output = output
        .unwrap_or_else(|_| panic!("{program} {args:?} still runs"))
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    println!("{}", text(&output.stdout));
    assert!(
        output.status.success(),
        "{program} {args:?}: {}\n{}",
        output.status,
        text(&output.stderr)
    );
}

pub(crate) async fn run_python(script: &str) {
    match variable("DROVER_PYTHON") {
        Some(python) => run_client(&python, &[&path_of(script)], &[]).await,
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
async fn python_batches() {
    run_python("python_batches.py").await;
}

#[tokio::test]
async fn python_libraries() {
    run_python("python_libraries.py").await;
}

#[tokio::test]
async fn python_schemas() {
    run_python("python_schemas.py").await;
}

/// Compares the server with its own description.
#[tokio::test]
async fn python_openapi() {
    run_python("python_openapi.py").await;
}

pub(crate) async fn run_node(script: &str) {
    let Some(modules) = variable("DROVER_NODE_MODULES") else {
        return skip("no DROVER_NODE_MODULES with the clients");
    };
    // An ES module finds packages only in folders above itself; the script uses this folder.
    let variables = [("DROVER_NODE_MODULES", modules)];
    run_client("node", &[&path_of(script)], &variables).await;
}

#[tokio::test]
async fn js_batches() {
    run_node("js_batches.mjs").await;
}

#[tokio::test]
async fn js_ollama() {
    run_node("js_ollama.mjs").await;
}

#[tokio::test]
async fn js_libraries() {
    run_node("js_libraries.mjs").await;
}

#[tokio::test]
#[ignore = "tests/clients/more builds it"]
async fn more_rust() {
    let Some(folder) = variable("DROVER_RUST_CLIENT") else {
        return skip("no DROVER_RUST_CLIENT");
    };
    for program in ["client", "openai"] {
        run_client(&format!("{folder}/{program}"), &[], &[]).await;
    }
}

#[tokio::test]
#[ignore = "tests/clients/more builds it"]
async fn more_go() {
    match variable("DROVER_GO_CLIENT") {
        Some(program) => run_client(&program, &[], &[]).await,
        None => skip("no DROVER_GO_CLIENT"),
    }
}

#[tokio::test]
#[ignore = "tests/clients/more builds it"]
async fn more_java() {
    let Some(classes) = variable("DROVER_JAVA_CLIENT") else {
        return skip("no DROVER_JAVA_CLIENT");
    };
    for class in ["Client", "OpenAi"] {
        run_client("java", &["-cp", &classes, class], &[]).await;
    }
}
