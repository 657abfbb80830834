//! `bench`: its counts are right.

use std::process::Stdio;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::process::Watched;
use crate::support::{Drover, TestServer, hermetic, models, program};

/// The longest wait for the effect of a measurement.
const PATIENCE: Duration = Duration::from_secs(30);

/// Flags of a short measurement.
const SHORT: &[&str] = &["--prompt-tokens", "30", "--output-tokens", "8"];

async fn server() -> TestServer {
    let server = TestServer::builder()
        .env("OLLAMA_NUM_PARALLEL", "4")
        .start()
        .await;
    // Slow enough that tokens arrive one by one.
    let model = models::fake().value("drover-fake.step_us", 2000).build();
    server.create("tiny", model, json!({})).await.ok();
    server
}

fn read(drover: &Drover, name: &str) -> String {
    fs_err::read_to_string(drover.folder().join(name)).unwrap()
}

#[track_caller]
fn is_positive(value: &Value) {
    assert!(value.as_f64().is_some_and(|value| value > 0.0), "{value}");
}

#[tokio::test]
async fn both_protocols_are_measured_at_every_level() {
    let server = server().await;
    let drover = Drover::of(&server);
    for api in ["ollama", "openai"] {
        let args = ["bench", "tiny", "--api", api, "--concurrency", "1,4"];
        let args = [&args, SHORT, &["--requests", "6", "--turns", "2"]].concat();
        let args = [args.as_slice(), &["--json=r.json", "--markdown", "r.md"]].concat();
        let table = drover.run(&args).await.ok();
        assert!(table.starts_with("AT ONCE    SERVER "), "{table}");
        assert_eq!(table.lines().count(), 3, "{table}");

        let report: Value = serde_json::from_str(&read(&drover, "r.json")).unwrap();
        assert_eq!(report["api"], api);
        assert_eq!(report["cpus"][0]["url"], server.url);
        assert!(report["cpus"][0]["used"].is_string(), "{report}");
        let told = format!("{} computes with ", server.url);
        assert!(read(&drover, "r.md").contains(&told));
        let levels = report["levels"].as_array().unwrap();
        assert_eq!(levels.len(), 2);
        for level in levels {
            let row = &level["servers"][0];
            assert_eq!((&row["n_ok"], &row["n_errors"]), (&12.into(), &0.into()));
            assert_eq!(row["mean_output_tokens"], 8.0, "{row}");
            is_positive(&row["mean_prompt_tokens"]);
            let tells_cached = row["mean_cached_tokens"].is_number();
            assert_eq!(tells_cached, api == "openai", "{row}");
            for percentile in ["p50", "p95", "p99"] {
                is_positive(&row["ttft_ms"][percentile]);
                is_positive(&row["itl_ms"][percentile]);
            }
            is_positive(&row["stream_tokens_per_s"]);
            is_positive(&row["total_tokens_per_s"]);
            assert!(level["ratio"].is_null());
        }
        assert!(read(&drover, "r.md").contains("| 4 | http://127.0.0.1:"));
    }
}

#[tokio::test]
async fn failed_requests_are_counted_and_told() {
    let server = server().await;
    let drover = Drover::of(&server);
    let prompts = "\"fine\"\n{\"prompt\": \"bad [[error]]\"}\n";
    fs_err::write(drover.folder().join("p.jsonl"), prompts).unwrap();
    let args = ["bench", "tiny", "--prompts", "p.jsonl", "--requests", "4"];
    let output = drover
        .run(&[&args, SHORT, &["--concurrency", "1", "--json", "r.json"]].concat())
        .await;
    assert!(
        output.stderr.contains("2 times: ") && output.stderr.contains("fails as asked"),
        "{output:?}"
    );
    output.ok();
    let report: Value = serde_json::from_str(&read(&drover, "r.json")).unwrap();
    let row = &report["levels"][0]["servers"][0];
    assert_eq!((&row["n_ok"], &row["n_errors"]), (&2.into(), &2.into()));

    fs_err::write(drover.folder().join("p.jsonl"), "\"[[error]]\"\n").unwrap();
    let nothing = drover
        .run(&[&args, SHORT, &["--concurrency", "1"]].concat())
        .await;
    assert_eq!(nothing.code, Some(1), "{nothing:?}");
}

#[tokio::test]
async fn two_servers_are_compared_by_ratio() {
    let (one, other) = (server().await, server().await);
    let drover = Drover::of(&one);
    let args = ["bench", "tiny", "--against", &other.url, "--requests", "4"];
    let args = [&args, SHORT, &["--arrival", "poisson:200"]].concat();
    let args = [
        args.as_slice(),
        &["--concurrency", "1,2", "--json", "r.json"],
    ]
    .concat();
    let table = drover.run(&args).await.ok();
    let servers: Vec<&str> = table
        .lines()
        .skip(1)
        .filter_map(|line| line.split_whitespace().nth(1))
        .collect();
    let pair = [one.url.as_str(), other.url.as_str(), "ratio"];
    assert_eq!(servers, [pair, pair].concat(), "{table}");

    let report: Value = serde_json::from_str(&read(&drover, "r.json")).unwrap();
    for level in report["levels"].as_array().unwrap() {
        let rate = |index: usize| level["servers"][index]["total_tokens_per_s"].as_f64();
        let expected = rate(0).unwrap() / rate(1).unwrap();
        let ratio = level["ratio"]["median"]["total_tokens_per_s"].as_f64();
        let ratio = ratio.unwrap();
        assert!((ratio - expected).abs() < 1e-6 * expected, "{level}");
    }
}

#[tokio::test]
async fn several_pairs_have_a_spread_and_a_picture() {
    let (one, other) = (server().await, server().await);
    let drover = Drover::of(&one);
    let args = ["bench", "tiny", "--against", &other.url, "--requests", "2"];
    let args = [&args, SHORT, &["--concurrency", "2", "--pairs", "3"]].concat();
    let args = [args.as_slice(), &["--svg", "r.svg", "--json", "r.json"]].concat();
    let table = drover.run(&args).await.ok();
    let rows: Vec<&str> = table
        .lines()
        .skip(1)
        .filter_map(|line| line.split_whitespace().nth(1))
        .collect();
    let expected = [&one.url, &other.url, "ratio", "lowest", "highest"];
    assert_eq!(rows, expected, "{table}");
    let report: Value = serde_json::from_str(&read(&drover, "r.json")).unwrap();
    let level = &report["levels"][0];
    assert_eq!(
        (&level["servers"][0]["n_ok"], &level["ratio"]["n_pairs"]),
        (&6.into(), &3.into())
    );
    let of = |which: &str| level["ratio"][which]["total_tokens_per_s"].as_f64();
    let [lowest, median, highest] = ["lowest", "median", "highest"].map(|which| of(which).unwrap());
    assert!(lowest <= median && median <= highest, "{level}");
    let picture = read(&drover, "r.svg");
    assert!(
        picture.starts_with("<svg") && picture.contains(&other.url),
        "{picture}"
    );
}

#[tokio::test]
async fn what_cannot_be_measured_is_one_line() {
    let server = server().await;
    let drover = Drover::of(&server);
    let error = drover.run(&["bench", "nobody"]).await.failed();
    assert!(
        error.contains(&server.url) && error.contains("not found"),
        "{error}"
    );
    let error = drover
        .run(&["bench", "nobody", "--api", "openai"])
        .await
        .failed();
    assert!(
        error.contains("not found") && !error.contains('{'),
        "{error}"
    );
    let error = drover
        .run(&["bench", "tiny", "--arrival", "now"])
        .await
        .failed();
    assert!(error.contains("poisson:RATE"), "{error}");
    let error = drover
        .run(&["bench", "tiny", "--concurrency", "0"])
        .await
        .failed();
    assert!(error.contains("--concurrency"), "{error}");
}

#[tokio::test]
async fn an_interrupt_reports_what_has_been_measured() {
    let server = server().await;
    let folder = tempfile::TempDir::new().unwrap();
    let prompts = folder.path().join("p.jsonl");
    // The first measurement gets the first line, the second one the other, which takes minutes.
    fs_err::write(&prompts, "\"fine\"\n\"[[slow 50]] [[repeat 3000]]\"\n").unwrap();
    let mut command = hermetic(program(), folder.path());
    command
        .args(["bench", "tiny", "--requests", "1", "--concurrency", "1,2"])
        .args(["--output-tokens", "3000", "--prompts"])
        .arg(&prompts)
        .env("OLLAMA_HOST", server.address())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let child = tokio::process::Command::from(command)
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let second_begins = async {
        let mut tick = tokio::time::interval(Duration::from_millis(10));
        // A warm-up, a measurement, a warm-up.
        while server.log.text().matches("POST /api/chat 200").count() < 3 {
            tick.tick().await;
        }
    };
    tokio::time::timeout(PATIENCE, second_begins).await.unwrap();
    Watched::new(child.id().unwrap()).signal(Signal::INT);
    let output = tokio::time::timeout(PATIENCE, child.wait_with_output()).await;
    let output = output.expect("the measurement goes on").unwrap();
    let table = String::from_utf8(output.stdout).unwrap();
    let talk = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{talk}");
    assert!(talk.ends_with("Error: interrupted\n"), "{talk}");
    assert_eq!(table.lines().count(), 2, "{table}");
}
