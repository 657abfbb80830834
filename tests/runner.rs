//! Runners as real child processes with the fake engine: load, answer, die, hang, end.
#![cfg(feature = "fake")]
#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests fail by panicking, as tests do"
)]

mod recorded;

use std::path::{Path, PathBuf};
use std::time::Duration;

use drover::model::gguf::builder::GgufBuilder;
use drover::protocol::{
    Exempt, GenerateParams, KvCacheType, LoadParams, Priority, PromptPart, SamplingParams,
    Speculation, SpillParams,
};
use drover::runner_client::{
    Generation, GenerationEvent, RunnerError, RunnerHandle, StartError, StartParams, Started,
    Tokenize, probe, start,
};
use drover::view::ModelFile;
use tokio_util::task::TaskTracker;

/// Longer than any of these tests takes, so that a hang becomes a failure.
const PATIENCE: Duration = Duration::from_secs(30);

fn exe() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_drover"))
}

/// A model file for the fake engine, with keys that change its behaviour.
fn model(keys: &[(&str, u32)]) -> tempfile::NamedTempFile {
    let mut builder = GgufBuilder::model("drover-fake");
    for &(key, value) in keys {
        builder = builder.value(&format!("drover-fake.{key}"), value);
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    fs_err::write(file.path(), builder.build()).unwrap();
    file
}

fn params(path: &Path) -> StartParams {
    StartParams {
        exe: exe(),
        model: "fake".to_owned(),
        load: LoadParams {
            model: ModelFile::original(path),
            end_tokens: Vec::new(),
            projector: None,
            adapters: Vec::new(),
            n_ctx_pool: 1024,
            n_slots: 1,
            n_batch: 64,
            n_ubatch: 64,
            n_gpu_layers: 0,
            gpus: Vec::new(),
            n_cpu_moe: 0,
            use_mmap: None,
            n_threads: 1,
            kv_cache_type: KvCacheType::F16,
            flash_attention: None,
            embedding: false,
            speculation: Speculation::Auto,
            draft: None,
            whole_window: false,
            spill: SpillParams::default(),
        },
        load_timeout: Some(PATIENCE),
        silence_timeout: PATIENCE,
    }
}

fn texts<const N: usize>(texts: [String; N], add_special: bool) -> Tokenize {
    Tokenize {
        texts: texts.into(),
        add_special,
        ..Tokenize::default()
    }
}

async fn started(tasks: &TaskTracker) -> Started {
    let file = model(&[]);
    start(params(file.path()), tasks).await.unwrap()
}

async fn ask(runner: &RunnerHandle, prompt: &str) -> Generation {
    let params = GenerateParams {
        prompt: vec![PromptPart::Text(prompt.to_owned())],
        add_special: true,
        n_ctx: 1024,
        cut: false,
        n_predict: None,
        sampling: SamplingParams::default(),
        stop: Vec::new(),
        preserved: Vec::new(),
        constraint: None,
        exempt: Exempt::default(),
        prediction: String::new(),
        logprobs: None,
        logprobs_of: Vec::new(),
        prompt_logprobs: None,
        n_keep: 0,
        shift: false,
        priority: Priority::Interactive,
        client: String::new(),
    };
    runner.generate(params).await.unwrap()
}

/// Reads an answer to its end: the text, and the error if there was one.
async fn answer(generation: &mut Generation) -> (String, Option<RunnerError>) {
    let mut all = String::new();
    let read = async {
        while let Some(event) = generation.next().await {
            match event {
                Ok(GenerationEvent::Text { text, .. }) => all.push_str(&text),
                Ok(_) => {}
                Err(error) => return Some(error),
            }
        }
        None
    };
    let error = tokio::time::timeout(PATIENCE, read).await.unwrap();
    (all, error)
}

/// Waits until some text has arrived.
async fn first_text(generation: &mut Generation) {
    let read = async {
        while !matches!(
            generation.next().await.unwrap().unwrap(),
            GenerationEvent::Text { .. }
        ) {}
    };
    tokio::time::timeout(PATIENCE, read).await.unwrap();
}

/// Whether a process exists: a reaped process has no entry any more, a zombie has one.
fn exists(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

fn kill(pid: u32, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
}

async fn end(started: &mut Started) {
    let ended = tokio::time::timeout(PATIENCE, &mut started.ended).await;
    ended.unwrap().unwrap();
    assert!(!exists(started.handle.pid()), "not reaped");
}

/// Which prompts lose the BOS that they begin with, because the tokenizer adds one, is recorded.
#[tokio::test]
async fn a_prompt_gets_one_bos() {
    let Some(fixture) = recorded::fixture("runner_and_api/bos_strip.json") else {
        return;
    };
    let tasks = TaskTracker::new();
    let start_with = |add_bos: u32| {
        let tasks = tasks.clone();
        async move {
            let file = model(&[("add_bos", add_bos)]);
            start(params(file.path()), &tasks).await.unwrap()
        }
    };
    let runners = [start_with(0).await, start_with(1).await];
    let cases = fixture["cases"].as_array().unwrap();
    for case in cases {
        let text = |key: &str| case[key].as_str().unwrap();
        let bos = match text("leading_bos") {
            "" => "<bos>",
            bos => bos,
        };
        let [prompt, rest] = ["prompt", "expected"].map(|key| text(key).replace(bos, "<|bos|>"));
        let adds_bos = case["adds_bos"].as_bool().unwrap();
        let runner = &runners[usize::from(adds_bos)].handle;
        let tokens = runner.tokenize(texts([prompt], true)).await.unwrap();
        let mut expected = runner.tokenize(texts([rest], false)).await.unwrap();
        if adds_bos {
            expected[0].insert(0, 256);
        }
        assert_eq!(tokens, expected, "{}", case["name"]);
    }
    println!("bos_strip.json: {} passed", cases.len());
}

#[tokio::test]
async fn a_runner_loads_answers_and_stops() {
    let tasks = TaskTracker::new();
    let mut started = started(&tasks).await;
    let runner = started.handle.clone();
    assert_eq!((runner.info().n_ctx_pool, runner.info().n_slots), (1024, 1));
    let (text, error) = answer(&mut ask(&runner, "hello there").await).await;
    assert_eq!((text.as_str(), error.is_none()), ("hello there", true));
    let question = texts(["abc".to_owned(), String::new()], false);
    let tokens = runner.tokenize(question).await.unwrap();
    assert_eq!((tokens.len(), tokens[1].len()), (2, 0));
    let detokenize = |tokens| runner.detokenize(tokens, String::new());
    assert_eq!(detokenize(tokens[0].clone()).await.unwrap(), "abc");
    runner.stop().await;
    end(&mut started).await;
    let error = detokenize(Vec::new()).await.unwrap_err();
    assert!(matches!(error, RunnerError::Gone(_)), "{error}");
    tasks.close();
    tokio::time::timeout(PATIENCE, tasks.wait()).await.unwrap();
}

#[tokio::test]
async fn a_killed_runner_ends_its_requests_with_an_error() {
    let tasks = TaskTracker::new();
    let mut started = started(&tasks).await;
    let long = "[[repeat 100]] [[slow 20]] word";
    let mut running = ask(&started.handle, long).await;
    first_text(&mut running).await;
    // At most prepared, and far from its end.
    let mut second = ask(&started.handle, long).await;
    kill(started.handle.pid(), rustix::process::Signal::KILL);
    for generation in [&mut running, &mut second] {
        let (_, error) = answer(generation).await;
        let text = error.unwrap().to_string();
        assert!(
            text.starts_with("model runner has unexpectedly stopped"),
            "{text}"
        );
    }
    end(&mut started).await;
}

#[tokio::test]
async fn an_abort_is_told_with_its_last_words() {
    let tasks = TaskTracker::new();
    let mut started = started(&tasks).await;
    let (_, error) = answer(&mut ask(&started.handle, "[[abort 3]] hello").await).await;
    assert!(matches!(error, Some(RunnerError::Gone(_))), "{error:?}");
    end(&mut started).await;
}

#[tokio::test]
async fn a_hanging_runner_is_killed() {
    let tasks = TaskTracker::new();
    let file = model(&[]);
    let params = StartParams {
        silence_timeout: Duration::from_millis(200),
        ..params(file.path())
    };
    let mut started = start(params, &tasks).await.unwrap();
    let (_, error) = answer(&mut ask(&started.handle, "[[hang 0]] hello").await).await;
    assert!(matches!(error, Some(RunnerError::Gone(_))), "{error:?}");
    end(&mut started).await;
}

#[tokio::test]
async fn a_runner_that_does_not_listen_is_stopped_by_force() {
    let tasks = TaskTracker::new();
    let mut started = started(&tasks).await;
    kill(started.handle.pid(), rustix::process::Signal::STOP);
    started.handle.stop().await;
    end(&mut started).await;
}

#[tokio::test]
async fn a_child_ends_with_the_last_handle() {
    let tasks = TaskTracker::new();
    let Started { handle, ended } = started(&tasks).await;
    let pid = handle.pid();
    drop(handle);
    tokio::time::timeout(PATIENCE, ended)
        .await
        .unwrap()
        .unwrap();
    assert!(!exists(pid));
}

/// However the daemon dies, its end of the socket is closed.
#[tokio::test]
async fn a_child_ends_when_the_daemon_is_gone() {
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    let mut child = tokio::process::Command::new(exe())
        .arg("runner")
        .stdin(std::os::fd::OwnedFd::from(theirs))
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    drop(ours);
    let status = tokio::time::timeout(PATIENCE, child.wait()).await;
    assert!(status.unwrap().unwrap().success());
}

#[tokio::test]
async fn a_dropped_generation_gives_its_slot_back() {
    let tasks = TaskTracker::new();
    let started = started(&tasks).await;
    // Without the drop, the only slot would be taken for minutes.
    let mut long = ask(&started.handle, "[[repeat 500]] [[slow 1000]] x").await;
    first_text(&mut long).await;
    drop(long);
    let (text, error) = answer(&mut ask(&started.handle, "next").await).await;
    assert_eq!((text.as_str(), error.is_none()), ("next", true));
    started.handle.stop().await;
}

#[tokio::test]
async fn failures_of_a_load() {
    let tasks = TaskTracker::new();
    let refused = model(&[("load_fault", 1)]);
    let error = start(params(refused.path()), &tasks).await.unwrap_err();
    assert!(
        matches!(&error, StartError::Refused(text) if text.contains("as asked")),
        "{error}"
    );
    let aborts = model(&[("load_fault", 2)]);
    let error = start(params(aborts.path()), &tasks).await.unwrap_err();
    assert!(
        matches!(&error, StartError::Died { exit, .. } if exit.contains('6')),
        "{error}"
    );
    let nowhere = StartParams {
        exe: PathBuf::from("/nowhere/drover"),
        ..params(refused.path())
    };
    let error = start(nowhere, &tasks).await.unwrap_err();
    assert!(matches!(error, StartError::Spawn(_)), "{error}");
}

/// The limit counts from the last sign of life.
#[tokio::test]
async fn only_a_load_without_progress_times_out() {
    let tasks = TaskTracker::new();
    let file = model(&[("load_ms", 1000)]);
    let with_limit = |limit| StartParams {
        load_timeout: Some(Duration::from_millis(limit)),
        ..params(file.path())
    };
    let error = start(with_limit(30), &tasks).await.unwrap_err();
    assert!(matches!(error, StartError::Timeout(_)), "{error}");
    let started = start(with_limit(900), &tasks).await.unwrap();
    assert!(started.handle.info().load_ms > 900.0);
    started.handle.stop().await;
}

#[tokio::test]
async fn the_devices_are_listed_by_a_child_of_its_own() {
    let tasks = TaskTracker::new();
    let devices = tokio::time::timeout(PATIENCE, probe(exe(), &tasks));
    devices.await.unwrap().unwrap();
    tasks.close();
    tokio::time::timeout(PATIENCE, tasks.wait()).await.unwrap();
}
