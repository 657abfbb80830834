//! Templates of models are untrusted programs: whatever they do affects one request only.

use std::time::{Duration, Instant};

use reqwest::Method;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::process::Watched;
use crate::support::{TestServer, models};

/// Practically endless: it only ends by a timeout.
const ENDLESS: &str = "{% set ns = namespace(x=[1]) %}{% for i in range(60) %}\
                       {% set ns.x = ns.x + ns.x %}{% endfor %}{{ ns.x|length }}";

/// Nests lists in each other.
const DEEP: &str = "{% set ns = namespace(x=[]) %}{% for i in range(99999) %}\
                    {% set ns.x = [ns.x] %}{% endfor %}{{ ns.x|tojson }}";

/// Exceeds a worker's memory limit.
const LARGE: &str = "{% set ns = namespace(x=[]) %}{% for i in range(9) %}\
                     {% set ns.x = ns.x + ['x' * 90000000] %}{% endfor %}{{ ns.x|length }}";

fn chat(model: &str) -> Value {
    json!({"model": model, "messages": [{"role": "user", "content": "hi"}], "stream": false})
}

impl TestServer {
    async fn model_with(&self, name: &str, template: &str) {
        let file = models::fake().value("tokenizer.chat_template", template);
        self.create(name, file.build(), json!({})).await.ok();
    }

    /// Fails unless a model answers with any text.
    async fn answers_something(&self, model: &str) {
        self.post("/api/chat", &chat(model)).await.ok();
    }

    /// Fails unless a model answers at once.
    async fn answers(&self, model: &str) {
        let body = chat(model);
        let answer = tokio::time::timeout(Duration::from_secs(20), self.post("/api/chat", &body));
        let answer = answer.await.expect("others wait").ok();
        assert_eq!(answer.json()["message"]["content"], "hi");
    }
}

#[tokio::test]
async fn a_template_that_cannot_be_run_costs_its_own_request() {
    let server = TestServer::builder()
        .env("DROVER_TEMPLATE_TIMEOUT", "60s")
        .start()
        .await;
    server.fake_model("good").await;
    // Split into lines: longer ones are refused for their length.
    let many = |piece: &str| format!("{}\n", piece.repeat(1000)).repeat(50);
    let repeated = |before: &str, piece: &str| format!("{{{{ {before}{} }}}}", many(piece));
    let cases = [
        ("signs", repeated("1 ", "-"), "unexpected"),
        (
            "minus",
            format!("{{{{ {}1 }}}}", many("-----")),
            "nested too deeply",
        ),
        ("attributes", repeated("x", ".a.a"), "nested too deeply"),
        ("indices", repeated("x", "[0]"), "nested too deeply"),
        ("calls", repeated("x", "()()"), "nested too deeply"),
        ("sums", repeated("1", "+1+1"), "nested too deeply"),
        ("values", DEEP.to_owned(), "nested too deeply"),
        ("memory", LARGE.to_owned(), "too much memory"),
        ("length", "x".repeat(300_000), "300000 bytes are too long"),
        ("line", "x".repeat(70_000), "bytes of a line"),
        ("syntax", "{% for %}".to_owned(), "unexpected end of block"),
        (
            "words",
            format!("{{{{ raise_exception('{}') }}}}", "é".repeat(9_000)),
            "é…",
        ),
    ];
    for (name, template, reason) in cases {
        server.model_with(name, &template).await;
        let answer = tokio::join!(server.answers("good"), async {
            server.post("/api/chat", &chat(name)).await
        });
        let answer = answer.1;
        assert_eq!(answer.status, 500, "{name}: {}", answer.text);
        let error = answer.error();
        assert!(
            error.contains(reason) && error.len() < 1200,
            "{name}: {error}"
        );
        // OpenAI's route has its own format for the same error.
        let answer = server.post("/v1/chat/completions", &chat(name)).await;
        let error = answer.json()["error"]["message"].to_string();
        // Clients do not retry what a template refuses.
        let status = if name == "words" { 400 } else { 500 };
        assert_eq!(answer.status, status, "{name}: {error}");
        assert!(error.contains(reason), "{name}: {error}");
    }
    server.answers("good").await;
}

/// No worker is lost around the depth at which JSON is no longer parsed, on either side.
#[tokio::test]
async fn values_that_are_nested_deeply_are_read_or_refused() {
    let server = TestServer::start().await;
    server
        .model_with("m", "{{ tools|tojson }}{{ messages|tojson }}")
        .await;
    server.answers_something("m").await;
    let workers = server.renderers();
    for depth in 100..135 {
        let deep = format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth));
        let call = format!(r#"[{{"function": {{"name": "f", "arguments": {deep}}}}}]"#);
        let body = format!(
            r#"{{"model": "m", "stream": false, "messages": [
                {{"role": "assistant", "content": "", "tool_calls": {call}}},
                {{"role": "user", "content": "hi"}}]}}"#
        );
        let answer = server
            .request(Method::POST, "/api/chat", body.into_bytes())
            .await;
        assert!(
            matches!(answer.status, 200 | 400 | 500) && !answer.text.contains("has ended"),
            "{depth}: {}",
            answer.text
        );
    }
    assert_eq!(server.renderers(), workers);
}

#[tokio::test]
async fn a_template_has_a_time_limit() {
    let server = TestServer::builder()
        .env("DROVER_TEMPLATE_TIMEOUT", "1s")
        .start()
        .await;
    server.model_with("bad", ENDLESS).await;
    let answer = server.post("/api/chat", &chat("bad")).await;
    let error = answer.error();
    let expected = "model 'bad:latest': the template did not make a prompt within 1s";
    assert!(
        answer.status == 500 && error.starts_with(expected),
        "{error}"
    );
    let slow = "{{ $x := .Prompt }}{{ range 20 }}{{ $x = print $x $x }}{{ end }}\
                {{ range 9999999 }}{{ if eq $x $x $x $x $x }}{{ end }}{{ end }}";
    let body = json!({"model": "bad", "prompt": "hi", "template": slow, "stream": false});
    let answer = server.post("/api/generate", &body).await;
    let error = answer.error();
    assert_eq!(
        (answer.status, error.as_str()),
        (500, "the template did not make a prompt within 1s")
    );
}

#[tokio::test]
async fn a_template_of_a_request_is_one_of_a_stranger_too() {
    let server = TestServer::builder()
        .env("DROVER_TEMPLATE_TIMEOUT", "60s")
        .start()
        .await;
    server.fake_model("tiny").await;
    let doubled = "{{ $x := \"0123456789\" }}{{ range 64 }}{{ $x = print $x $x }}{{ end }}{{ $x }}";
    let nested = format!("{{{{ {}1{} }}}}", "(".repeat(9000), ")".repeat(9000));
    let cases = [
        (doubled, "too"),
        (nested.as_str(), "nested deeper than"),
        ("{{ range 99999999999 }}{{ end }}", "steps"),
        (
            "{{ define \"r\" }}{{ template \"r\" . }}{{ end }}{{ template \"r\" . }}",
            "depth",
        ),
        (
            "{{ printf \"%900000d\" 1 }}{{ printf \"%900000d\" 1 }}",
            "longer than",
        ),
    ];
    for (template, reason) in cases {
        let body = json!({"model": "tiny", "prompt": "hi", "template": template, "stream": false});
        let answer = server.post("/api/generate", &body).await;
        assert_eq!(answer.status, 500, "{template:.60}: {}", answer.text);
        let error = answer.error();
        assert!(error.contains(reason), "{template:.60}: {error}");
        let suffixed =
            json!({"model": "tiny", "prompt": "hi", "suffix": ".", "template": template});
        let answer = server.post("/api/generate", &suffixed).await;
        assert!(answer.status >= 400, "{template:.60}: {}", answer.text);
    }
    server.answers("tiny").await;
}

#[tokio::test]
async fn one_model_s_endless_templates_leave_workers_to_others() {
    let server = TestServer::builder()
        .env("DROVER_TEMPLATE_TIMEOUT", "120s")
        .start()
        .await;
    server.fake_model("good").await;
    server.model_with("bad", ENDLESS).await;
    let body = chat("bad");
    let hostile = (0..40).map(|_| server.post("/api/chat", &body));
    let hostile = futures_util::future::join_all(hostile);
    let honest = async {
        server
            .log
            .wait_for("a renderer", |line| {
                line.contains("renderer was started").then_some(())
            })
            .await;
        for _ in 0..10 {
            server.answers("good").await;
        }
        assert!(server.renderers().len() <= 16, "{:?}", server.renderers());
    };
    tokio::select! {
        answers = hostile => panic!("that was not endless: {answers:?}"),
        () = honest => {}
    }
}

#[tokio::test]
async fn a_client_that_leaves_ends_its_template() {
    let server = TestServer::builder()
        .env("DROVER_TEMPLATE_TIMEOUT", "120s")
        .start()
        .await;
    server.model_with("bad", ENDLESS).await;
    let body = chat("bad");
    let mut request = Box::pin(server.post("/api/chat", &body));
    let started = server.log.wait_for("a renderer", |line| {
        line.contains("renderer was started").then_some(())
    });
    tokio::select! {
        answer = &mut request => panic!("that was not endless: {answer:?}"),
        () = started => {}
    }
    let renderer = server.renderer().await;
    drop(request);
    renderer.ended("the renderer of a client that left").await;
    let left = |line: &str| line.contains("its client has left").then_some(());
    server.log.wait_for("why", left).await;
}

/// A process costs milliseconds: no client can have them started as quickly as it sends requests.
#[tokio::test]
async fn processes_that_end_are_replaced_with_pauses() {
    let server = TestServer::start().await;
    server.model_with("bad", DEEP).await;
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let n_own = workers.clamp(4, 16) / 2;
    let body = chat("bad");
    let started = Instant::now();
    let answers = (0..4 * n_own).map(|_| server.post("/api/chat", &body));
    for answer in futures_util::future::join_all(answers).await {
        assert_eq!(answer.status, 500, "{}", answer.text);
    }
    assert!(started.elapsed() >= Duration::from_millis(1500));
}

#[tokio::test]
async fn a_worker_is_kept_and_one_that_was_killed_is_replaced() {
    let server = TestServer::start().await;
    server.fake_model("tiny").await;
    server.answers("tiny").await;
    let first = server.renderers();
    server.answers("tiny").await;
    assert_eq!(server.renderers(), first);
    let worker = Watched::new(first[0].pid);
    worker.signal(Signal::KILL);
    worker.ended("a killed renderer").await;
    server.answers("tiny").await;
    assert_ne!(server.renderers(), first);
}

#[tokio::test]
async fn no_renderer_outlives_the_daemon() {
    for signal in [Signal::KILL, Signal::TERM] {
        let mut server = TestServer::builder()
            .env("DROVER_TEMPLATE_TIMEOUT", "120s")
            .env("DROVER_GRACE", "10ms")
            .start()
            .await;
        server.fake_model("good").await;
        server.model_with("bad", ENDLESS).await;
        server.answers("good").await;
        let idle = Watched::new(server.renderers()[0].pid);
        let both: Vec<Watched> = {
            let body = chat("bad");
            let request = server.post("/api/chat", &body);
            let second = async {
                let mut tick = tokio::time::interval(Duration::from_millis(10));
                while server.renderers().len() < 2 {
                    server.answers("good").await;
                    tick.tick().await;
                }
            };
            tokio::select! {
                answer = request => panic!("that was not endless: {answer:?}"),
                () = second => {}
            }
            let renderers = server.renderers();
            renderers
                .iter()
                .map(|child| Watched::new(child.pid))
                .collect()
        };
        server.signal(signal);
        server.exit_code().await;
        for renderer in both.iter().chain([&idle]) {
            renderer.ended("a renderer").await;
        }
    }
}
