//! Images given by their paths, as file managers drop them: what the daemon receives.
//!
//! The daemon is a stand-in with a vision model, so that the test does not depend on the engine.

use std::sync::{Arc, Mutex};

use axum::extract::Request;
use axum::response::IntoResponse as _;
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tokio_util::task::TaskTracker;

use super::{CLEAR, PROMPT};
use crate::support::Drover;

const PNG: &[u8] = b"\x89PNG\r\n\x1a\nrest";

/// A daemon with one vision model.
#[derive(Clone, Default)]
struct Seeing {
    /// The last message of the last chat.
    message: Arc<Mutex<Value>>,
}

impl Seeing {
    async fn start(&self) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let this = self.clone();
        let router = Router::new().fallback(async move |request| this.answer(request).await);
        TaskTracker::new().spawn(async move { axum::serve(listener, router).await });
        address
    }

    async fn answer(self, request: Request) -> axum::response::Response {
        let path = request.uri().path().to_owned();
        let body = axum::body::to_bytes(request.into_body(), 1 << 20).await;
        match path.as_str() {
            "/api/show" => Json(json!({"capabilities": ["completion", "vision"]})).into_response(),
            "/api/chat" => {
                let mut sent: Value = serde_json::from_slice(&body.unwrap()).unwrap();
                let messages = sent["messages"].as_array_mut().unwrap();
                *self.message.lock().unwrap() = messages.pop().unwrap();
                let message = json!({"role": "assistant", "content": "Seen."});
                Json(json!({"message": message, "done": true})).into_response()
            }
            _ => Json(json!({"done": true})).into_response(),
        }
    }
}

#[tokio::test]
async fn paths_are_images_and_no_commands() {
    let seeing = Seeing::default();
    let drover = Drover::at(&seeing.start().await);
    let folder = fs_err::canonicalize(drover.folder()).unwrap();
    let folder = folder.to_str().unwrap();
    for name in ["a.png", "my photo (1).png", "it's.PNG"] {
        fs_err::write(drover.folder().join(name), PNG).unwrap();
    }
    let image = STANDARD.encode(PNG);
    let mut terminal = drover.at_terminal(&["run", "vision"], (40, 200));
    terminal.shows(PROMPT).await;
    for (typed, text, added) in [
        (format!("{folder}/a.png"), "", vec!["a.png"]),
        (format!("{folder}/a.png what?"), "what?", vec!["a.png"]),
        (
            format!("What is ./a.png and '{folder}/my photo (1).png' ?"),
            "What is  and  ?",
            vec!["./a.png", "my photo (1).png"],
        ),
        (
            format!("{folder}/my\\ photo\\ \\(1\\).png what?"),
            "what?",
            vec!["my photo (1).png"],
        ),
        (
            format!("{folder}/it\\'s.PNG what?"),
            "what?",
            vec!["it's.PNG"],
        ),
    ] {
        terminal.press(CLEAR).await;
        terminal.shows(PROMPT).await;
        terminal.press(&format!("{typed}\r")).await;
        let lines: String = added
            .iter()
            .map(|name| match name.strip_prefix("./") {
                Some(_) => format!("Added image '{name}'\n"),
                None => format!("Added image '{folder}/{name}'\n"),
            })
            .collect();
        terminal
            .shows(&format!(">>> {typed}\n{lines}Seen.\n\n{PROMPT}"))
            .await;
        let message = seeing.message.lock().unwrap().clone();
        let images = vec![image.clone(); added.len()];
        let expected = json!({"role": "user", "content": text, "images": images});
        assert_eq!(message, expected, "{typed}");
    }

    // A path that is not a file stays text, and a slash without an image is a command.
    for (typed, said) in [
        ("/no/such.png what?", "Seen.\n\n"),
        ("/frob", "Unknown command '/frob'. Type /? for help\n"),
        ("/tmp what?", "Unknown command '/tmp'. Type /? for help\n"),
    ] {
        terminal.line(typed, said).await;
    }
    let message = seeing.message.lock().unwrap().clone();
    assert_eq!(message["content"], "/no/such.png what?");

    // Another kind of file under such a name ends the conversation.
    fs_err::write(drover.folder().join("b.png"), "GIF89a").unwrap();
    terminal.press("./b.png\r").await;
    terminal
        .has("Couldn't process file: \"invalid file type: image/gif\"")
        .await;
    assert_eq!(terminal.exit_code().await, Some(1));
}
