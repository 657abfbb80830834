//! A hostile daemon: whatever it sends, no control sequence reaches the terminal.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};

use crate::support::Drover;

/// The clipboard, the title, a link, an erased screen, the same by C1, and a carriage return.
const EVIL: &str =
    "a\x1b]52;c;aGk=\x07b\x1b]0;t\x07c\x1b]8;;x:y\x1b\\d\x1b[2J\u{9b}2Je\x08\x7f\0f\rg";

/// What is left of it after cleaning.
const HARMLESS: &str = "a]52;c;aGk=b]0;tc]8;;x:y\\d[2J2Jefg";

/// Lines of an answer in pieces of one character.
fn pieces() -> String {
    let chars = EVIL.chars().map(|piece| line(&piece.to_string(), false));
    chars.chain([line("", true)]).collect()
}

fn line(piece: &str, done: bool) -> String {
    let line = json!({"model": "m", "created_at": "2026-01-01T00:00:00Z", "response": piece,
        "done": done});
    format!("{line}\n")
}

fn steps() -> String {
    let steps = [
        json!({"status": EVIL}),
        json!({"status": "x", "digest": format!("sha256:{EVIL}"), "total": 9, "completed": 5}),
        json!({"error": EVIL}),
    ];
    steps.iter().map(|step| format!("{step}\n")).collect()
}

fn shown() -> Value {
    let name = format!("{EVIL}\u{202e}");
    json!({
        "license": name, "modelfile": name, "parameters": name, "template": name, "system": name,
        "details": {"parent_model": "", "format": "gguf", "family": name, "families": [name],
            "parameter_size": name, "quantization_level": name},
        "model_info": {"general.architecture": name, (name.clone()): name},
        "capabilities": ["completion", name], "modified_at": "2026-01-01T00:00:00Z",
    })
}

fn models() -> Value {
    let model = json!({"name": format!("{EVIL}\u{202e}"), "model": "m", "digest": EVIL, "size": 1,
        "size_vram": 0, "context_length": 1, "expires_at": "2026-01-01T00:00:00Z",
        "modified_at": "2026-01-01T00:00:00Z",
        "details": {"parent_model": "", "format": "", "family": "", "families": [],
            "parameter_size": "", "quantization_level": ""}});
    json!({"models": [model]})
}

async fn answer(State(_): State<Arc<()>>, uri: Uri) -> Response {
    match uri.path() {
        "/" => "Ollama is running".into_response(),
        "/api/version" => axum::Json(json!({"version": EVIL})).into_response(),
        "/api/tags" | "/api/ps" => axum::Json(models()).into_response(),
        "/api/show" => axum::Json(shown()).into_response(),
        "/api/generate" => Body::from(pieces()).into_response(),
        "/api/pull" | "/api/push" => Body::from(steps()).into_response(),
        _ => {
            let error = axum::Json(json!({"error": EVIL}));
            (StatusCode::INTERNAL_SERVER_ERROR, error).into_response()
        }
    }
}

/// The command line, connected to that daemon.
async fn start() -> Drover {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let routes = Router::new().fallback(answer).with_state(Arc::new(()));
    let tasks = tokio_util::task::TaskTracker::new();
    tasks.spawn(async move { axum::serve(listener, routes).await });
    Drover::at(&address)
}

/// Fails if a terminal would act on the output.
#[track_caller]
fn is_harmless(written: &str) {
    let odd = [
        "\x1b]", "\x1b\\", "\x1b[2J", "\x07", "\x08", "\x7f", "\0", "\u{9b}", "\u{202e}", "\rg",
    ];
    for odd in odd {
        assert!(!written.contains(odd), "{odd:?} in {written:?}");
    }
}

#[tokio::test]
async fn no_command_lets_a_stranger_at_the_terminal() {
    let drover = start().await;
    for (args, has) in [
        (&["list"][..], true),
        (&["list", "--json"], false),
        (&["ps"], true),
        (&["show", "m"], true),
        (&["show", "--verbose", "m"], true),
        (&["show", "--json", "m"], false),
        (&["pull", "m"], true),
        (&["push", "m"], true),
        (&["cp", "m", "n"], true),
        (&["rm", "m"], true),
        (&["--version"], true),
    ] {
        let mut terminal = drover.at_terminal(args, (40, 200));
        terminal.exit_code().await;
        let written = terminal.written();
        is_harmless(&written);
        assert_eq!(written.contains("]52;c;aGk=b"), has, "{args:?} {written:?}");
        // The output of a pipe often ends at a terminal.
        let output = drover.run(args).await;
        is_harmless(&output.stdout);
        is_harmless(&output.stderr);
    }
}

#[tokio::test]
async fn answers_are_clean_at_a_terminal_and_exact_in_a_pipe() {
    let drover = start().await;
    for (args, exact, shown) in [
        (&["run", "m", "hello"][..], format!("{EVIL}\n\n"), HARMLESS),
        (
            &["show", "--template", "m"],
            format!("{EVIL}\u{202e}"),
            HARMLESS,
        ),
        (
            &["show", "--modelfile", "m"],
            format!("{EVIL}\u{202e}\n"),
            HARMLESS,
        ),
    ] {
        let mut terminal = drover.at_terminal(args, (40, 200));
        terminal.exit_code().await;
        let written = terminal.written().replace('\u{202e}', "");
        is_harmless(&written);
        assert!(written.contains(shown), "{args:?} {written:?}");
        assert_eq!(drover.run(args).await.ok(), exact, "{args:?}");
    }
}
