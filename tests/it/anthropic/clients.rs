//! The official clients, unchanged, against a real model.

use std::time::Duration;

use serde_json::{Value, json};

use crate::ollama::clients::{run_node, run_python};
use crate::ollama::language::TEMPLATE;
use crate::support::models::fake;
use crate::support::{TestServer, skip, variable};

/// Longest run of an agent.
const PATIENCE: Duration = Duration::from_secs(300);

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

/// Claude Code as people run it against a server of their own: a question, and one that takes a tool.
/// `DROVER_CLAUDE` is the program.
#[tokio::test]
#[ignore = "tests/clients/agents installs it"]
async fn claude_code() {
    let Some(claude) = variable("DROVER_CLAUDE") else {
        return skip("no DROVER_CLAUDE");
    };
    let server = agent_server().await;
    let ask = async |question: &str| {
        let mut command = tokio::process::Command::new(&claude);
        command
            .args(["-p", question, "--model", AGENT, "--output-format", "json"])
            .args(["--allowedTools", "Bash"])
            .current_dir(server.root())
            .env("HOME", server.root())
            .env("ANTHROPIC_BASE_URL", &server.url)
            .env("ANTHROPIC_AUTH_TOKEN", "any")
            .env("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1")
            .env("DISABLE_AUTOUPDATER", "1")
            .stdin(std::process::Stdio::null())
            .kill_on_drop(true);
        let output = tokio::time::timeout(PATIENCE, command.output()).await;
        let output = output.expect("it still runs").unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{text}\n{:?}", output.stderr);
        println!("{text}");
        serde_json::from_str::<Value>(&text).unwrap()
    };
    let said = ask("[[say Hello from the model.]]").await;
    assert_eq!(said["result"], "Hello from the model.");
    let call = r#"<tool_call>{"name": "Bash", "arguments": {"command": "echo It works", "description": "Say it"}}</tool_call>"#;
    let told = ask(&format!("[[say {call}]]")).await;
    assert!(
        told["result"].as_str().unwrap().contains("It works"),
        "{told}"
    );
    assert_eq!(told["num_turns"], 2);
    // The second turn computes hardly anything of the first one's prompt again.
    let usage = &told["usage"];
    let number = |key: &str| usage[key].as_f64().unwrap();
    let cached = number("cache_read_input_tokens");
    let share = number("input_tokens") / (cached + number("input_tokens"));
    println!("computed anew: {:.1} % of both turns", share * 100.0);
    assert!(share < 0.05);
}

/// A model whose answers the question scripts, with room for an agent's prompt.
pub(crate) const AGENT: &str = "agent:latest";

pub(crate) async fn agent_server() -> TestServer {
    let server = TestServer::start().await;
    let file = fake().value("drover-fake.context_length", 200_000).build();
    // The fake model answers the last user, and so a tool's result as well.
    let template = TEMPLATE.replace(
        "{{ .Role }}",
        "{{ if eq .Role \"tool\" }}user{{ else }}{{ .Role }}{{ end }}",
    );
    let fields = json!({"template": template, "parameters": {"num_ctx": 150_000}});
    server.create(AGENT, file, fields).await.ok();
    server
}
