//! Registries and networks that fail during a push: the model arrives completely, and what has arrived is not sent
//! again.

use std::sync::Arc;

use axum::http::Method;
use drover::model::{Digest, ModelName};
use drover::registry::{Asker, Settings};
use fastrand::Rng;
use serde_json::json;
use tempfile::TempDir;

use super::proxy::{self, Limits};
use super::real::Registry;
use super::taker::{Asked, Fault, Taker};
use super::{PART, Puller, finish, wish};

/// A blob of half a dozen parts, the last one shorter.
fn model() -> Vec<u8> {
    let mut rng = Rng::with_seed(11);
    let length = 6 * usize::try_from(PART).unwrap() - 1000;
    std::iter::repeat_with(|| rng.u8(..)).take(length).collect()
}

/// A model in a separate store, to be pushed to `address`.
pub(super) struct Pusher {
    puller: Puller,
    name: String,
    manifest: Vec<u8>,
}

impl Pusher {
    pub(super) fn new(address: &str) -> Self {
        Self::with(address, |_| {})
    }

    pub(super) fn with(address: &str, change: impl FnOnce(&mut Settings)) -> Self {
        let puller = Puller::with(Arc::new(TempDir::new().unwrap()), change);
        let name = format!("{address}/library/m");
        let add = |media_type: &str, content: &[u8]| {
            let layer = puller.store.write_layer(media_type, content).unwrap();
            json!({"mediaType": media_type, "digest": layer.digest, "size": layer.size})
        };
        let layer = add("application/vnd.ollama.image.model", &model());
        let config = br#"{"model_format":"gguf","model_family":"llama"}"#;
        let config = add("application/vnd.docker.container.image.v1+json", config);
        let manifest = json!({"schemaVersion": 2,
            "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
            "config": config, "layers": [layer]});
        let manifest = format!("{manifest}\n").into_bytes();
        let parsed = ModelName::parse(&name).unwrap();
        let pins = puller.store.pins();
        puller
            .store
            .replace_bytes(&parsed, &manifest, pins)
            .unwrap();
        Self {
            puller,
            name,
            manifest,
        }
    }

    pub(super) async fn push(&self) -> Result<Vec<String>, String> {
        let wish = wish(&self.name, Asker::Here);
        finish(self.puller.registry.push(wish)).await
    }
}

/// Fails unless the registry has the model.
fn has_all(taker: &Taker, pusher: &Pusher, context: &str) {
    assert_eq!(taker.manifest(), pusher.manifest, "{context}");
    let digest = Digest::of(&model()).to_string();
    assert!(taker.blob(&digest) == Some(model()), "{context}");
}

fn is_part(asked: &Asked) -> bool {
    asked.method == Method::PATCH && asked.range.len() > "0-9999".len()
}

#[tokio::test]
async fn cuts_and_refusals_at_random_cost_little() {
    let (mut n_sent, mut n_asked) = (0, 0);
    for seed in 0..25 {
        let (taker, address) = Taker::start().await;
        let mut rng = Rng::with_seed(seed);
        // Each attempt makes progress, so that randomness does not decide the result.
        let limits = move || match rng.u8(..4) {
            0 | 1 => Limits {
                up: Some(rng.usize(20_000..200_000)),
                down: None,
            },
            2 => Limits {
                up: None,
                down: Some(rng.usize(300..2000)),
            },
            _ => Limits::default(),
        };
        let address = proxy::start(address, limits).await;
        let mut rng = Rng::with_seed(seed + 1000);
        let mut was_refused = false;
        taker.rule(move |_| {
            was_refused = !was_refused && rng.u8(..4) == 0;
            match (was_refused, rng.bool()) {
                (false, _) => Fault::None,
                (true, false) => Fault::Before(503),
                (true, true) => Fault::After(503),
            }
        });
        let pusher = Pusher::new(&address);
        let pushed = pusher.push().await;
        assert_eq!(
            pushed.map(|steps| steps.last().cloned()),
            Ok(Some("success".to_owned())),
            "seed {seed}"
        );
        has_all(&taker, &pusher, &format!("seed {seed}"));
        n_sent += taker.n_received();
        n_asked += taker.asked(&Method::GET).len();
    }
    let needed = 25 * model().len();
    println!("{n_sent} bytes arrived of {needed}, the status was asked for {n_asked} times");
    assert!(n_asked > 25, "{n_asked}");
    assert!(n_sent < needed + needed / 10, "{n_sent} of {needed}");
}

#[tokio::test]
async fn a_real_registry_has_the_model_after_cuts() {
    for seed in 0..8 {
        let Some(registry) = Registry::start().await else {
            return;
        };
        let mut rng = Rng::with_seed(seed);
        let mut n_cut = 0;
        let address = proxy::start(registry.address.clone(), move || {
            n_cut += 1;
            let up = (n_cut <= 4).then(|| rng.usize(5_000..300_000));
            Limits { up, down: None }
        });
        let pusher = Pusher::new(&address.await);
        pusher.push().await.unwrap();
        let other = Puller::new();
        other.pull(&pusher.name).await.unwrap();
        other.check();
        let whole = Digest::of(&model()).file_name();
        assert!(other.blobs().contains(&whole), "seed {seed}");
    }
}

#[tokio::test]
async fn a_part_whose_answer_is_lost_is_not_sent_again() {
    let (taker, address) = Taker::start().await;
    let mut n_parts = 0;
    taker.rule(move |asked| {
        n_parts += usize::from(is_part(asked));
        if is_part(asked) && n_parts % 2 == 1 {
            Fault::After(502)
        } else {
            Fault::None
        }
    });
    let pusher = Pusher::new(&address);
    pusher.push().await.unwrap();
    has_all(&taker, &pusher, "");
    assert!(taker.n_received() < model().len() + 100);
}

#[tokio::test]
async fn an_upload_that_the_registry_cannot_go_on_with_starts_anew() {
    for fault in [Fault::Forget, Fault::Shorten, Fault::NoRange] {
        let (taker, address) = Taker::start().await;
        let (mut n_parts, mut n_faults) = (0, 0);
        taker.rule(move |asked| {
            n_parts += usize::from(is_part(asked));
            match n_parts {
                4 if is_part(asked) => Fault::Before(503),
                4 if asked.method == Method::GET && n_faults == 0 => {
                    n_faults += 1;
                    fault
                }
                _ => Fault::None,
            }
        });
        let pusher = Pusher::new(&address);
        pusher.push().await.unwrap();
        has_all(&taker, &pusher, &format!("{fault:?}"));
        let begun = taker.asked(&Method::POST).len();
        assert_eq!(
            begun, 3,
            "{fault:?}: twice the blob, once the configuration"
        );
    }
}

#[tokio::test]
async fn a_blob_whose_last_answer_is_lost_is_there() {
    let (taker, address) = Taker::start().await;
    let mut n_lost = 0;
    taker.rule(move |asked| {
        let is_commit = asked.method == Method::PUT && asked.path.contains("/uploads/");
        if is_commit && n_lost == 0 {
            n_lost += 1;
            return Fault::After(502);
        }
        Fault::None
    });
    let pusher = Pusher::new(&address);
    pusher.push().await.unwrap();
    has_all(&taker, &pusher, "");
    assert_eq!(taker.asked(&Method::POST).len(), 2);
}

#[tokio::test]
async fn parts_that_are_led_elsewhere_are_sent_whole_again() {
    let (taker, address) = Taker::start().await;
    taker.redirect();
    let mut rng = Rng::with_seed(5);
    taker.rule(move |asked| match asked.path.starts_with("/store/") {
        true if rng.u8(..3) == 0 => Fault::Before(503),
        _ => Fault::None,
    });
    let pusher = Pusher::new(&address);
    pusher.push().await.unwrap();
    has_all(&taker, &pusher, "");
    assert!(taker.asked(&Method::GET).is_empty());
}

#[tokio::test]
async fn a_registry_that_takes_nothing_gets_no_manifest() {
    for (fault, reason) in [
        (Fault::Before(503), "max retries exceeded: 503"),
        (Fault::Before(403), "403"),
        (Fault::Before(401), "unauthorized: access denied"),
        (Fault::Forget, "max retries exceeded: the registry has lost"),
    ] {
        let (taker, address) = Taker::start().await;
        taker.rule(move |asked| match is_part(asked) {
            true => fault,
            false => Fault::None,
        });
        let error = Pusher::new(&address).push().await.unwrap_err();
        assert!(error.starts_with(reason), "{fault:?}: {error}");
        assert!(!taker.has_manifest(), "{fault:?}");
    }
}
