//! What a runner gets from the system, and what it does not.

use serde_json::json;

use crate::support::TestServer;

/// A daemon with a loaded model, and the runner's folder in `/proc`.
async fn loaded(variables: &[(&str, &str)]) -> (TestServer, String) {
    let mut builder = TestServer::builder();
    for (name, value) in variables {
        builder = builder.env(name, value);
    }
    let server = builder.start().await;
    server.fake_model("tiny").await;
    let body = json!({"model": "tiny", "prompt": "hello", "stream": false});
    server.post("/api/generate", &body).await.ok();
    let folder = format!("/proc/{}", server.runner().pid);
    (server, folder)
}

fn environment(folder: &str) -> Vec<String> {
    let bytes = fs_err::read(format!("{folder}/environ")).unwrap();
    let text = String::from_utf8(bytes).unwrap();
    let variables = text.split_terminator('\0').map(str::to_owned);
    variables.collect()
}

/// The soft limit in a line of `/proc/<pid>/limits`.
fn limit(folder: &str, name: &str) -> String {
    let text = fs_err::read_to_string(format!("{folder}/limits")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let soft = line.unwrap().split_whitespace().next();
    soft.unwrap().to_owned()
}

#[tokio::test]
async fn keys_stay_with_the_daemon() {
    let (_server, runner) = loaded(&[
        ("AWS_SECRET_ACCESS_KEY", "topsecret"),
        ("HTTPS_PROXY", "http://user:topsecret@proxy.invalid"),
        ("GGML_SOMETHING_TOKEN", "topsecret"),
        ("OLLAMA_NUM_PARALLEL", "2"),
        ("CUDA_CACHE_MAXSIZE", "12345"),
        ("LC_ALL", "C.UTF-8"),
    ])
    .await;
    let variables = environment(&runner);
    let has = |text: &str| variables.iter().any(|variable| variable.contains(text));
    assert!(!has("topsecret") && !has("OLLAMA_"), "{variables:?}");
    for wanted in ["CUDA_CACHE_MAXSIZE=12345", "LC_ALL=C.UTF-8", "HOME="] {
        assert!(has(wanted), "{wanted}: {variables:?}");
    }
    assert!(has("GGML_NO_BACKTRACE=1"), "{variables:?}");
    assert_eq!(limit(&runner, "Max core file size"), "0");
}

#[tokio::test]
async fn whoever_looks_for_a_fault_gets_backtraces() {
    let (_server, runner) = loaded(&[("GGML_NO_BACKTRACE", "0")]).await;
    let variables = environment(&runner);
    let has = |name: &str| variables.iter().any(|text| text.starts_with(name));
    assert!(!has("GGML_NO_BACKTRACE"), "{variables:?}");
}

#[tokio::test]
async fn a_runner_dies_first_and_holds_nothing_of_the_daemons() {
    let (server, runner) = loaded(&[]).await;
    let score = |folder: &str| -> i32 {
        let text = fs_err::read_to_string(format!("{folder}/oom_score_adj")).unwrap();
        text.trim().parse().unwrap()
    };
    let daemon = format!("/proc/{}", server.pid());
    assert!(score(&runner) > score(&daemon));
    let bytes: u64 = limit(&runner, "Max data size").parse().unwrap();
    assert!(bytes >= 8 << 30, "{bytes}");

    let opened = |folder: &str| -> Vec<String> {
        let files = fs_err::read_dir(format!("{folder}/fd")).unwrap();
        files
            .map(|file| fs_err::read_link(file.unwrap().path()))
            .filter_map(|target| Some(target.ok()?.display().to_string()))
            .collect()
    };
    let (ours, theirs) = (opened(&daemon), opened(&runner));
    // Both ends of a pipe have one number; those of the channel have two.
    let shared = theirs.iter().filter(|file| ours.contains(file));
    let shared: Vec<_> = shared
        .filter(|file| !file.starts_with("pipe:") && !file.starts_with("/dev/"))
        .collect();
    assert!(shared.is_empty(), "{shared:?}");
}
