//! `launch`: agents get the server's address and a model.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::json;

use crate::ollama::language::TEMPLATE;
use crate::support::models::fake;
use crate::support::{Drover, TestServer, variable};

/// A server with one model that calls tools and one that does not.
async fn server() -> TestServer {
    let server = TestServer::start().await;
    let fields = json!({"template": TEMPLATE});
    server.create("caller", fake().build(), fields).await.ok();
    server.fake_model("tiny").await;
    server
}

/// The program, with agents in its path that print how they were started.
fn drover(server: &TestServer) -> Drover {
    let drover = Drover::of(server);
    let folder = drover.folder().join("bin");
    fs_err::create_dir(&folder).unwrap();
    for agent in ["claude", "codex", "opencode"] {
        let path = folder.join(agent);
        let script =
            "#!/bin/sh\necho \"$0\" \"$@\"\nenv | grep -E '^(ANTHROPIC|OPENCODE)' | sort\n";
        fs_err::write(&path, script).unwrap();
        fs_err::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let path = variable("PATH").unwrap_or_default();
    drover.env("PATH", &format!("{}:{path}", folder.display()))
}

#[tokio::test]
async fn agents_are_started_against_this_server() {
    let server = server().await;
    let drover = drover(&server);
    let claude = drover
        .run(&["launch", "claude", "--", "-p", "two words"])
        .await
        .ok();
    assert!(
        claude.contains("claude --model caller:latest -p two words"),
        "{claude}"
    );
    assert!(
        claude.contains(&format!("ANTHROPIC_BASE_URL={}\n", server.url)),
        "{claude}"
    );
    assert!(
        claude.contains("ANTHROPIC_DEFAULT_HAIKU_MODEL=caller:latest"),
        "{claude}"
    );
    let codex = drover
        .run(&["launch", "codex", "--model", "caller"])
        .await
        .ok();
    assert!(
        codex.contains(&format!("base_url=\"{}/v1\"", server.url)),
        "{codex}"
    );
    assert!(codex.contains("-m caller:latest"), "{codex}");
    let opencode = drover.run(&["launch", "opencode"]).await.ok();
    let config = opencode.split_once("OPENCODE_CONFIG_CONTENT=").unwrap().1;
    let config: serde_json::Value = serde_json::from_str(config.lines().next().unwrap()).unwrap();
    assert_eq!(config["model"], "drover/caller:latest");
    assert_eq!(
        config["provider"]["drover"]["options"]["baseURL"],
        format!("{}/v1", server.url)
    );
}

#[tokio::test]
async fn what_is_missing_is_named() {
    let server = server().await;
    let drover = drover(&server);
    let listed = drover.run(&["launch"]).await.ok();
    assert!(
        listed.contains("opencode") && listed.contains(&server.url),
        "{listed}"
    );
    let printed = drover.run(&["launch", "claude", "--config"]).await.ok();
    assert!(printed.starts_with("ANTHROPIC_BASE_URL="), "{printed}");
    let unknown = drover.run(&["launch", "emacs"]).await.failed();
    assert!(unknown.contains("claude, codex, opencode"), "{unknown}");
    let missing = drover
        .run(&["launch", "claude", "--model", "nobody"])
        .await
        .failed();
    assert!(missing.contains("pull nobody"), "{missing}");
    let warned = drover.run(&["launch", "claude", "--model", "tiny"]).await;
    assert!(
        warned.stderr.contains("does not support tools"),
        "{warned:?}"
    );
    let second = json!({"model": "second", "from": "caller"});
    server.post("/api/create", &second).await.ok();
    let unclear = drover.run(&["launch", "claude"]).await.failed();
    assert!(
        unclear.contains("caller:latest") && unclear.contains("second:latest"),
        "{unclear}"
    );
    let bare = Drover::of(&server).env("PATH", "/nowhere");
    let absent = bare
        .run(&["launch", "codex", "--model", "caller"])
        .await
        .failed();
    assert!(absent.contains("npm install -g @openai/codex"), "{absent}");
}
