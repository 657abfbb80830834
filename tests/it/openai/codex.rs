//! Codex as people run it against a server of their own.

use std::time::Duration;

use serde_json::Value;

use crate::anthropic::clients::{AGENT, agent_server};
use crate::support::{TestServer, skip, variable};

/// Longest run of an agent.
const PATIENCE: Duration = Duration::from_secs(300);

/// Runs it with a question; returns what it says it does, line by line.
async fn ask(server: &TestServer, codex: &str, question: &str) -> Vec<Value> {
    let home = server.root().join("codex");
    fs_err::create_dir_all(&home).unwrap();
    let config = format!(
        "model = \"{AGENT}\"\nmodel_provider = \"drover\"\n\
         [model_providers.drover]\nname = \"drover\"\nbase_url = \"{}/v1\"\nwire_api = \"responses\"\n",
        server.url
    );
    fs_err::write(home.join("config.toml"), config).unwrap();
    let mut command = tokio::process::Command::new(codex);
    command
        .args(["exec", "--json", "--skip-git-repo-check"])
        .args(["--sandbox", "danger-full-access", question])
        .current_dir(server.root())
        .env("HOME", server.root())
        .env("CODEX_HOME", &home)
        .stdin(std::process::Stdio::null())
        .kill_on_drop(true);
    let output = tokio::time::timeout(PATIENCE, command.output()).await;
    let output = output.expect("it still runs").unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    println!("{text}\n{errors}");
    assert!(output.status.success(), "{text}\n{errors}");
    text.lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect()
}

/// What the model said at the end.
fn answer(lines: &[Value]) -> &str {
    let said = lines.iter().rev().find_map(|line| {
        let item = &line["item"];
        (item["type"] == "agent_message").then(|| item["text"].as_str().unwrap())
    });
    said.unwrap_or_default()
}

#[tokio::test]
#[ignore = "tests/clients/agents installs it"]
async fn codex() {
    let Some(codex) = variable("DROVER_CODEX") else {
        return skip("no DROVER_CODEX");
    };
    let server = agent_server().await;
    let said = ask(&server, &codex, "[[say Hello from the model.]]").await;
    assert_eq!(answer(&said), "Hello from the model.");
    let call =
        r#"<tool_call>{"name": "exec_command", "arguments": {"cmd": "echo It works"}}</tool_call>"#;
    let told = ask(&server, &codex, &format!("[[say {call}]]")).await;
    assert!(answer(&told).contains("It works"), "{told:?}");
    let usage = told.iter().find_map(|line| line.get("usage"));
    let usage = usage.expect("its usage");
    let number = |key: &str| usage[key].as_f64().unwrap();
    let share = 1.0 - number("cached_input_tokens") / number("input_tokens");
    println!("computed anew: {:.1} % of both turns", share * 100.0);
    println!("{}", server.log.text());
}
