//! A hundred thousand requests of all kinds, many of them broken; nothing of them may be left.
//!
//! `cargo test --features fake --test it -- --ignored marathon`; `DROVER_TEST_REQUESTS` is another number.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::future::join_all;
use futures_util::stream;
use reqwest::Method;
use serde_json::{Value, json};

use super::{create, question, send, with_keys_and};
use crate::support::process::Watched;
use crate::support::{TestServer, models, variable};

const N: usize = 100_000;

/// Concurrent clients.
const CLIENTS: usize = 48;

/// After each round the daemon comes to rest and is measured.
const ROUNDS: usize = 5;

/// How much the daemon may grow after the first round, when caches and pools are full. (A leak of one kilobyte per
/// request would be 80 MiB.)
const MOST_GROWTH_KIB: u64 = 24 << 10;

const CHAT: &str = "/v1/chat/completions";

/// What the daemon holds when it is idle.
#[derive(Debug, Clone, Copy)]
struct Held {
    kib: u64,
    files: usize,
    threads: usize,
}

impl Held {
    fn by(server: &TestServer) -> Self {
        let folder = format!("/proc/{}", server.pid());
        let status = fs_err::read_to_string(format!("{folder}/status")).unwrap();
        let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = kib.unwrap().trim().strip_suffix(" kB").unwrap();
        let count = |name: &str| {
            fs_err::read_dir(format!("{folder}/{name}"))
                .unwrap()
                .count()
        };
        Self {
            kib: kib.parse().unwrap(),
            files: count("fd"),
            threads: count("task"),
        }
    }
}

/// The clients of one daemon.
struct Crowd {
    server: TestServer,
    /// Keys: an administrator's, a client's, one with limits.
    admin: String,
    key: String,
    limited: String,
    statuses: Mutex<BTreeMap<String, usize>>,
    n_batches: AtomicUsize,
}

impl Crowd {
    fn note(&self, kind: &str, status: u16) {
        let mut statuses = self.statuses.lock().unwrap();
        *statuses.entry(format!("{kind} {status}")).or_default() += 1;
    }

    /// Sends a request, reads its answer, and fails if the status is none of these.
    async fn expect(
        &self,
        key: &str,
        (method, path): (Method, &str),
        body: &Value,
        statuses: &[u16],
    ) {
        let answer = send(&self.server, key, method, path, body).await;
        let status = answer.status().as_u16();
        let text = answer.text().await.unwrap();
        let kind = path.split('?').next().unwrap();
        assert!(statuses.contains(&status), "{kind} {status}: {text}");
        self.note(kind, status);
    }

    async fn post(&self, path: &str, body: &Value, statuses: &[u16]) {
        self.expect(&self.key, (Method::POST, path), body, statuses)
            .await;
    }

    async fn get(&self, path: &str) {
        self.expect(&self.key, (Method::GET, path), &Value::Null, &[200])
            .await;
    }

    /// Begins a stream and disconnects after so many pieces.
    async fn leave(&self, path: &str, body: &Value, n_pieces: usize) {
        let mut answer = send(&self.server, &self.key, Method::POST, path, body).await;
        for _ in 0..n_pieces {
            // It may have ended.
            let _ = answer.chunk().await;
        }
        self.note("left", answer.status().as_u16());
    }

    /// Sends bytes, and reads the answer or disconnects at once.
    async fn raw(&self, bytes: &[u8], waits: bool) {
        let mut socket = self.server.socket(bytes).await;
        if waits {
            socket.read_until("\r\n\r\n").await;
        }
        self.note("bytes", 0);
    }

    /// Sends one request of some kind.
    #[expect(clippy::too_many_lines, reason = "a few lines for each kind")]
    async fn ask(&self, number: usize) {
        let text = format!("request {number}");
        let chat = |text: &str, streams: bool| {
            let mut body = question(text);
            body["stream"] = streams.into();
            body
        };
        let long = "[[slow 5]] [[repeat 2000]] on and on";
        match number % 40 {
            0..4 => self.post("/api/chat", &chat(&text, false), &[200]).await,
            4..7 => self.post("/api/chat", &chat(&text, true), &[200]).await,
            7..10 => self.post(CHAT, &chat(&text, true), &[200]).await,
            10 => self.post(CHAT, &chat(&text, false), &[200]).await,
            11 | 12 => {
                let body = json!({"model": "tiny", "max_tokens": 20, "stream": number.is_multiple_of(3),
                    "messages": [{"role": "user", "content": text}]});
                self.post("/v1/messages", &body, &[200]).await;
            }
            13 | 14 => {
                let body = json!({"model": "tiny", "input": text, "store": false});
                self.post("/v1/responses", &body, &[200]).await;
            }
            15 | 16 => {
                let body = json!({"model": "embed", "input": [text, "another text"]});
                self.post("/api/embed", &body, &[200]).await;
            }
            17 => {
                let body = json!({"model": "tiny", "prompt": text, "raw": true, "stream": false});
                self.post("/api/generate", &body, &[200]).await;
            }
            18 => self.get("/api/tags").await,
            19 => self.get("/v1/models").await,
            20 => self.get("/api/ps").await,
            // Streams that are not read to their end.
            21..24 => self.leave("/api/chat", &chat(long, true), number % 3).await,
            24 => self.leave(CHAT, &chat(long, true), 1).await,
            25 => {
                let body = chat(long, false).to_string();
                let head = format!(
                    "POST /api/chat HTTP/1.1\r\nHost: localhost\r\nx-api-key: {}\r\nContent-Length: {}\r\n\r\n",
                    self.key,
                    body.len()
                );
                self.raw(format!("{head}{body}").as_bytes(), false).await;
            }
            // Broken requests.
            26 => {
                let head = format!(
                    "POST /api/chat HTTP/1.1\r\nHost: localhost\r\nx-api-key: {}\r\nContent-Length: 5000\r\n\r\n",
                    self.key
                );
                self.raw(format!("{head}{{\"model\":").as_bytes(), false)
                    .await;
            }
            27 => {
                self.raw(b"GET /api/tags HTTP/1.1\r\nHost: loc", false)
                    .await;
            }
            28 => self.raw(b"\x16\x03\x01 what is this\r\n\r\n", true).await,
            29 => {
                let bodies = [
                    json!({"model": 5}),
                    json!("text"),
                    json!({"model": "no", "messages": "x"}),
                ];
                let body = &bodies[number / 40 % 3];
                self.post("/api/chat", body, &[400, 404]).await;
            }
            30 => self.post("/api/nothing", &json!({}), &[404]).await,
            31 => {
                self.expect(
                    "drover_wrong",
                    (Method::POST, CHAT),
                    &chat(&text, false),
                    &[401],
                )
                .await;
            }
            32 => {
                self.expect(
                    &self.key,
                    (Method::DELETE, "/api/delete"),
                    &json!({"model": "tiny"}),
                    &[403],
                )
                .await;
            }
            33 => {
                self.expect(
                    &self.limited,
                    (Method::POST, CHAT),
                    &chat(&text, false),
                    &[200, 429],
                )
                .await;
            }
            // A deadline that may pass.
            34 => {
                let mut body = chat("[[slow 2]] [[repeat 20]] late", number % 80 == 34);
                body["options"] = json!({"timeout": "50ms"});
                self.post("/api/chat", &body, &[200, 504]).await;
            }
            35 => {
                let fails = format!("[[error {}]] of the engine", number / 40 % 4);
                self.post("/api/chat", &chat(&fails, number % 80 == 35), &[200, 500])
                    .await;
            }
            36 => self.manage(number).await,
            37 => self.crash(number).await,
            38 => self.batch(number).await,
            _ => self.get("/metrics").await,
        }
    }

    /// Copies and deletes a model, makes and revokes a key.
    async fn manage(&self, number: usize) {
        let (admin, name) = (&self.admin, format!("copy{number}"));
        if !(number / 40).is_multiple_of(4) {
            self.get("/api/version").await;
            return;
        }
        let body = json!({"source": "tiny", "destination": name});
        self.expect(admin, (Method::POST, "/api/copy"), &body, &[200])
            .await;
        let body = json!({"model": name});
        self.expect(admin, (Method::DELETE, "/api/delete"), &body, &[200])
            .await;
        let body = json!({"name": name, "scopes": ["inference"]});
        self.expect(admin, (Method::POST, "/api/keys"), &body, &[200, 201])
            .await;
        let path = format!("/api/keys/{name}");
        self.expect(admin, (Method::DELETE, &path), &Value::Null, &[200, 204])
            .await;
    }

    /// Kills a runner of a model that is only used for this; after three times in a minute the model is refused.
    async fn crash(&self, number: usize) {
        let mut body = question("[[abort 2]] crash");
        body["model"] = "brittle".into();
        body["stream"] = (number % 80 == 37).into();
        self.post("/api/chat", &body, &[200, 500]).await;
    }

    /// Begins a batch job, and cancels every second one.
    async fn batch(&self, number: usize) {
        if !(number / 40).is_multiple_of(16) {
            self.get("/health").await;
            return;
        }
        let line = |id: usize, text: &str| {
            let line = json!({"custom_id": id.to_string(), "method": "POST", "url": CHAT, "body": question(text)});
            format!("{line}\n")
        };
        let lines = line(1, "one") + &line(2, "[[slow 20]] [[repeat 30]] two") + "broken\n";
        let lines = if (number / 640).is_multiple_of(3) {
            lines
        } else {
            line(1, "one")
        };
        let form = format!(
            "--line\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\nbatch\r\n--line\r\n\
             Content-Disposition: form-data; name=\"file\"; filename=\"in.jsonl\"\r\n\r\n{lines}\r\n--line--\r\n"
        );
        let sent = self
            .server
            .http
            .post(format!("{}/v1/files", self.server.url));
        let sent = sent.header("content-type", "multipart/form-data; boundary=line");
        let file = sent.bearer_auth(&self.key).body(form).send().await.unwrap();
        let file: Value = file.json().await.unwrap();
        let body =
            json!({"input_file_id": file["id"], "endpoint": CHAT, "completion_window": "24h"});
        let made = send(&self.server, &self.key, Method::POST, "/v1/batches", &body).await;
        let status = made.status().as_u16();
        self.note("/v1/batches", status);
        assert_eq!(status, 200, "{}", made.text().await.unwrap());
        let made: Value = made.json().await.unwrap();
        self.n_batches.fetch_add(1, Ordering::Relaxed);
        if (number / 640).is_multiple_of(2) {
            let path = format!("/v1/batches/{}/cancel", made["id"].as_str().unwrap());
            self.post(&path, &json!({}), &[200, 400, 409]).await;
        }
        let path = format!("/v1/files/{}", file["id"].as_str().unwrap());
        self.expect(
            &self.key,
            (Method::DELETE, &path),
            &Value::Null,
            &[200, 400, 409],
        )
        .await;
    }

    /// Waits until nothing is being answered, generated or worked on.
    async fn rests(&self) {
        let is_busy = async || {
            let metrics = send(
                &self.server,
                &self.key,
                Method::GET,
                "/metrics",
                &Value::Null,
            )
            .await;
            let metrics = metrics.text().await.unwrap();
            metrics.lines().any(|line| {
                let busy = [
                    "drover_requests_in_flight",
                    "drover_sequences_running",
                    "drover_sequences_waiting",
                    "drover_requests_awaiting_model",
                    "drover_batches ",
                ];
                let is_own = line.contains("route=\"/metrics\"");
                busy.iter().any(|name| line.starts_with(name)) && !line.ends_with(" 0") && !is_own
            })
        };
        let rest = async {
            let mut tick = tokio::time::interval(Duration::from_millis(200));
            while is_busy().await {
                tick.tick().await;
            }
        };
        let rests = tokio::time::timeout(Duration::from_secs(120), rest).await;
        if rests.is_err() {
            let metrics = send(
                &self.server,
                &self.key,
                Method::GET,
                "/metrics",
                &Value::Null,
            )
            .await;
            panic!(
                "it does not come to rest:\n{}",
                metrics.text().await.unwrap()
            );
        }
    }
}

#[tokio::test]
#[ignore = "a hundred thousand requests"]
async fn marathon_of_a_hundred_thousand_requests_leaves_nothing() {
    let n = variable("DROVER_TEST_REQUESTS").map_or(N, |n| n.parse().unwrap());
    let variables = [
        ("OLLAMA_NUM_PARALLEL", "4"),
        ("OLLAMA_MAX_QUEUE", "1000"),
        ("OLLAMA_KEEP_ALIVE", "-1"),
        ("OLLAMA_DEBUG", "0"),
        // The machine may be busy.
        ("DROVER_TEMPLATE_TIMEOUT", "60s"),
    ];
    let (server, boss) = with_keys_and(&variables).await;
    let admin = create(&boss, &["second", "--scope", "admin"]).await;
    for (name, file) in [
        ("embed", models::embedder()),
        ("brittle", models::fake().value("general.name", "brittle")),
    ] {
        let file = file.build();
        let digest = models::digest(&file);
        let blob = server
            .http
            .post(format!("{}/api/blobs/{digest}", server.url));
        let sent = blob.bearer_auth(&admin).body(file).send().await.unwrap();
        assert!(sent.status().is_success());
        let body = json!({"model": name, "files": {"model.gguf": digest}, "stream": false});
        let made = send(&server, &admin, Method::POST, "/api/create", &body).await;
        assert_eq!(made.status(), 200);
    }
    let crowd = Crowd {
        key: create(&boss, &["client", "--scope", "inference,metrics"]).await,
        limited: create(
            &boss,
            &["limited", "--limit", "requests=2,queue=2,tokens=20000"],
        )
        .await,
        admin,
        server,
        statuses: Mutex::default(),
        n_batches: AtomicUsize::new(0),
    };
    let started = Instant::now();
    let mut held = Vec::new();
    for round in 0..ROUNDS {
        let numbers = n / ROUNDS * round..n / ROUNDS * (round + 1);
        let requests = stream::iter(numbers).map(|number| crowd.ask(number));
        requests.buffer_unordered(CLIENTS).count().await;
        crowd.rests().await;
        held.push(Held::by(&crowd.server));
        println!("{:?}: {:?}", started.elapsed(), held.last().unwrap());
    }
    let statuses = crowd.statuses.lock().unwrap().clone();
    println!("{statuses:#?}");
    // Few requests are batch jobs or crashes, but there must be some.
    assert!(crowd.n_batches.load(Ordering::Relaxed) >= n / 2000);
    let (first, last) = (held[0], held[ROUNDS - 1]);
    assert!(last.kib < first.kib + MOST_GROWTH_KIB, "{held:?}");
    assert!(last.files <= first.files + 8, "{held:?}");
    assert!(last.threads <= first.threads + 4, "{held:?}");
    // No slot was lost: four concurrent answers take as long as one.
    let slow = question("[[slow 20]] [[repeat 40]] four at once");
    let ask = || send(&crowd.server, &crowd.key, Method::POST, CHAT, &slow);
    let began = Instant::now();
    assert_eq!(ask().await.status(), 200);
    let one = began.elapsed();
    let began = Instant::now();
    for answer in join_all((0..4).map(|_| ask())).await {
        assert_eq!(answer.status(), 200);
    }
    assert!(began.elapsed() < one * 2, "{:?} {one:?}", began.elapsed());
    // Runners of the two models in use, and no child that has not been reaped.
    let runners = crowd.server.runners();
    assert!(runners.len() <= 3, "{runners:?}");
    assert!(
        runners.iter().all(|runner| !runner.is_zombie),
        "{runners:?}"
    );
    let children: Vec<Watched> = runners
        .iter()
        .chain(&crowd.server.renderers())
        .map(|child| Watched::new(child.pid))
        .collect();
    crowd.server.stopped().await;
    for child in children {
        child.ended("a child").await;
    }
}
