//! The page at `/ui`, its stream of states, and `top`.

use std::path::Path;
use std::time::Duration;

use drover::model::gguf::builder::GgufBuilder;
use serde_json::{Value, json};

use crate::support::models::fake;
use crate::support::{Drover, TestServer, skip, variable};

/// The longest run of the browser's script.
const PATIENCE: Duration = Duration::from_secs(300);

/// The data of the next event of a stream.
async fn event(response: &mut reqwest::Response, rest: &mut String) -> Value {
    loop {
        if let Some((frame, after)) = rest.split_once("\n\n") {
            let data = frame.strip_prefix("event: state\ndata: ").expect(frame);
            let data = serde_json::from_str(data).unwrap();
            *rest = after.to_owned();
            return data;
        }
        let chunk = tokio::time::timeout(Duration::from_secs(30), response.chunk()).await;
        let chunk = chunk
            .expect("no event")
            .unwrap()
            .expect("the stream has ended");
        rest.push_str(std::str::from_utf8(&chunk).unwrap());
    }
}

#[tokio::test]
async fn the_stream_shows_models_requests_and_the_log() {
    let server = TestServer::start().await;
    server.fake_model("tiny").await;
    let events = server.http.get(format!("{}/api/drover/events", server.url));
    let mut events = events.send().await.unwrap();
    assert_eq!(events.headers()["content-type"], "text/event-stream");
    let mut rest = String::new();
    let first = event(&mut events, &mut rest).await;
    assert_eq!(
        (&first["models"], &first["requests"]),
        (&json!([]), &json!([]))
    );
    assert!(
        first["devices"][0]["total_bytes"].as_u64() > Some(1 << 20),
        "{first}"
    );
    let log = first["log"].as_array().unwrap();
    assert!(
        log.iter()
            .any(|line| line.as_str().unwrap().contains("Listening on")),
        "{first}"
    );

    let body = json!({"model": "tiny", "prompt": "[[slow 20]][[repeat 1000]] word"});
    let mut stream = server.stream("/api/generate", &body).await;
    stream.next().await.unwrap();
    let seen = loop {
        let state = event(&mut events, &mut rest).await;
        let request = &state["requests"][0];
        if request["n_generated"].as_u64() > Some(20)
            && state["models"][0]["generated_rate"].as_f64() > Some(1.0)
        {
            break state;
        }
    };
    let request = &seen["requests"][0];
    assert_eq!(request["phase"], "generating");
    assert_eq!(
        (&request["client"], &request["model"]),
        (&json!("127.0.0.1"), &json!("tiny:latest"))
    );
    let model = &seen["models"][0];
    assert_eq!(
        (&model["name"], &model["n_running"]),
        (&json!("tiny:latest"), &json!(1))
    );
    assert!(model["cells_used"].as_u64() > Some(20), "{model}");

    // `top` reads the same state.
    let drover = Drover::of(&server);
    let state: Value = serde_json::from_str(&drover.run(&["top", "--json"]).await.ok()).unwrap();
    assert_eq!(state["models"][0]["name"], "tiny:latest");
    let text = drover.run(&["top"]).await.ok();
    assert!(
        text.contains("tiny:latest") && text.contains("generating"),
        "{text}"
    );
    let mut terminal = drover.at_terminal(&["top"], (40, 120));
    terminal.has("Generated tokens/s").await;
    terminal.has("tiny:latest").await;
    terminal.press("q").await;
    assert_eq!(terminal.exit_code().await, Some(0));

    drop(stream);
    loop {
        let state = event(&mut events, &mut rest).await;
        if state["requests"] == json!([]) && state["models"][0]["n_running"] == 0 {
            break;
        }
    }
}

#[tokio::test]
async fn the_files_of_the_page_ask_nobody_and_are_asked_for_once() {
    let server = TestServer::start().await;
    // Programs still get the answer that they look for.
    assert_eq!(server.get("/").await.ok().text, "Ollama is running");
    let index = server.get("/ui").await.ok();
    let policy = index.headers["content-security-policy"].to_str().unwrap();
    assert!(
        policy.starts_with("default-src 'none'") && !policy.contains("unsafe"),
        "{policy}"
    );
    assert_eq!(index.headers["x-content-type-options"], "nosniff");
    let tag = index.headers["etag"].clone();
    let again = server.http.get(format!("{}/ui", server.url));
    let again = again.header("If-None-Match", tag).send().await.unwrap();
    assert_eq!(again.status(), 304);
    let quoted = index
        .text
        .split('"')
        .filter(|part| part.starts_with("/ui/"));
    let files: Vec<&str> = quoted.collect();
    assert!(files.len() >= 3, "{files:?}");
    for file in files {
        let answer = server.get(file).await.ok();
        assert!(
            !answer.text.contains("http://") || file.ends_with(".svg") || file.contains("chart"),
            "{file}"
        );
    }
    assert_eq!(server.get("/ui/nothing.js").await.status, 404);
    assert_eq!(server.get("/ui/../ui/style.css").await.status, 200);
    let html = server
        .http
        .get(&server.url)
        .header("Accept", "text/html,*/*;q=0.8");
    let html = html.send().await.unwrap();
    assert!(
        html.url().path() == "/ui" && html.status() == 200,
        "{html:?}"
    );
}

/// Makes the models that the script talks to, and runs the script; `key` is used by the page and here.
async fn browse(server: &TestServer, key: Option<&str>) {
    let Some(modules) = variable("DROVER_NODE_MODULES") else {
        return skip("no DROVER_NODE_MODULES");
    };
    let chromium = variable("DROVER_CHROMIUM").unwrap_or_else(|| "/usr/bin/chromium".to_owned());
    let puppeteer = Path::new(&modules).join("puppeteer-core");
    if !Path::new(&chromium).exists() || !puppeteer.exists() {
        return skip("no chromium, or no puppeteer-core beside the other clients");
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/page.mjs");
    let mut command = tokio::process::Command::new("node");
    command
        .arg(script)
        .env("DROVER_URL", &server.url)
        .env("DROVER_MODEL", "tiny")
        .env("DROVER_CHROMIUM", chromium)
        .env("DROVER_KEY", key.unwrap_or_default())
        .kill_on_drop(true);
    let output = tokio::time::timeout(PATIENCE, command.output()).await;
    let output = output.expect("the browser still runs").unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && said.contains("ok"),
        "{said}\n{errors}"
    );
}

/// The models that the script talks to.
async fn models(server: &TestServer) {
    server.fake_model("tiny").await;
    let thinks = "{{ range .Messages }}<|im_start|>{{ .Role }}\n\
                  {{ if .Thinking }}<think>{{ .Thinking }}</think>{{ end }}{{ .Content }}\
                  <|im_end|>\n{{ end }}<|im_start|>assistant\n";
    let thinker = server.create("thinker", fake().build(), json!({"template": thinks}));
    thinker.await.ok();
    let projector = GgufBuilder::new("clip")
        .value("clip.has_vision_encoder", true)
        .value("clip.projector_type", "mlp")
        .build();
    let model = server.upload(fake().build()).await;
    let projector = server.upload(projector).await;
    let files = json!({"model.gguf": model, "mmproj.gguf": projector});
    let body = json!({"model": "seer", "files": files, "stream": false});
    server.post("/api/create", &body).await.ok();
}

#[tokio::test]
async fn a_browser_loads_chats_watches_and_cancels() {
    let server = TestServer::start().await;
    models(&server).await;
    browse(&server, None).await;
}

#[tokio::test]
async fn a_browser_asks_for_a_key_where_one_is_needed() {
    let server = TestServer::builder()
        .env("DROVER_KEYS_LOOPBACK", "required")
        .env("DROVER_METRICS_KEYS", "on")
        .start()
        .await;
    models(&server).await;
    let last = |said: String| said.split_whitespace().last().unwrap().to_owned();
    let first = ["key", "create", "boss", "--scope", "admin"];
    let admin = last(Drover::of(&server).run(&first).await.ok());
    let boss = Drover::of(&server).env("OLLAMA_API_KEY", &admin);
    let guest = [
        "key",
        "create",
        "guest",
        "--scope",
        "inference,models,metrics",
    ];
    let guest = last(boss.run(&guest).await.ok());
    browse(&server, Some(&guest)).await;

    // Only an administrator sees the other clients and the log.
    let body = json!({"model": "tiny", "prompt": "[[slow 20]][[repeat 2000]] word"});
    let request = server.http.post(format!("{}/api/generate", server.url));
    let request = request.bearer_auth(&guest).body(body.to_string());
    let mut answer = request.send().await.unwrap();
    answer.chunk().await.unwrap();
    for (key, client) in [(&guest, ""), (&admin, "guest (127.0.0.1)")] {
        let drover = Drover::of(&server).env("OLLAMA_API_KEY", key);
        let state: Value =
            serde_json::from_str(&drover.run(&["top", "--json"]).await.ok()).unwrap();
        assert_eq!(state["requests"][0]["client"], client, "{state}");
    }
    drop(answer);
    let told = |line: &str| {
        let is_it = line.contains("POST /api/generate 200, the client left early");
        is_it.then(|| line.to_owned())
    };
    let told = server.log.wait_for("the request", told).await;
    assert!(told.contains("key=\"guest\""), "{told}");
    let metrics = server.http.get(format!("{}/metrics", server.url));
    let metrics = metrics.bearer_auth(&admin).send().await.unwrap();
    let metrics = metrics.text().await.unwrap();
    let counted =
        |line: &&str| line.starts_with("drover_key_generated_tokens_total{key=\"guest\"} ");
    assert!(metrics.lines().any(|line| counted(&line)), "{metrics}");
}
