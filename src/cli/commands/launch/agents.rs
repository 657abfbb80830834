//! The agents, and what each needs to talk to our server.

use serde_json::json;

/// A program that can be started.
pub(super) struct Agent {
    /// Its name for `launch`.
    pub(super) name: &'static str,
    pub(super) title: &'static str,
    pub(super) program: &'static str,
    /// How to install it.
    pub(super) install: &'static str,
    /// How to start it with a server's base address and a model.
    pub(super) start: fn(&str, &str) -> Start,
}

/// Arguments and variables.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Start {
    pub(super) args: Vec<String>,
    pub(super) variables: Vec<(&'static str, String)>,
}

/// The key that agents send where they insist on one.
const KEY: &str = "drover";

pub(super) const AGENTS: &[Agent] = &[
    Agent {
        name: "claude",
        title: "Claude Code",
        program: "claude",
        install: "npm install -g @anthropic-ai/claude-code",
        start: claude,
    },
    Agent {
        name: "codex",
        title: "Codex",
        program: "codex",
        install: "npm install -g @openai/codex",
        start: codex,
    },
    Agent {
        name: "opencode",
        title: "OpenCode",
        program: "opencode",
        install: "npm install -g opencode-ai",
        start: opencode,
    },
];

/// Claude Code asks for three models by role; all of them are this one.
fn claude(base: &str, model: &str) -> Start {
    let roles = [
        "ANTHROPIC_DEFAULT_OPUS_MODEL",
        "ANTHROPIC_DEFAULT_SONNET_MODEL",
        "ANTHROPIC_DEFAULT_HAIKU_MODEL",
        "CLAUDE_CODE_SUBAGENT_MODEL",
    ];
    let roles = roles.map(|role| (role, model.to_owned()));
    Start {
        args: words(["--model", model]),
        variables: [
            ("ANTHROPIC_BASE_URL", base.to_owned()),
            ("ANTHROPIC_AUTH_TOKEN", KEY.to_owned()),
            // A key of Anthropic's own would win over the token.
            ("ANTHROPIC_API_KEY", String::new()),
        ]
        .into_iter()
        .chain(roles)
        .collect(),
    }
}

fn codex(base: &str, model: &str) -> Start {
    let setting = |name: &str, value: &str| format!("model_providers.drover.{name}={value:?}");
    let settings = [
        "model_provider=\"drover\"".to_owned(),
        setting("name", "drover"),
        setting("base_url", &format!("{base}/v1")),
        setting("wire_api", "responses"),
    ];
    let settings = settings
        .into_iter()
        .flat_map(|setting| ["-c".to_owned(), setting]);
    Start {
        args: settings.chain(words(["-m", model])).collect(),
        variables: Vec::new(),
    }
}

fn opencode(base: &str, model: &str) -> Start {
    let config = json!({
        "model": format!("drover/{model}"),
        "provider": {"drover": {
            "npm": "@ai-sdk/openai-compatible",
            "name": "drover",
            "options": {"baseURL": format!("{base}/v1"), "apiKey": KEY},
            "models": {model: {"name": model}},
        }},
    });
    Start {
        args: Vec::new(),
        variables: vec![("OPENCODE_CONFIG_CONTENT", config.to_string())],
    }
}

fn words<const N: usize>(words: [&str; N]) -> Vec<String> {
    words.map(str::to_owned).into()
}
