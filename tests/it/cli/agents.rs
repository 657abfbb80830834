//! Agents as people run them, started by `launch`: one question, and one that uses a tool.
//!
//! `tests/clients/agents` installs them; `DROVER_AGENTS` is the folder of their programs. The questions script the
//! model's answers. Each test prints which share of the second question's prompts (two turns) was computed: the rest
//! was in the cache from the first.

use serde_json::{Value, json};

use crate::ollama::language::TEMPLATE;
use crate::support::models::fake;
use crate::support::{Drover, TestServer, skip, variable};

const MODEL: &str = "agent:latest";

const HELLO: &str = "Hello from the model.";

/// The largest share that may be computed where an agent repeats itself.
const MOST: f64 = 0.05;

/// A server with a model whose answers the question scripts, with room for an agent's prompt.
struct Agents {
    server: TestServer,
    drover: Drover,
}

impl Agents {
    /// `None`: the agents are not installed.
    async fn new() -> Option<Self> {
        let Some(folder) = variable("DROVER_AGENTS") else {
            skip("no DROVER_AGENTS");
            return None;
        };
        let server = TestServer::start().await;
        let file = fake().value("drover-fake.context_length", 200_000).build();
        // The fake model answers the last user message, so tool results are shown to it as such.
        let template = TEMPLATE.replace(
            "{{ .Role }}",
            "{{ if eq .Role \"tool\" }}user{{ else }}{{ .Role }}{{ end }}",
        );
        let fields = json!({"template": template, "parameters": {"num_ctx": 150_000}});
        server.create(MODEL, file, fields).await.ok();
        let path = variable("PATH").unwrap_or_default();
        let drover = Drover::of(&server).env("PATH", &format!("{folder}:{path}"));
        Some(Self { server, drover })
    }

    /// Runs an agent with these arguments and this input; returns its output.
    async fn run(&self, agent: &str, args: &[&str], input: &str) -> String {
        let launch = ["launch", agent, "--model", MODEL, "--"];
        let args = [&launch, args].concat();
        let output = self.drover.run_with(&args, input).await;
        println!("{}\n{}", output.stdout, output.stderr);
        output.ok()
    }

    /// The lines of JSON that an agent prints.
    async fn lines(&self, agent: &str, args: &[&str]) -> Vec<Value> {
        let text = self.run(agent, args, "").await;
        let lines = text
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok());
        lines.collect()
    }

    /// Prompt tokens so far: computed, and found in the cache.
    async fn prompt_tokens(&self) -> [f64; 2] {
        let text = self.server.get("/metrics").await.ok().text;
        let number = |name: &str| {
            let line = text
                .lines()
                .find(|line| line.starts_with(&format!("{name}{{")));
            let value = line.and_then(|line| line.rsplit(' ').next());
            value.map_or(0.0, |value| value.parse().unwrap())
        };
        [
            "drover_prompt_tokens_total",
            "drover_prompt_tokens_cached_total",
        ]
        .map(number)
    }

    /// The share of the prompts since then that was computed.
    async fn share_since(&self, agent: &str, before: [f64; 2]) -> f64 {
        let after = self.prompt_tokens().await;
        let [computed, cached] = [after[0] - before[0], after[1] - before[1]];
        let share = computed / (computed + cached);
        let n_tokens = computed + cached;
        println!(
            "{agent}: {:.1} % of {n_tokens} tokens computed",
            share * 100.0
        );
        share
    }
}

fn say(text: &str) -> String {
    format!("[[say {text}]]")
}

/// A call of a shell's tool.
fn call(name: &str, arguments: &Value) -> String {
    let call = json!({"name": name, "arguments": arguments});
    say(&format!("<tool_call>{call}</tool_call>"))
}

#[tokio::test]
#[ignore = "tests/clients/agents installs it"]
async fn claude_code() {
    let Some(agents) = Agents::new().await else {
        return;
    };
    let Agents { server, drover } = agents;
    let drover = drover
        .env("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1")
        .env("DISABLE_AUTOUPDATER", "1");
    let agents = Agents { server, drover };
    let ask = async |question: &str| {
        let args = [
            "-p",
            question,
            "--output-format",
            "json",
            "--allowedTools",
            "Bash",
        ];
        agents.lines("claude", &args).await.pop().unwrap()
    };
    let said = ask(&say(HELLO)).await;
    assert_eq!(said["result"], HELLO);
    let before = agents.prompt_tokens().await;
    let arguments = json!({"command": "echo It works", "description": "Say it"});
    let told = ask(&call("Bash", &arguments)).await;
    let result = told["result"].as_str().unwrap();
    assert!(result.contains("It works"), "{told}");
    assert_eq!(told["num_turns"], 2);
    assert!(agents.share_since("claude", before).await < MOST);
}

#[tokio::test]
#[ignore = "tests/clients/agents installs it"]
async fn codex() {
    let Some(agents) = Agents::new().await else {
        return;
    };
    let ask = async |question: &str| {
        let args = [
            "exec",
            "--json",
            "--skip-git-repo-check",
            "--sandbox",
            "danger-full-access",
            question,
        ];
        let lines = agents.lines("codex", &args).await;
        let said = lines.iter().rev().find_map(|line| {
            let item = &line["item"];
            (item["type"] == "agent_message").then(|| item["text"].as_str().unwrap().to_owned())
        });
        said.unwrap_or_default()
    };
    assert_eq!(ask(&say(HELLO)).await, HELLO);
    let before = agents.prompt_tokens().await;
    let told = ask(&call("exec_command", &json!({"cmd": "echo It works"}))).await;
    assert!(told.contains("It works"), "{told}");
    assert!(agents.share_since("codex", before).await < MOST);
}

#[tokio::test]
#[ignore = "tests/clients/agents installs it"]
async fn opencode() {
    let Some(agents) = Agents::new().await else {
        return;
    };
    // The agent puts quotes around words of its command line.
    let ask = async |question: &str| agents.run("opencode", &["run"], question).await;
    let said = ask(&say(HELLO)).await;
    assert!(said.contains(HELLO), "{said}");
    let before = agents.prompt_tokens().await;
    let arguments = json!({"command": "echo It works", "description": "Say it"});
    let told = ask(&call("bash", &arguments)).await;
    assert!(told.contains("It works"), "{told}");
    assert!(agents.share_since("opencode", before).await < MOST);
}
