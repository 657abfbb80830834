//! Progress: bars with rate and time left on a terminal, plain lines elsewhere.

use axum::Router;
use axum::extract::Request;
use axum::response::IntoResponse as _;

use crate::support::Drover;

/// The lines of a pull, with the milliseconds before each: without a passage of time there is no rate.
const STEPS: &[(u64, &str)] = &[
    (0, r#"{"status":"pulling manifest"}"#),
    (
        0,
        r#"{"status":"pulling aabbccddeeff","digest":"sha256:aabbccddeeff00","total":1000000000,"completed":0}"#,
    ),
    (
        0,
        r#"{"status":"pulling aabbccddeeff","digest":"sha256:aabbccddeeff00","total":1000000000,"completed":1000000}"#,
    ),
    (
        600,
        r#"{"status":"pulling aabbccddeeff","digest":"sha256:aabbccddeeff00","total":1000000000,"completed":50000000}"#,
    ),
    (
        600,
        r#"{"status":"pulling aabbccddeeff","digest":"sha256:aabbccddeeff00","total":1000000000,"completed":100000000}"#,
    ),
];

/// Sent after the test has seen the bar move.
const END: &str = concat!(
    r#"{"status":"pulling aabbccddeeff","digest":"sha256:aabbccddeeff00","total":1000000000,"completed":1000000000}"#,
    "\n",
    r#"{"status":"verifying sha256 digest"}"#,
    "\n",
    r#"{"status":"success"}"#,
    "\n"
);

/// A daemon whose pull stops at 10 % until it is told to continue; returns its address.
#[expect(
    clippy::disallowed_methods,
    reason = "a server of the test's own, which ends with it"
)]
async fn slow_pull(go_on: tokio::sync::watch::Receiver<bool>) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let answer = async move |request: Request| {
        if request.uri().path() != "/api/pull" {
            return "Ollama is running".into_response();
        }
        let (send, receive) = tokio::sync::mpsc::channel(8);
        let mut go_on = go_on.clone();
        tokio::spawn(async move {
            for (wait_ms, step) in STEPS {
                tokio::time::sleep(std::time::Duration::from_millis(*wait_ms)).await;
                let _ = send
                    .send(Ok::<_, std::io::Error>(format!("{step}\n")))
                    .await;
            }
            let _ = go_on.wait_for(|go_on| *go_on).await;
            let _ = send.send(Ok(END.to_owned())).await;
        });
        let stream = tokio_stream::wrappers::ReceiverStream::new(receive);
        axum::body::Body::from_stream(stream).into_response()
    };
    let router = Router::new().fallback(answer);
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

#[tokio::test]
async fn a_terminal_shows_rate_and_time_left() {
    let (go_on, receiver) = tokio::sync::watch::channel(false);
    let drover = Drover::at(&slow_pull(receiver).await);
    let mut terminal = drover.at_terminal(&["pull", "m"], (24, 100));
    terminal.has("\npulling aabbccddeeff:  10% ▕█").await;
    terminal.has("▏ 100 MB/  1 GB").await;
    terminal.has("B/s").await;
    let screen = terminal.screen();
    let bar = screen.lines().find(|line| line.contains("B/s")).unwrap();
    let (_, tail) = bar.split_once("1 GB").unwrap();
    let words: Vec<&str> = tail.split_whitespace().collect();
    // Such as `41 MB/s 21s`.
    assert!(
        matches!(words[..], [_, unit, left] if unit.ends_with("B/s") && left.ends_with('s')),
        "{bar}"
    );
    go_on.send_replace(true);
    assert_eq!(terminal.exit_code().await, Some(0));
    let screen = terminal.screen();
    let mut lines = screen.lines();
    assert_eq!(lines.next(), Some("pulling manifest"));
    let bar = lines.next().unwrap();
    assert!(
        bar.starts_with("pulling aabbccddeeff: 100% ▕███") && bar.ends_with("█▏   1 GB"),
        "{screen}"
    );
    let rest: Vec<&str> = lines.collect();
    assert_eq!(rest, ["verifying sha256 digest", "success"]);
}

#[tokio::test]
async fn a_pipe_gets_plain_lines() {
    let (_go_on, receiver) = tokio::sync::watch::channel(true);
    let drover = Drover::at(&slow_pull(receiver).await);
    let output = drover.run(&["pull", "m"]).await;
    assert_eq!(
        output.stderr,
        "pulling manifest\npulling aabbccddeeff: 1 GB\nverifying sha256 digest\nsuccess\n"
    );
    assert_eq!(output.ok(), "");
}
