//! The scheduler with real runners (fake engine): what the pure tests cannot show.
#![cfg(feature = "fake")]
#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests fail by panicking, as tests do"
)]

use std::path::{Path, PathBuf};
use std::time::Duration;

use drover::config::{Config, KeepAlive, env};
use drover::model::gguf::builder::GgufBuilder;
use drover::model::{ModelName, Options};
use drover::scheduler::{AcquireError, Lease, ModelDims, ModelSpec, SchedulerHandle};
use drover::view::ModelFile;
use tokio_util::task::TaskTracker;

const PATIENCE: Duration = Duration::from_secs(30);

struct Bench {
    folder: tempfile::TempDir,
    scheduler: SchedulerHandle,
    tasks: TaskTracker,
}

impl Bench {
    fn new(change: impl FnOnce(&mut Config)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().to_str().unwrap().to_owned();
        let loaded = env::load(&|name| (name == "HOME").then(|| home.clone()));
        let mut config = loaded.unwrap().config;
        change(&mut config);
        let tasks = TaskTracker::new();
        let exe = PathBuf::from(env!("CARGO_BIN_EXE_drover"));
        let scheduler = SchedulerHandle::start(&config, exe, &tasks);
        Self {
            folder,
            scheduler,
            tasks,
        }
    }

    /// A model that takes so many milliseconds to load.
    fn model(&self, name: &str, load_ms: u32) -> ModelSpec {
        let path = self.folder.path().join(format!("{name}.gguf"));
        let file = GgufBuilder::new("drover-fake")
            .value("drover-fake.context_length", 2048)
            .value("drover-fake.load_ms", load_ms);
        fs_err::write(&path, file.build()).unwrap();
        ModelSpec {
            name: ModelName::parse(name).unwrap(),
            digest: String::new(),
            weights: ModelFile::original(path),
            end_tokens: Vec::new(),
            projector: None,
            adapters: Vec::new(),
            embedding: false,
            options: Options::default(),
            dims: ModelDims {
                n_head_kv: vec![1],
                head_dim_k: 8,
                head_dim_v: 8,
                n_ctx_train: 2048,
                ..ModelDims::default()
            },
            is_job: false,
            origin: "".into(),
            draft: None,
        }
    }

    async fn acquire(&self, spec: &ModelSpec) -> Result<Lease, AcquireError> {
        self.acquire_for(spec, None).await
    }

    async fn acquire_for(
        &self,
        spec: &ModelSpec,
        keep_alive: Option<KeepAlive>,
    ) -> Result<Lease, AcquireError> {
        let lease = self.scheduler.acquire(spec.clone(), keep_alive);
        tokio::time::timeout(PATIENCE, lease).await.unwrap()
    }

    /// Asks what is loaded until the test is true.
    async fn until(&self, test: impl Fn(&[drover::scheduler::LoadedModel]) -> bool) {
        let asking = async {
            while !test(&self.scheduler.loaded().await) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, asking).await.unwrap();
    }

    async fn shutdown(self) {
        self.scheduler.shutdown().await;
        self.tasks.close();
        tokio::time::timeout(PATIENCE, self.tasks.wait())
            .await
            .unwrap();
    }
}

fn exists(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

#[tokio::test]
async fn requests_join_one_load_and_share_a_runner() {
    let bench = Bench::new(|_| ());
    let spec = bench.model("a", 200);
    let (first, second) = tokio::join!(bench.acquire(&spec), bench.acquire(&spec));
    let (first, second) = (first.unwrap(), second.unwrap());
    assert_eq!(first.runner().pid(), second.runner().pid());
    let loaded = bench.scheduler.loaded().await;
    assert_eq!((loaded.len(), loaded[0].n_active), (1, 2));
    assert_eq!(loaded[0].context_length, 2048, "the trained length");
    assert!(loaded[0].info.n_slots > 1);
    assert_eq!(first.n_ctx(Some(512)), 512);
    assert_eq!(first.n_ctx(Some(1 << 20)), 2048);
    drop((first, second));
    bench.until(|loaded| loaded[0].n_active == 0).await;
    bench.shutdown().await;
}

#[tokio::test]
async fn a_model_goes_at_once_when_it_is_kept_for_no_time() {
    let bench = Bench::new(|_| ());
    let spec = bench.model("a", 0);
    let now = Some(KeepAlive::For(Duration::ZERO));
    let lease = bench.acquire_for(&spec, now).await.unwrap();
    let pid = lease.runner().pid();
    assert_eq!(bench.scheduler.loaded().await.len(), 1);
    drop(lease);
    bench.until(<[_]>::is_empty).await;
    // The next request starts another process.
    let lease = bench.acquire(&spec).await.unwrap();
    assert_ne!(lease.runner().pid(), pid);
    assert!(!exists(pid));
    drop(lease);
    bench.shutdown().await;
}

#[tokio::test]
async fn a_client_that_leaves_during_the_load_leaks_nothing() {
    let bench = Bench::new(|config| config.max_queue = 1);
    let slow = bench.model("slow", 60_000);
    tokio::select! {
        _ = bench.acquire(&slow) => panic!("it takes a minute"),
        () = tokio::task::yield_now() => {}
    }
    // Its place in the queue is free, and the abandoned load blocks nothing.
    let quick = bench.model("quick", 0);
    let lease = bench.acquire(&quick).await.unwrap();
    bench.until(|loaded| loaded.len() == 1).await;
    drop(lease);
    bench.until(|loaded| loaded[0].n_active == 0).await;
    bench.shutdown().await;
}

#[tokio::test]
async fn a_full_queue_has_ollamas_words() {
    let bench = Bench::new(|config| config.max_queue = 1);
    let slow = bench.model("slow", 60_000);
    let other = bench.model("other", 0);
    tokio::select! {
        biased;
        _ = bench.acquire(&slow) => panic!("it takes a minute"),
        refused = bench.acquire(&other) => assert_eq!(
            refused.unwrap_err().to_string(),
            "server busy, please try again.  maximum pending requests exceeded"
        ),
    }
    bench.shutdown().await;
}

#[tokio::test]
async fn a_killed_runner_is_replaced_on_the_next_request() {
    let bench = Bench::new(|_| ());
    let spec = bench.model("a", 0);
    let lease = bench.acquire(&spec).await.unwrap();
    let pid = lease.runner().pid();
    let process = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::kill_process(process, rustix::process::Signal::KILL).unwrap();
    bench.until(<[_]>::is_empty).await;
    let next = bench.acquire(&spec).await.unwrap();
    assert_ne!(next.runner().pid(), pid);
    // The old lease is dropped after the new one was granted.
    drop(lease);
    assert_eq!(bench.scheduler.loaded().await[0].n_active, 1);
    drop(next);
    bench.shutdown().await;
}

#[tokio::test]
async fn a_refused_file_is_told_in_ollamas_words() {
    let bench = Bench::new(|_| ());
    let mut spec = bench.model("bad", 0);
    let bad = bench.folder.path().join("bad.gguf");
    spec.weights = ModelFile::original(&bad);
    let file = GgufBuilder::model("drover-fake").value("drover-fake.load_fault", 1);
    fs_err::write(&bad, file.build()).unwrap();
    let error = bench.acquire(&spec).await.unwrap_err().to_string();
    assert!(
        error.ends_with(
            ": this model may be incompatible with your version of Ollama. If you previously pulled this model, \
             try updating it by running `ollama pull bad:latest`"
        ),
        "{error}"
    );
    bench.shutdown().await;
}

#[tokio::test]
async fn shutting_down_ends_every_process_and_every_wait() {
    let bench = Bench::new(|_| ());
    let ready = bench.acquire(&bench.model("ready", 0)).await.unwrap();
    let pid = ready.runner().pid();
    let slow = bench.model("slow", 60_000);
    let scheduler = bench.scheduler.clone();
    tokio::join!(
        async {
            let error = bench.acquire(&slow).await.unwrap_err();
            assert_eq!(error, AcquireError::ShuttingDown);
        },
        async { scheduler.shutdown().await },
    );
    assert!(!exists(pid));
    let late = bench.acquire(&slow).await.unwrap_err();
    assert_eq!(late, AcquireError::ShuttingDown);
    drop(ready);
    bench.tasks.close();
    tokio::time::timeout(PATIENCE, bench.tasks.wait())
        .await
        .unwrap();
}
