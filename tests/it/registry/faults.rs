//! Failing registries and networks: the store stays intact, and nothing is downloaded twice without need.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use drover::model::Digest;
use drover::net::Pattern;
use futures_util::StreamExt as _;
use serde_json::json;
use tempfile::TempDir;

use super::fake::{Asked, Fake, Fault};
use super::{PART, Puller, finish};

/// Bytes that do not repeat.
fn content(length: usize) -> Vec<u8> {
    let mut rng = fastrand::Rng::with_seed(7);
    std::iter::repeat_with(|| rng.u8(..)).take(length).collect()
}

/// A blob of a dozen parts, the last one shorter.
fn model() -> Vec<u8> {
    content(12 * usize::try_from(PART).unwrap() - 1000)
}

fn is_whole(puller: &Puller, model: &[u8]) -> bool {
    puller.check();
    puller.blobs().contains(&Digest::of(model).file_name())
}

#[tokio::test]
async fn a_pull_tells_what_ollama_tells() {
    let fake = Fake::start(model()).await;
    let puller = Puller::new();
    let steps = puller.pull(&fake.name()).await.unwrap();
    let manifest = fake.manifest();
    let short = |layer: &serde_json::Value| {
        format!("pulling {}", &layer["digest"].as_str().unwrap()[7..19])
    };
    let mut steps = steps;
    steps.dedup();
    assert_eq!(
        steps,
        [
            "pulling manifest",
            &short(&manifest["layers"][0]),
            &short(&manifest["config"]),
            "verifying sha256 digest",
            "writing manifest",
            "success"
        ]
    );
    let stored = puller
        .folder
        .path()
        .join("models/manifests")
        .join(fake.name())
        .join("latest");
    assert_eq!(fs_err::read(stored).unwrap(), fake.manifest_bytes());
    assert!(is_whole(&puller, &model()));
    assert_eq!(puller.blobs().len(), 2);
    // Again: nothing is downloaded, and nothing of the old model is left.
    let served = fake.served();
    let again = puller.pull(&fake.name()).await.unwrap();
    assert_eq!(fake.served(), served);
    assert!(
        !again.contains(&"removing unused layers".to_owned()),
        "{again:?}"
    );
}

#[tokio::test]
async fn connections_that_are_cut_at_random_go_on_where_they_were() {
    let model = model();
    let mut n_sent = 0;
    for seed in 0..50 {
        let fake = Fake::start(model.clone()).await;
        let rng = Mutex::new(fastrand::Rng::with_seed(seed));
        let n_asked = Mutex::new(HashMap::new());
        fake.rule(move |asked| {
            // Randomness must not decide the result. Which request draws which fault depends on how busy the machine
            // is, and six refusals in a row would end the pull, so the same bytes are refused three times at most.
            let mut n_asked = n_asked.lock().unwrap();
            let n_asked: &mut usize = n_asked
                .entry((asked.path.clone(), asked.range.clone()))
                .or_default();
            *n_asked += 1;
            let mut rng = rng.lock().unwrap();
            match rng.u8(..8) {
                _ if *n_asked > 3 => Fault::None,
                0..4 => Fault::Cut(rng.usize(1000..80_000)),
                4 if asked.path.contains("/blobs/") => Fault::Status(503),
                _ => Fault::None,
            }
        });
        let puller = Puller::new();
        puller.pull(&fake.name()).await.unwrap();
        assert!(is_whole(&puller, &model), "seed {seed}");
        assert_eq!(
            puller.blobs().len(),
            2,
            "seed {seed}: something was left behind"
        );
        n_sent += fake.served();
    }
    let needed = 50 * (model.len() as u64);
    println!("{n_sent} bytes were sent of {needed}");
    assert!(n_sent < needed + needed / 4, "{n_sent} of {needed}");
}

#[tokio::test]
async fn a_connection_that_stalls_is_given_up() {
    let fake = Fake::start(model()).await;
    let n_stalled = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&n_stalled);
    fake.blob_rule(move |_| match count.fetch_add(1, Ordering::Relaxed) % 3 {
        1 => Fault::Stall(20_000),
        _ => Fault::None,
    });
    let puller = Puller::with(Arc::new(TempDir::new().unwrap()), |settings| {
        settings.stall = Duration::from_millis(200);
    });
    puller.pull(&fake.name()).await.unwrap();
    assert!(is_whole(&puller, &model()));
    assert!(n_stalled.load(Ordering::Relaxed) > 12);
}

#[tokio::test]
async fn a_registry_without_parts_will_do() {
    let fake = Fake::start(model()).await;
    let n_cut = AtomicUsize::new(0);
    fake.blob_rule(move |_| Fault::IgnoreRange);
    let puller = Puller::new();
    puller.pull(&fake.name()).await.unwrap();
    assert!(is_whole(&puller, &model()));
    // Also when it breaks off: what exists already is sent again and skipped.
    let fake = Fake::start(content(50_000)).await;
    fake.blob_rule(move |asked| match n_cut.fetch_add(1, Ordering::Relaxed) {
        0 => Fault::Cut(30_000),
        _ if asked.range.is_some() => Fault::IgnoreRange,
        _ => Fault::None,
    });
    let puller = Puller::new();
    puller.pull(&fake.name()).await.unwrap();
    assert!(is_whole(&puller, &content(50_000)));
}

#[tokio::test]
async fn lies_are_found_out() {
    for (fault, reason) in [
        (
            Fault::Garbage,
            "digest mismatch, file must be downloaded again: want sha256:",
        ),
        (Fault::TooLong, "more bytes than were asked for"),
        (Fault::WrongTotal, "its manifest says"),
        (Fault::WrongPart, "another part than was asked for"),
        (Fault::Status(404), "file does not exist"),
        (Fault::Status(403), "403"),
    ] {
        let fake = Fake::start(model()).await;
        let told = fault.clone();
        fake.blob_rule(move |_| told.clone());
        let puller = Puller::new();
        let error = puller.pull(&fake.name()).await.unwrap_err();
        assert!(error.contains(reason), "{fault:?}: {error}");
        puller.check();
        assert!(puller.store.list().unwrap().is_empty(), "{fault:?}");
        let whole = Digest::of(&model()).file_name();
        assert!(!puller.blobs().contains(&whole), "{fault:?}");
        // Without the fault, the same pull succeeds.
        fake.rule(|_| Fault::None);
        puller.pull(&fake.name()).await.unwrap();
        assert!(is_whole(&puller, &model()), "{fault:?}");
    }
}

#[tokio::test]
async fn a_registry_that_always_fails_is_given_up() {
    let fake = Fake::start(model()).await;
    fake.blob_rule(|_| Fault::Status(500));
    let error = Puller::new().pull(&fake.name()).await.unwrap_err();
    assert!(error.starts_with("max retries exceeded: 500"), "{error}");
    fake.rule(|_| Fault::Status(404));
    let error = Puller::new().pull(&fake.name()).await.unwrap_err();
    assert_eq!(error, "pull model manifest: file does not exist");
}

#[tokio::test]
async fn a_blob_is_fetched_once_for_all_who_want_it() {
    let fake = Fake::start(model()).await;
    fake.blob_rule(|_| Fault::Slow(5));
    let puller = Puller::new();
    let name = fake.name();
    let all = [0; 5].map(|_| puller.pull(&name));
    for steps in futures_util::future::join_all(all).await {
        assert_eq!(steps.unwrap().last().unwrap(), "success");
    }
    let size = model().len() as u64;
    // The configuration, and one byte to test whether parts are sent, are added.
    assert!(fake.served() < size + 1000, "{} of {size}", fake.served());
}

/// Reads until some of the blob has arrived.
async fn until_some_is_there(steps: &mut drover::registry::Steps) {
    while let Some(step) = steps.next().await {
        if step
            .unwrap()
            .completed
            .is_some_and(|completed| completed > 3 * PART)
        {
            return;
        }
    }
    panic!("it ended before");
}

#[tokio::test]
async fn a_download_ends_when_the_last_who_waits_goes_and_goes_on_later() {
    let fake = Fake::start(model()).await;
    fake.blob_rule(|_| Fault::Slow(40));
    let puller = Puller::new();
    let (mut first, mut second) = (puller.steps(&fake.name()), puller.steps(&fake.name()));
    until_some_is_there(&mut first).await;
    drop(first);
    until_some_is_there(&mut second).await;
    drop(second);
    fake.rule(|_| Fault::None);
    // It waits until the previous pull has saved its data.
    puller.pull(&fake.name()).await.unwrap();
    assert!(is_whole(&puller, &model()));
    let size = model().len() as u64;
    let in_flight = 16 * 2 * (16 << 10);
    assert!(
        fake.served() < size + in_flight,
        "{} of {size}",
        fake.served()
    );
}

#[tokio::test]
async fn a_token_is_asked_for_and_goes_to_nobody_else() {
    let (fake, elsewhere) = (Fake::start(model()).await, Fake::start(model()).await);
    let target = elsewhere.url().replace("127.0.0.1", "localhost");
    let allowed = Pattern::parse(target.trim_start_matches("http://")).unwrap();
    let is_expired = AtomicBool::new(true);
    fake.rule(move |asked: &Asked| {
        let knows = asked.authorization.as_deref() == Some("Bearer secret");
        let is_blob = asked.path.contains("/blobs/");
        // The token expires at some time.
        if !knows || is_blob && is_expired.swap(false, Ordering::Relaxed) {
            Fault::Unauthorized
        } else if is_blob {
            Fault::Redirect(target.clone())
        } else {
            Fault::None
        }
    });
    let puller = Puller::with(Arc::new(TempDir::new().unwrap()), |settings| {
        settings.allowed = vec![allowed];
    });
    puller.pull(&fake.name()).await.unwrap();
    assert!(is_whole(&puller, &model()));
    let signed = fake
        .asked()
        .into_iter()
        .find(|asked| asked.path == "/token")
        .unwrap();
    let (key, _) = signed
        .authorization
        .as_deref()
        .unwrap()
        .split_once(':')
        .unwrap();
    let public = fs_err::read_to_string(puller.folder.path().join("id_ed25519.pub")).unwrap();
    assert_eq!(public.trim_end(), format!("ssh-ed25519 {key}"));
    assert!(
        elsewhere
            .asked()
            .iter()
            .all(|asked| asked.authorization.is_none())
    );
    fake.rule(|_| Fault::Unauthorized);
    let error = Puller::new().pull(&fake.name()).await.unwrap_err();
    assert_eq!(error, "pull model manifest: unauthorized: access denied");
}

#[tokio::test]
async fn mirrors_are_asked_in_their_order() {
    let (empty, full) = (Fake::start(model()).await, Fake::start(model()).await);
    empty.rule(|_| Fault::Status(404));
    let mirrors = vec![empty.url(), format!("{}/", full.url())];
    let puller = Puller::with(Arc::new(TempDir::new().unwrap()), |settings| {
        settings.mirrors = mirrors;
    });
    puller.pull("m").await.unwrap();
    assert!(is_whole(&puller, &model()));
    assert_eq!(puller.store.list().unwrap()[0].name.short(), "m:latest");
    assert_eq!(empty.asked().len(), 1);
}

#[tokio::test]
async fn manifests_of_other_things_and_bad_digests_leave_nothing() {
    let fake = Fake::start(model()).await;
    let good = fake.manifest();
    let mut bad = good.clone();
    bad["layers"][0]["digest"] = "sha256:../../../../etc/passwd".into();
    let mut foreign = good.clone();
    foreign["layers"][0]["mediaType"] = "application/vnd.docker.image.rootfs.diff.tar.gzip".into();
    let index = json!({"mediaType": "application/vnd.oci.image.index.v1+json", "manifests": []});
    let huge =
        json!({"config": good["config"], "layers": good["layers"], "x": "x".repeat(5 << 20)});
    for manifest in [bad, foreign, index, huge] {
        fake.set_manifest(&manifest);
        let puller = Puller::new();
        let error = puller.pull(&fake.name()).await.unwrap_err();
        assert!(
            error.starts_with("pull model manifest: the registry's "),
            "{error}"
        );
        assert_eq!(puller.blobs(), [""; 0]);
    }
}

#[tokio::test]
async fn a_full_disk_is_told_and_the_pull_goes_on_when_there_is_room() {
    let folder = Arc::new(TempDir::new().unwrap());
    let models = folder.path().join("models");
    fs_err::create_dir(&models).unwrap();
    let mut mount = std::process::Command::new("mount");
    let mount = mount
        .args(["-t", "tmpfs", "-o", "size=1536k", "tmpfs"])
        .arg(&models)
        .output();
    if !mount.is_ok_and(|output| output.status.success()) {
        println!("skipped: no file system can be mounted here");
        return;
    }
    let _mounted = Mounted(models.clone());
    let model = model();
    let fake = Fake::start(model.clone()).await;
    let puller = Puller::with(Arc::clone(&folder), |_| {});
    // No room from the start: nothing is fetched.
    let filler = models.join("filler");
    fs_err::write(&filler, vec![1; 1 << 20]).unwrap();
    let error = puller.pull(&fake.name()).await.unwrap_err();
    assert!(error.starts_with("not enough disk space in"), "{error}");
    assert_eq!(fake.served(), 0);
    fs_err::remove_file(&filler).unwrap();
    // Another program takes the space meanwhile.
    fake.blob_rule(|_| Fault::Slow(500));
    let mut steps = puller.steps(&fake.name());
    until_some_is_there(&mut steps).await;
    let _ = fs_err::write(&filler, vec![1; 2 << 20]);
    let error = finish(steps).await.unwrap_err();
    assert!(error.to_lowercase().contains("no space left"), "{error}");
    puller.check();
    fs_err::remove_file(&filler).unwrap();
    fake.rule(|_| Fault::None);
    puller.pull(&fake.name()).await.unwrap();
    assert!(is_whole(&puller, &model));
}

/// Ends with the test.
struct Mounted(std::path::PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount")
            .arg("-l")
            .arg(&self.0)
            .status();
    }
}
