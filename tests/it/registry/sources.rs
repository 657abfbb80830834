//! The sources of models: mirrors, proxies, registries without TLS; and what is left over.

use std::sync::Arc;

use drover::model::Digest;
use drover::registry::Asker;
use rustix::process::Signal;
use serde_json::json;
use tempfile::TempDir;

use super::fake::{Fake, Fault};
use super::{PART, Puller, check_store, finish, wish};
use crate::support::TestServer;

/// A blob of a few parts.
fn model(seed: u64) -> Vec<u8> {
    let mut rng = fastrand::Rng::with_seed(seed);
    let length = 4 * usize::try_from(PART).unwrap();
    std::iter::repeat_with(|| rng.u8(..)).take(length).collect()
}

fn with_mirrors(mirrors: &[&Fake]) -> Puller {
    let mirrors = mirrors.iter().map(|mirror| mirror.url()).collect();
    Puller::with(Arc::new(TempDir::new().unwrap()), |settings| {
        settings.mirrors = mirrors;
    })
}

#[tokio::test]
async fn a_blob_that_a_mirror_cannot_send_comes_from_the_next() {
    for fault in [
        Fault::Status(404),
        Fault::Status(403),
        Fault::Status(500),
        Fault::Garbage,
        Fault::WrongTotal,
        Fault::TooLong,
        // Half of it arrived and the rest does not: the next one continues there.
        Fault::Cut(0),
    ] {
        let (bad, good) = (Fake::start(model(1)).await, Fake::start(model(1)).await);
        let told = fault.clone();
        bad.blob_rule(move |_| told.clone());
        let puller = with_mirrors(&[&bad, &good]);
        let pulled = puller.pull("m").await;
        assert!(pulled.is_ok(), "{fault:?}: {pulled:?}");
        puller.check();
        let whole = Digest::of(&model(1)).file_name();
        assert!(puller.blobs().contains(&whole), "{fault:?}");
        assert_eq!(puller.blobs().len(), 2, "{fault:?}");
    }
}

#[tokio::test]
async fn wrong_bytes_of_a_mirror_do_not_spoil_what_the_next_sends() {
    let (bad, good) = (Fake::start(model(1)).await, Fake::start(model(1)).await);
    // The first part is complete but wrong, the others do not arrive.
    let part = usize::try_from(PART).unwrap();
    bad.blob_rule(move |asked| match &asked.range {
        Some(range) if range.start == 0 && range.end == part => Fault::Garbage,
        Some(range) if range.end == 1 => Fault::None,
        _ => Fault::Status(500),
    });
    let puller = with_mirrors(&[&bad, &good]);
    puller.pull("m").await.unwrap();
    puller.check();
    assert!(puller.blobs().contains(&Digest::of(&model(1)).file_name()));
}

#[tokio::test]
async fn a_registry_without_tls_is_told_with_the_way_out() {
    let fake = Fake::start(model(1)).await;
    let puller = Puller::new();
    let mut wish = wish(&fake.name(), Asker::Here);
    wish.insecure = false;
    let error = finish(puller.registry.pull(wish)).await.unwrap_err();
    assert!(error.contains("--insecure"), "{error}");
}

#[tokio::test]
async fn layers_that_a_new_version_does_not_have_go_unless_another_model_has_them() {
    let (first, second) = (Fake::start(model(1)).await, Fake::start(model(2)).await);
    let puller = with_mirrors(&[&first]);
    puller.pull("m").await.unwrap();
    puller.pull("m:kept").await.unwrap();
    let old = Digest::of(&model(1)).file_name();
    // The same store, another registry.
    let update = Puller::with(Arc::clone(&puller.folder), |settings| {
        settings.mirrors = vec![second.url()];
    });
    let told = "removing unused layers".to_owned();
    assert!(update.pull("m").await.unwrap().contains(&told));
    assert!(update.blobs().contains(&old));
    assert!(update.pull("m:kept").await.unwrap().contains(&told));
    assert!(!update.blobs().contains(&old));
    // With OLLAMA_NOPRUNE they stay.
    puller.store.set_keep_unused(true);
    assert!(!puller.pull("m").await.unwrap().contains(&told));
    assert!(puller.blobs().contains(&Digest::of(&model(2)).file_name()));
    puller.check();
}

#[tokio::test]
async fn room_is_needed_for_the_whole_model_before_the_first_byte() {
    let fake = Fake::start(model(1)).await;
    let mut manifest = fake.manifest();
    let huge = json!({"mediaType": "application/vnd.ollama.image.projector",
        "digest": Digest::of(b"huge").to_string(), "size": 1_u64 << 60});
    manifest["layers"].as_array_mut().unwrap().push(huge);
    fake.set_manifest(&manifest);
    let puller = Puller::new();
    let error = puller.pull(&fake.name()).await.unwrap_err();
    assert!(error.starts_with("not enough disk space in"), "{error}");
    assert_eq!(fake.served(), 0);
    assert_eq!(puller.blobs(), [""; 0]);
}

#[tokio::test]
async fn a_registry_on_this_machine_is_not_asked_by_a_proxy() {
    let fake = Fake::start(model(1)).await;
    // Nothing listens there.
    let proxy = "http://127.0.0.1:9";
    let server = TestServer::builder()
        .env("HTTP_PROXY", proxy)
        .env("http_proxy", proxy)
        .env("HTTPS_PROXY", proxy)
        .env("ALL_PROXY", proxy)
        .start()
        .await;
    let body = json!({"model": fake.name(), "insecure": true});
    let steps = server.post("/api/pull", &body).await.ok().lines();
    assert_eq!(steps.last().unwrap()["status"], "success", "{steps:?}");
    check_store(&server.store());
}

#[tokio::test]
async fn serve_makes_the_key_and_does_without_where_it_cannot() {
    use std::os::unix::fs::PermissionsExt as _;
    let mut server = TestServer::start().await;
    server.signal(Signal::TERM);
    server.exit_code().await;
    let root = server.into_root();
    let folder = root.path().join("home/.ollama");
    let mode = |name: &str| {
        let permissions = fs_err::metadata(folder.join(name)).unwrap().permissions();
        permissions.mode() & 0o777
    };
    assert_eq!(mode("id_ed25519"), 0o600);
    assert_eq!(mode("id_ed25519.pub"), 0o644);
    let key = fs_err::read(folder.join("id_ed25519")).unwrap();
    // The key is kept.
    let mut server = TestServer::builder().root(root).start().await;
    server.signal(Signal::TERM);
    server.exit_code().await;
    let root = server.into_root();
    let folder = root.path().join("home/.ollama");
    assert_eq!(fs_err::read(folder.join("id_ed25519")).unwrap(), key);
    // A home folder that is not writable.
    fs_err::remove_dir_all(&folder).unwrap();
    let home = root.path().join("home");
    fs_err::set_permissions(&home, std::fs::Permissions::from_mode(0o555)).unwrap();
    let server = TestServer::builder().root(root).start().await;
    let answer = server.http.get(format!("{}/api/version", server.url));
    assert_eq!(answer.send().await.unwrap().status(), 200);
    server
        .log
        .wait_for("the warning", |line| {
            line.contains("registries that ask for a key").then_some(())
        })
        .await;
}

#[tokio::test]
async fn what_a_model_is_made_from_is_pulled_if_it_is_not_there() {
    let file = crate::support::models::fake().build();
    let fake = Fake::start(file).await;
    let server = TestServer::builder()
        .env("DROVER_REGISTRY_MIRRORS", &fake.url())
        .start()
        .await;
    let create = json!({"model": "derived", "from": "m", "system": "S"});
    let told = server.stream("/api/create", &create).await.rest().await;
    let told: Vec<&str> = told
        .iter()
        .map(|line| line["status"].as_str().unwrap_or_default())
        .collect();
    assert_eq!(told.first(), Some(&"pulling manifest"), "{told:?}");
    let ends = told.iter().filter(|status| **status == "success");
    assert_eq!(
        (ends.count(), told.last()),
        (1, Some(&"success")),
        "{told:?}"
    );
    let shown = server.post("/api/show", &json!({"model": "derived"})).await;
    let shown = shown.ok().json();
    assert_eq!(shown["details"]["parent_model"], "m:latest");
    server.post("/api/show", &json!({"model": "m"})).await.ok();
    // The second time it is there.
    fake.rule(|_| Fault::Status(500));
    let again = json!({"model": "again", "from": "m", "stream": false});
    server.post("/api/create", &again).await.ok();

    // If the base model cannot be pulled, the error is that of a pull.
    let create = json!({"model": "x", "from": fake.name(), "stream": false});
    let refused = server.post("/api/create", &create).await;
    let pull = json!({"model": fake.name(), "stream": false});
    let pulled = server.post("/api/pull", &pull).await;
    assert_eq!(refused.status, pulled.status);
    assert_eq!(refused.error(), pulled.error());
}
