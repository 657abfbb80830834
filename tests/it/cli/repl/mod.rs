//! The conversation in a terminal: what a person types and sees.

mod answer;
mod commands;
mod images;
mod keys;
mod settings;

use serde_json::json;

use crate::support::{Drover, Terminal, TestServer, models};

/// The screen before anything is typed.
const PROMPT: &str = ">>> Send a message (/? for help)";
/// Clears the screen except the line that is being entered.
const CLEAR: &str = "\x0c";
const CTRL_C: &str = "\x03";
const CTRL_D: &str = "\x04";

/// A daemon with the model `tiny`, and the command line.
async fn with_model() -> (TestServer, Drover) {
    let server = TestServer::start().await;
    server.fake_model("tiny").await;
    let drover = Drover::of(&server);
    (server, drover)
}

/// Starts a conversation with `tiny` and waits for its prompt.
async fn talk(drover: &Drover) -> Terminal {
    talk_with(drover, &["run", "tiny"]).await
}

async fn talk_with(drover: &Drover, args: &[&str]) -> Terminal {
    let mut terminal = drover.at_terminal(args, (40, 80));
    terminal.shows(PROMPT).await;
    terminal
}

/// A model that thinks: it answers `[[say <think>…</think>…]]` with that text.
async fn thinking_model(server: &TestServer, name: &str) {
    let template = "{{ range .Messages }}<|im_start|>{{ .Role }}\n\
                    {{ if .Thinking }}<think>{{ .Thinking }}</think>{{ end }}{{ .Content }}\
                    <|im_end|>\n{{ end }}<|im_start|>assistant\n";
    let file = models::fake().build();
    let made = server.create(name, file, json!({"template": template}));
    made.await.ok();
}

impl Terminal {
    /// Types a line on a cleared screen and waits until the screen shows the line, `said` and a new prompt.
    async fn line(&mut self, line: &str, said: &str) {
        self.press(CLEAR).await;
        self.shows(PROMPT).await;
        self.press(&format!("{line}\r")).await;
        self.shows(&format!(">>> {line}\n{said}{PROMPT}")).await;
    }
}
