//! A daemon that is killed while it pulls.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;
use tempfile::TempDir;

use super::fake::{Fake, Fault};
use crate::support::TestServer;
use crate::support::check_store;

/// Bytes of the model; sent in about four seconds.
const SIZE: usize = 4 << 20;

#[tokio::test]
async fn a_killed_daemon_goes_on_and_no_manifest_comes_before_its_blobs() {
    let mut rng = fastrand::Rng::with_seed(3);
    let model: Vec<u8> = std::iter::repeat_with(|| rng.u8(..)).take(SIZE).collect();
    let fake = Fake::start(model).await;
    fake.blob_rule(|_| Fault::Slow(15));
    let mut root = TempDir::new().unwrap();
    let body = json!({"model": fake.name(), "insecure": true});
    let mut last = 0;
    for _ in 0..3 {
        let mut server = TestServer::builder().root(root).start().await;
        let mut steps = server.stream("/api/pull", &body).await;
        // Until there is more than before, and then some time longer.
        let goal = last + SIZE as u64 / 8 + rng.u64(..SIZE as u64 / 8);
        while let Some(step) = steps.next().await {
            let completed = step["completed"].as_u64().unwrap_or_default();
            if step["total"] == SIZE && completed > goal {
                last = completed;
                break;
            }
        }
        server.signal(Signal::KILL);
        server.exit_code().await;
        root = server.into_root();
        check_store(&root.path().join("models"));
    }
    fake.rule(|_| Fault::None);
    let server = TestServer::builder().root(root).start().await;
    let pulled = tokio::time::timeout(Duration::from_secs(60), server.post("/api/pull", &body));
    let steps = pulled.await.unwrap().ok().lines();
    assert_eq!(steps.last().unwrap()["status"], "success", "{steps:?}");
    check_store(&server.store());
    let n_again = fake.served() - SIZE as u64;
    println!("{n_again} of {SIZE} bytes were fetched twice after 3 kills");
    assert!(n_again < SIZE as u64, "{n_again}");
}
