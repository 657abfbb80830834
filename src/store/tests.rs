//! The store in a real folder: layout, several writers, leftovers of crashes.

use std::time::{Duration, SystemTime};

use jiff::{SignedDuration, Timestamp};

use super::*;
use crate::model::gguf::builder::GgufBuilder;
use crate::model::{Layer, Manifest, ModelName, manifest as media};

/// A store in a folder of its own.
struct Bench {
    folder: tempfile::TempDir,
    store: Store,
}

impl std::ops::Deref for Bench {
    type Target = Store;

    fn deref(&self) -> &Store {
        &self.store
    }
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        Self { folder, store }
    }

    /// Writes a model of one system layer.
    fn put(&self, model: &str, text: &str) -> Manifest {
        let manifest = self.manifest(text);
        self.write_manifest(&name(model), &manifest).unwrap();
        manifest
    }

    fn manifest(&self, text: &str) -> Manifest {
        let layer = self
            .write_layer(media::MEDIA_SYSTEM, text.as_bytes())
            .unwrap();
        Manifest::new(Layer::default(), vec![layer])
    }

    fn path(&self, below: &str) -> PathBuf {
        self.folder.path().join(below)
    }

    /// Writes a file that is this many hours old.
    fn leave(&self, below: &str, hours: u64) {
        let path = self.path(below);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        let file = fs_err::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .open(&path)
            .unwrap();
        let age = Duration::from_secs(hours * 3600);
        file.set_modified(SystemTime::now() - age).unwrap();
    }

    fn names_of(&self, folder: &str) -> Vec<String> {
        layout::names_in(&self.path(folder)).unwrap()
    }

    fn has_text(&self, text: &str) -> bool {
        self.has_blob(&Digest::of(text.as_bytes()))
    }
}

fn name(text: &str) -> ModelName {
    ModelName::parse(text).unwrap()
}

fn in_two_hours() -> Timestamp {
    Timestamp::now() + SignedDuration::from_hours(2)
}

#[test]
fn names_are_found_in_any_case_and_keep_their_spelling() {
    let bench = Bench::new();
    bench.put("Team/Model:Q4", "a");
    bench.put("team2/other", "b");
    let check = |asked: &str, found: &str| {
        assert_eq!(bench.resolve(&name(asked)).unwrap(), name(found), "{asked}");
    };
    check("team/model:q4", "Team/Model:Q4");
    check("TEAM/new:x", "Team/new:x");
    check("Team2/OTHER", "team2/other");
    check("Nobody/Knows", "Nobody/Knows");
    assert_eq!(
        bench.model(&name("TEAM/MODEL:q4")).unwrap().name.short(),
        "Team/Model:Q4"
    );
    // Writing under another spelling replaces the model instead of making a second one.
    let manifest = bench.manifest("c");
    bench
        .replace(&name("team/model:q4"), &manifest, bench.pins())
        .unwrap();
    assert_eq!(bench.list().unwrap().len(), 2);
    assert_eq!(
        bench
            .model(&name("Team/Model:Q4"))
            .unwrap()
            .system
            .as_deref(),
        Some("c")
    );
}

#[test]
fn a_received_manifest_keeps_every_byte() {
    let bench = Bench::new();
    let layer = bench.write_layer(media::MEDIA_SYSTEM, b"x").unwrap();
    let bytes = format!(
        "{{ \"layers\": [ {{\"mediaType\":\"{}\",\"digest\":\"{}\",\"size\":1,\"extra\":[1]}} ],\n \"schemaVersion\": 2}}",
        layer.media_type, layer.digest
    );
    bench
        .write_manifest_bytes(&name("a"), bytes.as_bytes())
        .unwrap();
    bench.copy(&name("a"), &name("hf.co/u/b:Q4")).unwrap();
    for model in ["a", "hf.co/u/b:Q4"] {
        let model = bench.model(&name(model)).unwrap();
        assert_eq!(model.digest, Digest::of(bytes.as_bytes()).hex());
    }
    let copied = fs_err::read_to_string(bench.path("manifests/hf.co/u/b/Q4")).unwrap();
    assert_eq!(copied, bytes);
}

#[test]
fn copying_needs_a_source_and_may_be_onto_itself() {
    let bench = Bench::new();
    let missing = bench.copy(&name("a"), &name("b")).unwrap_err();
    assert_eq!(missing.to_string(), "model \"a:latest\" not found");
    let old = bench.put("a", "x");
    bench.copy(&name("a"), &name("A")).unwrap();
    assert_eq!(bench.model(&name("a")).unwrap().manifest, old);
}

#[test]
fn deleting_takes_unshared_blobs_and_empty_folders() {
    let bench = Bench::new();
    let shared = bench.write_layer(media::MEDIA_LICENSE, b"MIT").unwrap();
    for (model, text) in [("hf.co/u/m:a", "one"), ("hf.co/u/m:b", "two")] {
        let mut manifest = bench.manifest(text);
        manifest.layers.push(shared.clone());
        bench.write_manifest(&name(model), &manifest).unwrap();
    }
    bench.delete(&name("HF.co/u/m:A")).unwrap();
    assert_eq!(bench.names_of("manifests/hf.co/u/m"), ["b"]);
    assert!(!bench.has_text("one") && bench.has_text("two") && bench.has_text("MIT"));
    bench.delete(&name("hf.co/u/m:b")).unwrap();
    assert_eq!(bench.names_of("manifests"), Vec::<String>::new());
    assert_eq!(bench.names_of("blobs"), Vec::<String>::new());
    let gone = bench.delete(&name("hf.co/u/m:b")).unwrap_err();
    assert!(matches!(gone, StoreError::NotFound(_)), "{gone}");
}

#[test]
fn pins_hold_against_deletion_and_pruning_until_dropped() {
    let bench = Bench::new();
    bench.put("a", "text");
    let mut pins = bench.pins();
    pins.add(Digest::of(b"text"));
    pins.add(Digest::of(b"not there yet"));
    bench.delete(&name("a")).unwrap();
    assert_eq!(bench.prune(in_two_hours()).unwrap(), 0);
    assert!(bench.has_text("text"));
    // Two pins of the same blob count twice.
    let mut more = bench.pins();
    more.add(Digest::of(b"text"));
    drop(pins);
    assert_eq!(bench.prune(in_two_hours()).unwrap(), 0);
    drop(more);
    assert_eq!(bench.prune(in_two_hours()).unwrap(), 1);
    assert!(!bench.has_text("text"));
}

#[test]
fn pruning_spares_what_is_mentioned_or_young() {
    let bench = Bench::new();
    bench.put("a", "used");
    bench.write_layer("", b"unused").unwrap();
    assert_eq!(
        bench.prune(Timestamp::now()).unwrap(),
        0,
        "an hour of grace"
    );
    assert_eq!(bench.prune(in_two_hours()).unwrap(), 1);
    assert!(bench.has_text("used") && !bench.has_text("unused"));
}

#[test]
fn a_broken_manifest_keeps_what_it_names_and_nothing_else() {
    let bench = Bench::new();
    bench.put("a", "of a");
    bench.put("b", "of both");
    bench.write_layer("", b"unused").unwrap();
    fs_err::create_dir_all(bench.path("manifests/h/n/m")).unwrap();
    let torn = format!("{{\"layers\":[{{\"digest\":\"{}\",", Digest::of(b"of both"));
    fs_err::write(bench.path("manifests/h/n/m/t"), torn).unwrap();
    // The lost part may have named any blob, so only what a deleted model used is removed.
    assert_eq!(bench.prune(in_two_hours()).unwrap(), 0);
    bench.delete(&name("a")).unwrap();
    bench.delete(&name("b")).unwrap();
    assert!(!bench.has_text("of a"));
    assert!(bench.has_text("of both") && bench.has_text("unused"));
    // The torn manifest can be deleted, with the blobs that only it named; then everything works again.
    bench.delete(&name("h/n/m:t")).unwrap();
    assert!(!bench.has_text("of both"));
    assert_eq!(bench.prune(in_two_hours()).unwrap(), 1);
}

#[test]
fn copying_over_a_model_frees_what_it_had() {
    let bench = Bench::new();
    bench.put("a", "of a");
    bench.put("b", "of b");
    bench.copy(&name("a"), &name("b")).unwrap();
    assert!(bench.has_text("of a") && !bench.has_text("of b"));
    bench.delete(&name("a")).unwrap();
    assert!(bench.has_text("of a"), "the copy has it");
}

#[test]
fn what_a_crash_left_is_ignored_and_pruned_when_old() {
    let bench = Bench::new();
    bench.put("a", "kept");
    let hex = "ab".repeat(32);
    // Recent data of a download, with an old state of a finished part.
    bench.leave(&format!("blobs/sha256-{hex}-partial"), 0);
    bench.leave(&format!("blobs/sha256-{hex}-partial-0"), 5);
    let old = "cd".repeat(32);
    bench.leave(&format!("blobs/sha256-{old}-partial"), 5);
    bench.leave(&format!("blobs/sha256-{old}-partial-0"), 5);
    bench.leave("blobs/sha256-123456", 5);
    bench.leave("blobs/sha256-654321", 0);
    bench.leave("manifests/registry.ollama.ai/library/.drover-1", 5);
    bench.leave("manifests/registry.ollama.ai/library/.drover-2", 0);
    assert_eq!(bench.list().unwrap().len(), 1);
    assert_eq!(bench.prune(Timestamp::now()).unwrap(), 3);
    let mut blobs = vec![
        "sha256-654321".to_owned(),
        format!("sha256-{hex}-partial"),
        format!("sha256-{hex}-partial-0"),
        Digest::of(b"kept").file_name(),
    ];
    blobs.sort();
    assert_eq!(bench.names_of("blobs"), blobs);
    assert_eq!(
        bench.names_of("manifests/registry.ollama.ai/library"),
        [".drover-2", "a"]
    );
}

#[test]
fn an_unfinished_or_wrong_blob_leaves_nothing() {
    use std::io::Write as _;

    let bench = Bench::new();
    let mut writer = bench.blob_writer().unwrap();
    writer.write_all(b"half").unwrap();
    drop(writer);
    let mut writer = bench.blob_writer().unwrap();
    writer.write_all(b"other").unwrap();
    let error = writer.finish(Some(Digest::of(b"wanted"))).unwrap_err();
    assert!(
        matches!(error, StoreError::DigestMismatch { .. }),
        "{error}"
    );
    assert_eq!(bench.names_of("blobs"), Vec::<String>::new());
}

#[test]
fn a_blob_that_was_cut_short_is_written_again() {
    let bench = Bench::new();
    let path = bench.blob_path(&Digest::of(b"whole"));
    fs_err::write(&path, "who").unwrap();
    bench.write_layer("", b"whole").unwrap();
    assert_eq!(fs_err::read(&path).unwrap(), b"whole");
}

#[test]
fn a_manifest_is_not_written_for_blobs_that_are_gone() {
    let bench = Bench::new();
    bench.put("a", "old");
    let manifest = bench.manifest("new");
    fs_err::remove_file(bench.blob_path(&Digest::of(b"new"))).unwrap();
    let error = bench
        .replace(&name("a"), &manifest, bench.pins())
        .unwrap_err();
    assert!(matches!(error, StoreError::BlobNotFound(_)), "{error}");
    assert_eq!(
        bench.model(&name("a")).unwrap().system.as_deref(),
        Some("old")
    );
}

#[test]
fn unused_blobs_stay_where_pruning_is_off() {
    let bench = Bench::new();
    bench.put("a", "old");
    bench.set_keep_unused(true);
    let manifest = bench.manifest("new");
    bench.replace(&name("a"), &manifest, bench.pins()).unwrap();
    assert!(bench.has_text("old"));
    bench.delete(&name("a")).unwrap();
    assert!(!bench.has_text("new"), "deleting still deletes");
}

/// Writers of the same and of other models, a deleter and a pruner with two handles: every model that is listed
/// in the end is complete.
#[test]
fn concurrent_writers_leave_whole_models() {
    const ROUNDS: usize = 40;
    let bench = Bench::new();
    let second = Store::open(bench.folder.path()).unwrap();
    let write = |store: &Store, writer: usize| {
        for round in 0..ROUNDS {
            let mut pins = store.pins();
            let texts = ["shared".to_owned(), format!("of {writer} in {round}")];
            let layers = texts.iter().map(|text| {
                pins.add(Digest::of(text.as_bytes()));
                store
                    .write_layer(media::MEDIA_LICENSE, text.as_bytes())
                    .unwrap()
            });
            let manifest = Manifest::new(Layer::default(), layers.collect());
            let model = name(&format!("m{}", (writer + round) % 3));
            match store.replace(&model, &manifest, pins) {
                Ok(()) => {}
                // The other handle's deleter does not know our pins; the error is reported, not hidden.
                Err(StoreError::BlobNotFound(_)) => {}
                Err(error) => panic!("{error}"),
            }
        }
    };
    std::thread::scope(|scope| {
        let (first, second) = (&bench.store, &second);
        scope.spawn(move || write(first, 1));
        scope.spawn(move || write(first, 2));
        scope.spawn(move || write(second, 3));
        scope.spawn(move || {
            for round in 0..ROUNDS {
                match second.delete(&name(&format!("m{}", round % 3))) {
                    Ok(()) | Err(StoreError::NotFound(_)) => {}
                    Err(error) => panic!("{error}"),
                }
            }
        });
        scope.spawn(move || {
            for _ in 0..ROUNDS {
                first.prune(Timestamp::now()).unwrap();
            }
        });
    });
    bench.put("last", "one");
    for listed in bench.list().unwrap() {
        let model = bench.model(&listed.name).unwrap();
        assert!(!model.manifest.layers.is_empty());
    }
    let scratch: Vec<String> = bench
        .names_of("blobs")
        .into_iter()
        .filter(|blob| blob.parse::<Digest>().is_err())
        .collect();
    assert_eq!(scratch, Vec::<String>::new());
}

#[test]
fn a_folder_that_cannot_be_used_is_named_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    fs_err::write(folder.path().join("file"), "").unwrap();
    let root = folder.path().join("file/models");
    let error = Store::open(&root).unwrap_err().to_string();
    let start = format!("cannot use `{}/manifests`: not a directory", root.display());
    assert!(error.starts_with(&start), "{error}");
    assert!(
        error.ends_with("or name another one in OLLAMA_MODELS"),
        "{error}"
    );
}

#[test]
fn a_folder_without_rights_is_named_with_what_to_do() {
    use std::os::unix::fs::PermissionsExt as _;

    if rustix::process::geteuid().is_root() {
        println!("skipped: root may read everything");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let none = std::fs::Permissions::from_mode(0o000);
    fs_err::set_permissions(folder.path(), none).unwrap();
    let error = Store::open(folder.path()).unwrap_err();
    fs_err::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
    assert!(matches!(error, StoreError::Denied { .. }), "{error}");
}

#[test]
fn blobs_of_very_old_versions_are_renamed() {
    let folder = tempfile::tempdir().unwrap();
    let digest = Digest::of(b"old");
    fs_err::create_dir_all(folder.path().join("blobs")).unwrap();
    fs_err::write(folder.path().join("blobs").join(digest.to_string()), "old").unwrap();
    let store = Store::open(folder.path()).unwrap();
    assert!(store.has_blob(&digest));
}

#[test]
fn a_check_finds_and_a_repair_mends() {
    use std::os::unix::fs::PermissionsExt as _;
    let bench = Bench::new();
    bench.put("whole", "fine");
    bench.put("torn", "bytes");
    bench.put("short", "length");
    bench.put("empty", "gone");
    let blob = |text: &str| bench.blob_path(&Digest::of(text.as_bytes()));
    assert!(bench.check(true, &mut |_| {}).unwrap().problems.is_empty());
    fs_err::write(blob("bytes"), "BYTES").unwrap();
    fs_err::write(blob("length"), "len").unwrap();
    fs_err::remove_file(blob("gone")).unwrap();
    let legacy = Digest::of(b"fine").to_string();
    bench.leave(&format!("blobs/{legacy}"), 0);
    bench.leave(&format!("blobs/{}", Digest::of(b"").file_name()), 2);
    bench.leave("blobs/sha256-123", 2);
    bench.leave("blobs/sha256-124", 0);
    let closed = std::fs::Permissions::from_mode(0o000);
    fs_err::set_permissions(blob("fine"), closed).unwrap();
    let quick = bench.check(false, &mut |_| {}).unwrap();
    assert!(
        !quick
            .problems
            .iter()
            .any(|p| matches!(p, Problem::WrongContent { .. }))
    );
    fs_err::set_permissions(blob("fine"), std::fs::Permissions::from_mode(0o044)).unwrap();

    let mut bytes = 0;
    let found = bench.check(rustix::process::geteuid().is_root(), &mut |count| {
        bytes += count;
    });
    let found = found.unwrap();
    let kinds: Vec<String> = found
        .problems
        .iter()
        .map(|problem| {
            serde_json::to_value(problem).unwrap()["problem"]
                .as_str()
                .unwrap()
                .to_owned()
        })
        .collect();
    for kind in [
        "missing_blob",
        "wrong_size",
        "duplicate",
        "unused",
        "leftover",
        "wrong_mode",
    ] {
        assert_eq!(
            kinds.iter().filter(|found| *found == kind).count(),
            1,
            "{kinds:?}"
        );
    }
    bench.repair(&found).unwrap();
    let left = bench.check(true, &mut |_| {}).unwrap().problems;
    // Damaged blobs are gone and must be fetched again; no other problem is left.
    assert!(
        left.iter().all(|problem| matches!(
            problem,
            Problem::MissingBlob { .. } | Problem::WrongContent { .. }
        )),
        "{left:?}"
    );
    bench
        .repair(&bench.check(true, &mut |_| {}).unwrap())
        .unwrap();
    let missing = bench.check(true, &mut |_| {}).unwrap().problems;
    assert_eq!(missing.len(), 3, "{missing:?}");
    assert!(bench.model(&name("whole")).is_ok());
}

#[test]
fn a_repair_spares_what_became_used() {
    let bench = Bench::new();
    let manifest = bench.manifest("text");
    let path = bench.blob_path(&Digest::of(b"text"));
    let file = fs_err::OpenOptions::new().write(true).open(&path).unwrap();
    file.set_modified(SystemTime::now() - Duration::from_secs(7200))
        .unwrap();
    let found = bench.check(false, &mut |_| {}).unwrap();
    assert!(
        matches!(found.problems[..], [Problem::Unused { .. }]),
        "{found:?}"
    );
    bench.write_manifest(&name("m"), &manifest).unwrap();
    assert!(bench.repair(&found).unwrap().is_empty());
    assert!(bench.has_text("text"));
}

#[test]
fn the_files_of_a_running_download_are_one_thing() {
    let bench = Bench::new();
    let blob = Digest::of(b"coming").file_name();
    // One part finished long ago, another is being fetched.
    bench.leave(&format!("blobs/{blob}-partial"), 2);
    bench.leave(&format!("blobs/{blob}-partial-0"), 2);
    bench.leave(&format!("blobs/{blob}-partial-1"), 0);
    assert!(bench.check(false, &mut |_| {}).unwrap().problems.is_empty());
}

/// A header of about `n_bytes` bytes.
fn header_of(bench: &Bench, n_bytes: usize, text: &str) -> Layer {
    let file = GgufBuilder::model("llama")
        .value("filler", text.repeat(n_bytes / text.len()))
        .build();
    bench.write_layer(media::MEDIA_MODEL, &file).unwrap()
}

#[test]
fn headers_are_remembered_within_a_limit_and_as_long_as_their_files_are_there() {
    let bench = Bench::new();
    for n in 0..40 {
        let layer = header_of(&bench, 2 << 20, &format!("{n:08}"));
        let path = bench.blob_path(&layer.digest.parse().unwrap());
        assert_eq!(bench.gguf(&path).unwrap().architecture(), "llama");
    }
    assert!((1 << 20..=64 << 20).contains(&bench.header_bytes()));
    let bench = Bench::new();
    let layer = header_of(&bench, 1000, "x");
    let path = bench.blob_path(&layer.digest.parse().unwrap());
    let manifest = Manifest::new(Layer::default(), vec![layer]);
    bench.write_manifest(&name("m"), &manifest).unwrap();
    let first = bench.gguf(&path).unwrap();
    assert!(Arc::ptr_eq(&first, &bench.gguf(&path).unwrap()));
    assert!(bench.header_bytes() > 1000);
    bench.delete(&name("m")).unwrap();
    assert_eq!(bench.header_bytes(), 0);
}

#[test]
fn a_model_whose_texts_are_no_texts_is_refused_and_not_read() {
    let bench = Bench::new();
    for (kind, n_bytes) in [
        (media::MEDIA_TEMPLATE, 5 << 20),
        (media::MEDIA_LICENSE, 5 << 20),
        (media::MEDIA_PARAMS, 2 << 20),
    ] {
        let layer = bench.write_layer(kind, &vec![b' '; n_bytes]).unwrap();
        let manifest = Manifest::new(Layer::default(), vec![layer]);
        bench.write_manifest(&name("m"), &manifest).unwrap();
        let error = bench.model(&name("m")).unwrap_err().to_string();
        assert!(error.contains("too long"), "{kind}: {error}");
    }
    let license = bench.write_layer(media::MEDIA_LICENSE, b"x").unwrap();
    let manifest = Manifest::new(Layer::default(), vec![license; 1000]);
    bench.write_manifest(&name("m"), &manifest).unwrap();
    let error = bench.model(&name("m")).unwrap_err().to_string();
    assert!(error.contains("more than 16 texts"), "{error}");
}
