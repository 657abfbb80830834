//! `/v1/batches` over a socket, while daemons and runners are killed.

use std::collections::BTreeMap;
use std::time::Duration;

use reqwest::Method;
use rustix::process::{Pid, Signal};
use serde_json::{Value, json};

use crate::support::{TestServer, models, skip, variable};

const CHAT: &str = "/v1/chat/completions";

fn line(id: &str, model: &str, content: &str) -> String {
    let body = json!({"model": model, "messages": [{"role": "user", "content": content}]});
    let line = json!({"custom_id": id, "method": "POST", "url": CHAT, "body": body});
    format!("{line}\n")
}

async fn upload(server: &TestServer, lines: &str) -> String {
    let fields = [
        ("purpose", None, &b"batch"[..]),
        ("file", Some("in.jsonl"), lines.as_bytes()),
    ];
    let file = server.post_form("/v1/files", &fields).await.ok().json();
    file["id"].as_str().unwrap().to_owned()
}

async fn create(server: &TestServer, lines: &str, endpoint: &str) -> Value {
    let input = upload(server, lines).await;
    let body = json!({"input_file_id": input, "endpoint": endpoint, "completion_window": "24h"});
    server.post("/v1/batches", &body).await.ok().json()
}

async fn until(server: &TestServer, id: &Value, test: impl Fn(&Value) -> bool) -> Value {
    until_within(Duration::from_secs(120), server, id, test).await
}

async fn until_within(
    time: Duration,
    server: &TestServer,
    id: &Value,
    test: impl Fn(&Value) -> bool,
) -> Value {
    let path = format!("/v1/batches/{}", id.as_str().unwrap());
    let waiting = async {
        let mut tick = tokio::time::interval(Duration::from_millis(20));
        loop {
            tick.tick().await;
            let batch = server.get(&path).await.ok().json();
            if test(&batch) {
                return batch;
            }
        }
    };
    let waited = tokio::time::timeout(time, waiting).await;
    waited.expect("the job does not get there")
}

fn is_over(batch: &Value) -> bool {
    ["completed", "failed", "expired", "cancelled"].contains(&batch["status"].as_str().unwrap())
}

/// The lines of both result files by their `custom_id`; each must occur once.
async fn results(server: &TestServer, batch: &Value) -> BTreeMap<String, Value> {
    let mut found = BTreeMap::new();
    for key in ["output_file_id", "error_file_id"] {
        let Some(file) = batch[key].as_str() else {
            continue;
        };
        let about = server.get(&format!("/v1/files/{file}")).await.ok().json();
        let content = server.get(&format!("/v1/files/{file}/content")).await.ok();
        assert_eq!(about["bytes"], content.text.len());
        assert_eq!(about["purpose"], "batch_output");
        for line in content.lines() {
            let id = line["custom_id"].as_str().unwrap().to_owned();
            assert_eq!(found.insert(id, line), None);
        }
    }
    found
}

#[tokio::test]
async fn every_endpoint_answers_as_it_does_alone() {
    let server = TestServer::start().await;
    server.fake_model("tiny").await;
    let made = server.create("embed", models::embedder().build(), json!({}));
    made.await.ok();
    let messages = json!([{"role": "user", "content": "One <two>."}]);
    for (url, body) in [
        (CHAT, json!({"model": "tiny", "messages": messages})),
        ("/v1/completions", json!({"model": "tiny", "prompt": "x"})),
        (
            "/v1/embeddings",
            json!({"model": "embed", "input": ["a", "b"]}),
        ),
        (
            "/v1/messages",
            json!({"model": "tiny", "messages": messages, "max_tokens": 9}),
        ),
    ] {
        let alone = server.post(url, &body).await.ok().json();
        let lines = json!({"custom_id": "a", "method": "POST", "url": url, "body": body});
        let batch = create(&server, &lines.to_string(), url).await;
        let batch = until(&server, &batch["id"], is_over).await;
        assert_eq!(batch["status"], "completed", "{batch}");
        let results = results(&server, &batch).await;
        let mut answer = results["a"]["response"]["body"].clone();
        for key in ["id", "created"] {
            if !alone[key].is_null() {
                answer[key] = alone[key].clone();
            }
        }
        // Cached tokens and times depend on earlier requests.
        for key in ["usage", "timings"] {
            if !alone[key].is_null() {
                answer[key] = alone[key].clone();
            }
        }
        assert_eq!(answer, alone);
        assert!(batch["usage"]["input_tokens"].as_u64() > Some(0), "{batch}");
    }
    let metrics = server.get("/metrics").await.text;
    assert!(
        metrics.contains("drover_batch_requests_total{outcome=\"completed\"} 4"),
        "{metrics}"
    );
    assert!(metrics.contains("drover_batches 0"), "{metrics}");
}

#[tokio::test]
async fn lines_of_responses_are_stored_only_if_they_say_so() {
    let server = TestServer::start().await;
    server.fake_model("tiny").await;
    let url = "/v1/responses";
    let line = |id: &str, store: Value| {
        let body = json!({"model": "tiny", "input": "One <two>.", "store": store});
        json!({"custom_id": id, "method": "POST", "url": url, "body": body}).to_string()
    };
    let lines = [line("no", Value::Null), line("yes", json!(true))].join("\n");
    let batch = create(&server, &lines, url).await;
    let batch = until(&server, &batch["id"], is_over).await;
    assert_eq!(batch["status"], "completed", "{batch}");
    let results = results(&server, &batch).await;
    for (id, status) in [("no", 404), ("yes", 200)] {
        let response = &results[id]["response"]["body"];
        assert_eq!(
            response["output"][0]["content"][0]["text"], "One <two>.",
            "{response}"
        );
        let path = format!("{url}/{}", response["id"].as_str().unwrap());
        assert_eq!(server.get(&path).await.status, status, "{id}");
    }
}

#[tokio::test]
async fn errors_have_openais_form() {
    let server = TestServer::start().await;
    let error = |message: &str, param: Value, code: Value| json!({"error": {"message": message, "type": "invalid_request_error", "param": param, "code": code}});
    let good = json!({"input_file_id": "file-x", "endpoint": CHAT, "completion_window": "24h"});
    let mut other = good.clone();
    other["endpoint"] = json!("/v1/x");
    let answer = server.post("/v1/batches", &other).await;
    assert_eq!(answer.status, 400);
    let told = answer.json()["error"]["message"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(
        told.starts_with("Invalid value: '/v1/x'. Supported values are: '/v1/chat/completions'")
    );
    let answer = server.post("/v1/batches", &json!({})).await;
    let missing = "Missing required parameter: 'input_file_id'.";
    let expected = error(
        missing,
        json!("input_file_id"),
        json!("missing_required_parameter"),
    );
    assert_eq!((answer.status, answer.json()), (400, expected));
    for (method, path) in [
        (Method::GET, "/v1/batches/batch_x"),
        (Method::POST, "/v1/batches/batch_x/cancel"),
    ] {
        let answer = server.request(method, path, Vec::new()).await;
        let expected = error(
            "No batch found with id 'batch_x'.",
            json!("id"),
            Value::Null,
        );
        assert_eq!((answer.status, answer.json()), (404, expected));
    }
    let batch = server.post("/v1/batches", &good).await.ok().json();
    assert_eq!(batch["status"], "validating");
    let batch = until(&server, &batch["id"], is_over).await;
    assert_eq!(
        (&batch["status"], &batch["errors"]["data"][0]["param"]),
        (&json!("failed"), &json!("file_id"))
    );
    let path = format!("/v1/batches/{}/cancel", batch["id"].as_str().unwrap());
    let answer = server.request(Method::POST, &path, Vec::new()).await;
    let expected = error(
        "Cannot cancel a batch with status 'failed'.",
        Value::Null,
        Value::Null,
    );
    assert_eq!((answer.status, answer.json()), (409, expected));
    let list = server.get("/v1/batches?limit=1").await.ok().json();
    assert_eq!(
        (&list["first_id"], &list["last_id"]),
        (&batch["id"], &batch["id"])
    );
    assert_eq!(list["has_more"], false);
    assert_eq!(server.get("/v1/batches?limit=101").await.status, 400);
}

#[tokio::test]
async fn a_job_goes_on_after_a_restart_and_a_stop_is_prompt() {
    let server = TestServer::start().await;
    server.fake_model("tiny").await;
    let lines: String = (0..5)
        .map(|n| line(&n.to_string(), "tiny", "[[slow 200]] [[repeat 40]] word"))
        .collect();
    let batch = create(&server, &lines, CHAT).await;
    until(&server, &batch["id"], |batch| {
        batch["status"] == "in_progress"
    })
    .await;
    let stopping = std::time::Instant::now();
    let root = server.stopped().await;
    assert!(
        stopping.elapsed() < Duration::from_secs(8),
        "{:?}",
        stopping.elapsed()
    );
    let server = TestServer::builder().root(root).start().await;
    let path = format!("/v1/batches/{}/cancel", batch["id"].as_str().unwrap());
    server.request(Method::POST, &path, Vec::new()).await.ok();
    let batch = until(&server, &batch["id"], is_over).await;
    assert_eq!(batch["status"], "cancelled");
    let results = results(&server, &batch).await;
    assert_eq!(results.len(), 5);
    assert_eq!(results["0"]["error"]["code"], "batch_cancelled");
}

#[tokio::test]
async fn a_job_whose_time_is_over_has_partial_results() {
    let server = TestServer::builder()
        .env("DROVER_BATCH_WINDOW", "2s")
        .start()
        .await;
    server.fake_model("tiny").await;
    let lines =
        line("quick", "tiny", "x") + &line("slow", "tiny", "[[slow 300]] [[repeat 90]] word");
    let batch = create(&server, &lines, CHAT).await;
    let batch = until(&server, &batch["id"], is_over).await;
    assert_eq!(batch["status"], "expired", "{batch}");
    let results = results(&server, &batch).await;
    assert_eq!(results["quick"]["response"]["status_code"], 200);
    assert_eq!(results["slow"]["error"]["code"], "batch_expired");
    assert_eq!(
        batch["request_counts"],
        json!({"total": 2, "completed": 1, "failed": 0})
    );
}

#[tokio::test]
async fn outside_of_its_hours_a_job_waits_and_says_so() {
    let hours = "00:00-00:01";
    let server = TestServer::builder()
        .env("DROVER_BATCH_HOURS", hours)
        .start()
        .await;
    server.fake_model("tiny").await;
    let batch = create(&server, &line("a", "tiny", "x"), CHAT).await;
    let batch = until(&server, &batch["id"], |batch| {
        batch["paused"].is_string() || is_over(batch)
    })
    .await;
    // This proves nothing for one minute of the day.
    if !is_over(&batch) {
        assert_eq!(batch["paused"], format!("outside of the hours {hours}"));
        assert_eq!(batch["status"], "in_progress");
    }
}

/// A runner that dies takes its requests with it; they are retried.
#[tokio::test]
async fn kills_of_daemon_and_runner_lose_and_repeat_nothing() {
    // Manual runs can ask for more of both.
    let number = |name, default| variable(name).map_or(default, |text| text.parse().unwrap());
    let (n_lines, n_kills) = (number("DROVER_LINES", 300), number("DROVER_KILLS", 12));
    let mut rng = fastrand::Rng::with_seed(11);
    let mut server = TestServer::start().await;
    server.fake_model("tiny").await;
    let text = |n: usize| match n % 10 {
        0 => format!("[[slow 5]] line {n}"),
        _ => format!("line {n}"),
    };
    let lines: String = (0..n_lines)
        .map(|n| line(&n.to_string(), "tiny", &text(n)))
        .collect();
    let batch = create(&server, &lines, CHAT).await;
    for _ in 0..n_kills {
        // An arbitrary moment.
        tokio::time::sleep(Duration::from_millis(rng.u64(20..400))).await;
        let runners = server.runners();
        if let Some(runner) = runners.first().filter(|_| rng.bool()) {
            let pid = Pid::from_raw(i32::try_from(runner.pid).unwrap()).unwrap();
            // It may have ended by itself.
            let _ = rustix::process::kill_process(pid, Signal::KILL);
            continue;
        }
        server.signal(Signal::KILL);
        server.exit_code().await;
        server = TestServer::builder().root(server.into_root()).start().await;
    }
    let time = Duration::from_secs(120 + n_lines as u64 / 5);
    let batch = until_within(time, &server, &batch["id"], is_over).await;
    assert_eq!(batch["status"], "completed", "{batch}");
    let results = results(&server, &batch).await;
    assert_eq!(results.len(), n_lines);
    for n in 0..n_lines {
        let result = &results[&n.to_string()];
        if result["response"]["status_code"] == 200 {
            let answer = &result["response"]["body"]["choices"][0]["message"]["content"];
            assert_eq!(answer, &format!("line {n}"));
        }
    }
    // Nothing else is left: the input, and one or two result files.
    let n_results = ["output_file_id", "error_file_id"]
        .iter()
        .filter(|key| batch[**key].is_string())
        .count();
    let folder = server.root().join("state/files");
    assert_eq!(fs_err::read_dir(folder).unwrap().count(), 1 + n_results);
}

/// Their jobs are not answered alternately, which would load a model for every line.
#[tokio::test]
async fn two_jobs_of_two_models_load_each_of_them_once() {
    let server = TestServer::builder()
        .env("OLLAMA_MAX_LOADED_MODELS", "1")
        .start()
        .await;
    let mut batches = Vec::new();
    for (model, number) in [("one", 1), ("two", 2)] {
        // Models of the same file would share a runner.
        let file = models::fake().value("drover-fake.vocabulary", number);
        server.create(model, file.build(), json!({})).await.ok();
        let lines: String = (0..60)
            .map(|n| line(&n.to_string(), model, "[[slow 2]] word"))
            .collect();
        batches.push(create(&server, &lines, CHAT).await);
    }
    for batch in &batches {
        let batch = until(&server, &batch["id"], is_over).await;
        assert_eq!(batch["request_counts"]["completed"], 60, "{batch}");
    }
    let metrics = server.get("/metrics").await.text;
    for model in ["one", "two"] {
        let loads = format!("drover_model_loads_total{{model=\"{model}:latest\"");
        let line = metrics.lines().find(|line| line.starts_with(&loads));
        let line = line.unwrap_or_else(|| panic!("{metrics}"));
        assert!(line.ends_with(" 1"), "{line}");
    }
}

/// A job waits while the disk is full, even if the daemon is killed meanwhile.
#[tokio::test]
async fn a_job_on_a_full_disk_waits_for_room_and_loses_nothing() {
    const N: usize = 1000;
    let root = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::mount(&root.path().join("state")) else {
        return skip("only root can mount a disk of a few megabytes");
    };
    let state = root.path().join("state");
    let mut server = TestServer::builder().root(root).start().await;
    server.fake_model("tiny").await;
    let lines: String = (0..N)
        .map(|n| {
            let text = format!("{}{n}", "long ".repeat(40));
            line(&n.to_string(), "tiny", &text)
        })
        .collect();
    let batch = create(&server, &lines, CHAT).await;
    let begun = |batch: &Value| batch["request_counts"]["completed"].as_u64() > Some(0);
    until(&server, &batch["id"], begun).await;
    let ballast = state.join("ballast");
    fill(&ballast);
    let is_paused = |batch: &Value| batch["paused"].is_string();
    let paused = until(&server, &batch["id"], is_paused).await;
    assert!(!is_over(&paused), "{paused}");
    server.signal(Signal::KILL);
    server.exit_code().await;
    server = TestServer::builder().root(server.into_root()).start().await;
    fs_err::remove_file(&ballast).unwrap();
    let batch = until(&server, &batch["id"], is_over).await;
    assert_eq!(batch["status"], "completed", "{batch}");
    let results = results(&server, &batch).await;
    assert_eq!(results.len(), N);
    let root = server.stopped().await;
    drop((disk, root));
}

/// A 16 MB file system in memory, until it is dropped.
struct SmallDisk(std::path::PathBuf);

impl SmallDisk {
    fn mount(path: &std::path::Path) -> Option<Self> {
        fs_err::create_dir_all(path).unwrap();
        let mut command = std::process::Command::new("mount");
        command
            .args(["-t", "tmpfs", "-o", "size=16m", "tmpfs"])
            .arg(path);
        let mounted = command.output().is_ok_and(|output| output.status.success());
        mounted.then(|| Self(path.to_owned()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // A daemon that is still stopping may have open files there.
        let _ = std::process::Command::new("umount")
            .arg("-l")
            .arg(&self.0)
            .status();
    }
}

/// Writes until there is no room left.
fn fill(path: &std::path::Path) {
    use std::io::Write as _;
    let mut file = fs_err::File::create(path).unwrap();
    for size in [64 << 10, 4096, 1] {
        while file.write_all(&vec![0; size]).is_ok() {}
    }
}

/// Run by hand, since it takes minutes: two jobs of 50,000 lines.
#[tokio::test]
#[ignore = "takes minutes"]
async fn a_hundred_thousand_lines_take_little_memory() {
    let server = TestServer::builder().env("OLLAMA_DEBUG", "0").start().await;
    server.fake_model("tiny").await;
    let lines: String = (0..50_000)
        .map(|n| line(&n.to_string(), "tiny", "x"))
        .collect();
    let mut batches = Vec::new();
    for _ in 0..2 {
        batches.push(create(&server, &lines, CHAT).await);
    }
    let first = until(&server, &batches[0]["id"], |batch| {
        batch["request_counts"]["completed"].as_u64() >= Some(2000)
    });
    first.await;
    let early = server.peak_bytes();
    let started = std::time::Instant::now();
    for batch in batches {
        let waiting = async {
            let mut tick = tokio::time::interval(Duration::from_secs(1));
            let path = format!("/v1/batches/{}", batch["id"].as_str().unwrap());
            while !is_over(&server.get(&path).await.ok().json()) {
                tick.tick().await;
            }
        };
        waiting.await;
    }
    let (late, time) = (server.peak_bytes(), started.elapsed());
    println!(
        "{} MB after 2,000 lines, {} MB after 100,000; {time:?}",
        early >> 20,
        late >> 20
    );
    assert!(late < early + (64 << 20));
}

/// The requests of Anthropic's clients, in their format.
#[tokio::test]
async fn message_batches_are_the_same_jobs() {
    let server = TestServer::start().await;
    server.fake_model("tiny").await;
    let params = |content: &str| json!({"model": "tiny", "max_tokens": 20, "messages": [{"role": "user", "content": content}]});
    let mut wrong = params("x");
    wrong["max_tokens"] = json!(-1);
    let body = json!({"requests": [
        {"custom_id": "a", "params": params("one")}, {"custom_id": "b", "params": wrong},
    ]});
    let path = "/v1/messages/batches";
    let batch = server.post(path, &body).await.ok().json();
    assert_eq!(
        (&batch["type"], &batch["processing_status"]),
        (&json!("message_batch"), &json!("in_progress"))
    );
    assert_eq!(batch["request_counts"]["processing"], 2);
    let own = format!("{path}/{}", batch["id"].as_str().unwrap());
    let waiting = async {
        let mut tick = tokio::time::interval(Duration::from_millis(20));
        loop {
            tick.tick().await;
            let batch = server.get(&own).await.ok().json();
            if batch["processing_status"] == "ended" {
                return batch;
            }
        }
    };
    let ended = tokio::time::timeout(Duration::from_secs(60), waiting)
        .await
        .unwrap();
    let counts =
        json!({"processing": 0, "succeeded": 1, "errored": 1, "canceled": 0, "expired": 0});
    assert_eq!(ended["request_counts"], counts);
    assert_eq!(ended["results_url"], format!("{}{own}/results", server.url));
    let mut results = server.get(&format!("{own}/results")).await.ok().lines();
    results.sort_by_key(|line| line["custom_id"].as_str().unwrap().to_owned());
    assert_eq!(results[0]["result"]["type"], "succeeded");
    assert_eq!(results[0]["result"]["message"]["content"][0]["text"], "one");
    assert_eq!(results[1]["result"]["type"], "errored");
    assert_eq!(results[1]["result"]["error"]["type"], "error");
    let list = server.get(path).await.ok().json();
    assert_eq!(
        (&list["data"][0]["id"], &list["has_more"]),
        (&batch["id"], &json!(false))
    );
    let gone = server
        .request(Method::DELETE, &own, Vec::new())
        .await
        .ok()
        .json();
    assert_eq!(
        gone,
        json!({"id": batch["id"], "type": "message_batch_deleted"})
    );
    assert_eq!(
        fs_err::read_dir(server.root().join("state/files"))
            .unwrap()
            .count(),
        0
    );
    let unknown = server.get(&own).await;
    assert_eq!(
        (unknown.status, &unknown.json()["error"]["type"]),
        (404, &json!("not_found_error"))
    );
    let empty = server.post(path, &json!({"requests": []})).await;
    assert_eq!(
        empty.json()["error"]["message"],
        "requests: at least one is required"
    );
    // OpenAI's route does not find it.
    assert_eq!(
        server.get("/v1/batches").await.ok().json()["data"],
        json!([])
    );
}
