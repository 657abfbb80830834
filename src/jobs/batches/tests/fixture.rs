//! Jobs in a folder of their own, with scripted answers.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::jobs::batches::*;
use crate::jobs::{Jobs, Limits, NewFile};

/// Answers by the prompt: `status N` gives that status, `never` no answer, `again` an answer at the second try.
#[derive(Default)]
pub(super) struct Script {
    pub(super) asked: Mutex<Vec<(String, String)>>,
    pub(super) running: AtomicUsize,
    pub(super) most: AtomicUsize,
    pub(super) places: Option<usize>,
    /// Whether the key of all clients has been revoked.
    pub(super) is_revoked: AtomicBool,
}

impl Answer for Arc<Script> {
    fn answer(&self, request: Request) -> Later<Answered> {
        let script = Self::clone(self);
        Box::pin(async move {
            let body: Value = serde_json::from_slice(&request.body).unwrap();
            let prompt = body["prompt"].as_str().unwrap().to_owned();
            let is_first = {
                let mut asked = script.asked.lock().unwrap();
                asked.push((prompt.clone(), request.client));
                asked.iter().filter(|(known, _)| *known == prompt).count() == 1
            };
            let n = script.running.fetch_add(1, Ordering::SeqCst) + 1;
            script.most.fetch_max(n, Ordering::SeqCst);
            tokio::task::yield_now().await;
            if prompt == "never" {
                std::future::pending::<()>().await;
            }
            script.running.fetch_sub(1, Ordering::SeqCst);
            let status = match prompt.strip_prefix("status ") {
                Some(status) => status.parse().unwrap(),
                None if prompt.starts_with("again") && is_first => 500,
                None => 200,
            };
            let usage = json!({"prompt_tokens": 2, "completion_tokens": 1});
            Answered {
                status,
                request_id: "req_1".to_owned(),
                body: json!({"text": prompt, "usage": usage}).to_string().into(),
            }
        })
    }

    fn is_allowed(&self, _client: &str) -> bool {
        !self.is_revoked.load(Ordering::SeqCst)
    }

    fn has_model(&self, model: &str) -> Later<bool> {
        let is_known = model != "unknown";
        Box::pin(async move { is_known })
    }

    fn places(&self, _model: &str) -> Later<Option<usize>> {
        let places = self.places;
        Box::pin(async move { places })
    }
}

pub(super) struct Fixture {
    pub(super) jobs: Jobs,
    pub(super) script: Arc<Script>,
    pub(super) tasks: TaskTracker,
    pub(super) folder: TempDir,
}

pub(super) fn jobs(folder: &TempDir, tasks: &TaskTracker, disk: u64, window: i64) -> Jobs {
    let settings = Settings {
        window,
        hours: None,
    };
    Jobs::new(folder.path(), &Limits { disk, settings }, tasks)
}

impl Fixture {
    pub(super) fn new(places: Option<usize>) -> Self {
        Self::with(TempDir::new().unwrap(), places, 1 << 30, 86_400)
    }

    pub(super) fn with(folder: TempDir, places: Option<usize>, disk: u64, window: i64) -> Self {
        let tasks = TaskTracker::new();
        let script = Arc::new(Script {
            places,
            ..Script::default()
        });
        let jobs = jobs(&folder, &tasks, disk, window);
        Self {
            jobs,
            script,
            tasks,
            folder,
        }
    }

    pub(super) fn start(&self) {
        let answer: Arc<dyn Answer> = Arc::new(Arc::clone(&self.script));
        self.jobs.batches.start(answer, &self.tasks);
    }

    /// Stops the runner as the daemon does.
    pub(super) async fn stop(self) -> TempDir {
        self.jobs.batches.stop();
        self.tasks.close();
        self.tasks.wait().await;
        self.folder
    }

    pub(super) async fn file(&self, text: &str) -> String {
        self.file_of(Owner::default(), text).await
    }

    pub(super) async fn file_of(&self, owner: Owner, text: &str) -> String {
        let mut incoming = self.jobs.files.begin(1 << 30).await.unwrap();
        incoming.write(&text.to_owned().into()).await.unwrap();
        let new = NewFile {
            owner,
            purpose: "batch".to_owned(),
            filename: "in.jsonl".to_owned(),
            expiry: None,
        };
        let kept = self.jobs.files.keep(incoming, new, Timestamp::now()).await;
        kept.unwrap().id
    }

    pub(super) async fn create(&self, input_file: &str) -> Batch {
        self.create_of(Owner::default(), input_file).await
    }

    /// Creates a job as a client that sees only its own files.
    pub(super) async fn create_of(&self, owner: Owner, input_file: &str) -> Batch {
        let seen = Seen::Of(owner.clone());
        let new = NewBatch {
            origin: Origin::OpenAi,
            owner,
            client: "here/me".to_owned(),
            endpoint: "/v1/completions".to_owned(),
            input_file: input_file.to_owned(),
            metadata: Some(vec![("a".to_owned(), "b".to_owned())]),
            keep: Some(3600),
        };
        self.jobs
            .batches
            .create(new, &seen, Timestamp::now())
            .await
            .unwrap()
    }

    pub(super) async fn run(&self, text: &str) -> Batch {
        let file = self.file(text).await;
        let batch = self.create(&file).await;
        self.ended(&batch.id).await
    }

    pub(super) async fn get(&self, id: &str) -> Batch {
        self.jobs
            .batches
            .get(id, Origin::OpenAi, &Seen::All)
            .await
            .unwrap()
    }

    pub(super) async fn until(&self, id: &str, test: impl Fn(&Batch) -> bool) -> Batch {
        let waiting = async {
            let mut tick = tokio::time::interval(Duration::from_millis(10));
            loop {
                tick.tick().await;
                let batch = self.get(id).await;
                if test(&batch) {
                    return batch;
                }
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(30), waiting).await;
        waited.unwrap_or_else(|_| panic!("not in time"))
    }

    pub(super) async fn ended(&self, id: &str) -> Batch {
        self.until(id, |batch| batch.status.is_final()).await
    }

    /// The lines of a result file.
    pub(super) fn lines(&self, file: &str) -> Vec<Value> {
        let text = fs_err::read_to_string(self.jobs.files.path(file)).unwrap_or_default();
        let lines = text.lines();
        lines
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    pub(super) fn names(&self) -> HashSet<String> {
        let entries = fs_err::read_dir(self.folder.path().join("files")).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.collect()
    }
}

pub(super) fn line(id: &str, prompt: &str) -> String {
    let body = json!({"model": "m", "prompt": prompt});
    let line = json!({"custom_id": id, "method": "POST", "url": "/v1/completions", "body": body});
    format!("{line}\n")
}
