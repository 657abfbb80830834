//! A runner under an attacker's control: its attempts fail, are logged, and affect nobody else.

use serde_json::json;
use tokio::net::TcpListener;

use crate::support::{Drover, TestServer};

/// Has the runner try something; returns the result that it reports.
async fn attempt(server: &TestServer, what: &str) -> String {
    let prompt = format!("[[try {what}]]");
    let body = json!({"model": "tiny", "prompt": prompt, "stream": false, "options": {"num_predict": 400}});
    let answer = server.post("/api/generate", &body).await.ok().json();
    answer["response"].as_str().unwrap().to_owned()
}

/// Whether the kernel supports the sandbox that is to be tested.
fn has_landlock() -> bool {
    let support = drover::sandbox::support();
    let has = support.landlock >= 4;
    if !has {
        println!(
            "skipped in part: the kernel has Landlock {}",
            support.landlock
        );
    }
    has
}

#[tokio::test]
async fn files_programs_networks_and_processes_are_out_of_reach() {
    let server = TestServer::start().await;
    server.fake_model("tiny").await;
    let before = attempt(&server, "nothing").await;
    assert_eq!(before, "nothing: unknown");

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let said = attempt(&server, &format!("connect {address}")).await;
    assert!(said.contains("Operation not permitted"), "{said}");
    let said = attempt(&server, "exec /bin/true").await;
    assert!(said.contains("Operation not permitted"), "{said}");
    assert_eq!(attempt(&server, "bomb").await, "bomb: 0 started");
    let said = attempt(&server, &format!("kill {}", server.pid())).await;
    assert_eq!(said, "kill: refused");
    for call in ["socket", "kill"] {
        let told = format!("the sandbox refused a system call: {call}");
        let pick = |line: &str| (line.contains(&told) && line.contains("WARN")).then_some(());
        server.log.wait_for(&told, pick).await;
    }
    let told = "the fake tried to exec /bin/true: Operation not permitted";
    let pick = |line: &str| line.contains(told).then_some(());
    server.log.wait_for(told, pick).await;
    // A loop of attempts does not fill the log.
    assert_eq!(attempt(&server, "storm").await, "storm: 1000 refused");
    let refused = |line: &&str| line.contains("the sandbox refused");
    let n = server.log.text().lines().filter(refused).count();
    assert!((3..60).contains(&n), "{n}");

    if has_landlock() {
        let file = server.root().join("secret");
        fs_err::write(&file, "s").unwrap();
        for path in ["/etc/passwd", "/proc/self/status", file.to_str().unwrap()] {
            let said = attempt(&server, &format!("open {path}")).await;
            assert!(said.contains("Permission denied"), "{path}: {said}");
        }
        for folder in [server.store().join("blobs"), server.root().to_owned()] {
            let path = folder.join("new");
            let said = attempt(&server, &format!("write {}", path.display())).await;
            assert!(said.contains("Permission denied"), "{said}");
            assert!(!path.exists());
        }
    }
    // It is still the same runner, and it goes on serving.
    assert_eq!(server.runners().len(), 1);
    let body = json!({"model": "tiny", "prompt": "hello", "stream": false});
    assert_eq!(
        server.post("/api/generate", &body).await.ok().json()["response"],
        "hello"
    );
}

#[tokio::test]
async fn every_child_is_in_the_sandbox_and_doctor_says_so() {
    let server = TestServer::start().await;
    server.fake_model("tiny").await;
    let body = json!({"model": "tiny", "messages": [{"role": "user", "content": "hi"}]});
    server.post("/api/chat", &body).await.ok();
    let closed = |line: &str| line.contains("the sandbox is closed").then_some(());
    server.log.wait_for("the sandbox", closed).await;
    let children: Vec<_> = server
        .runners()
        .into_iter()
        .chain(server.renderers())
        .collect();
    assert!(children.len() >= 2, "{children:?}");
    for child in &children {
        let status = fs_err::read_to_string(format!("/proc/{}/status", child.pid)).unwrap();
        assert!(status.contains("\nNoNewPrivs:\t1\n"), "{status}");
        assert!(status.contains("\nSeccomp:\t2\n"), "{status}");
        // All threads.
        let tasks = fs_err::read_dir(format!("/proc/{}/task", child.pid)).unwrap();
        for task in tasks {
            let status = fs_err::read_to_string(task.unwrap().path().join("status")).unwrap();
            assert!(status.contains("\nSeccomp:\t2\n"), "{status}");
        }
    }
    let found = Drover::of(&server).run(&["doctor", "--json"]).await;
    let found: serde_json::Value = serde_json::from_str(&found.stdout).unwrap();
    let findings = found.as_array().unwrap();
    let sandbox = findings
        .iter()
        .find(|finding| finding["check"] == "sandbox");
    let text = sandbox.unwrap()["text"].as_str().unwrap();
    assert!(text.contains("seccomp against sockets"), "{text}");
    assert!(
        text.contains("child processes are in the sandbox"),
        "{text}"
    );
}

#[tokio::test]
async fn it_can_be_switched_off_and_without_it_the_attempts_succeed() {
    let server = TestServer::builder()
        .env("DROVER_SANDBOX", "off")
        .start()
        .await;
    server.fake_model("tiny").await;
    assert_eq!(attempt(&server, "exec /bin/true").await, "exec: done");
    assert_eq!(attempt(&server, "open /etc/passwd").await, "open: done");
    let warned = |line: &str| line.contains("DROVER_SANDBOX=off").then_some(());
    server.log.wait_for("the warning", warned).await;
}

#[tokio::test]
async fn prompts_that_are_kept_in_files_still_are() {
    let server = TestServer::builder()
        .env("DROVER_SPILL_DISK", "1GiB")
        .start()
        .await;
    server.fake_model("tiny").await;
    let prompt = "word ".repeat(200);
    let body = json!({"model": "tiny", "prompt": prompt, "raw": true, "stream": false});
    server.post("/api/generate", &body).await.ok();
    let unload = json!({"model": "tiny", "keep_alive": 0});
    server.post("/api/generate", &unload).await.ok();
    server.no_runners().await;
    let folder = server.root().join("state/prompts");
    let files = fs_err::read_dir(&folder).unwrap().count();
    assert!(files > 0, "{}", server.log.text());
    let again = server.post("/api/generate", &body).await.ok().json();
    assert!(again["prompt_eval_count"].as_u64().is_some());
    let metrics = server.get("/metrics").await.text;
    assert!(
        metrics.contains("drover_cache_restored_total{model=\"tiny:latest\"} 1"),
        "{metrics}"
    );
}
