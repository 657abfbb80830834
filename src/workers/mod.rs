//! Workers: child processes that run the templates of models.
//!
//! A template is a program of a stranger, in a language that bounds neither memory nor the depth of
//! what it is parsed into, computes and drops. So it is parsed and run in a process of its own,
//! `drover renderer` ([`child`]), which limits itself to what a prompt needs. Whatever becomes of
//! it costs one request: a worker that ends, takes too long or has lost its client is replaced.
//!
//! Workers are started when they are needed and wait for the next job afterwards, with the templates
//! they have parsed. How many there are, and how many one model may keep busy, is the [`gate`]'s
//! matter; a pass whose worker was lost comes back after a pause, so that nobody can have processes
//! started without end.

mod child;
mod confine;
mod gate;
mod job;
mod wire;
mod worker;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument as _;

use crate::renderer::RenderError;

pub use child::run;
pub use job::{Conversation, Subject, Template};

use gate::{Gate, Pass};
use job::Job;
use wire::Answer;
use worker::{Lost, Worker};

/// Requests that may wait for a worker. One that waits is small beside what it wants to say.
const MAX_WAITING: usize = 16_384;

/// How long a request waits for a worker.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long a worker whose client has left may take to end its job: less than a new one costs.
const LEFT: Duration = Duration::from_millis(100);

/// How long it takes until a lost worker is replaced.
const PAUSE: Duration = Duration::from_millis(500);

/// How long a worker waits for work before it is ended, as soon as another one has ended a job.
const IDLE: Duration = Duration::from_secs(60);

/// How workers are used.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Our own executable.
    pub exe: PathBuf,
    /// Longest time for making one prompt.
    pub time: Duration,
    /// Workers at most; one model has half of them.
    pub n_workers: usize,
}

impl Settings {
    /// As many workers as the machine has cores, within limits: a template that does not end has
    /// two of four.
    pub fn new(exe: PathBuf, time: Duration) -> Self {
        let n_cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            exe,
            time,
            n_workers: n_cores.clamp(4, 16),
        }
    }
}

/// Why there is no prompt.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WorkError {
    /// The template is none.
    #[error(transparent)]
    Unparsable(RenderError),
    /// The template failed, or refused the conversation.
    #[error(transparent)]
    Failed(RenderError),
    #[error("the template did not make a prompt within {0:?}")]
    TooSlow(Duration),
    #[error("the template is nested too deeply, or makes values that are")]
    TooDeep,
    #[error("the template takes too much memory")]
    TooLarge,
    /// Why stands in the log.
    #[error("the process that ran the template has ended unexpectedly")]
    Ended,
    #[error("too many requests wait for their prompts, try again later")]
    TooMany,
    /// Why stands in the log.
    #[error("the process that runs templates could not be started")]
    Start,
    #[error("the server is stopping")]
    Stopping,
}

/// The workers of a daemon; cheap to clone.
#[derive(Debug, Clone)]
pub struct Workers {
    pool: Arc<Pool>,
}

#[derive(Debug)]
struct Pool {
    settings: Settings,
    gate: Gate,
    /// The last one used is the last one here.
    idle: Mutex<Vec<Worker>>,
    tasks: TaskTracker,
    stopping: CancellationToken,
}

impl Workers {
    /// Starts nothing yet.
    pub fn new(settings: Settings, tasks: &TaskTracker) -> Self {
        let n_all = settings.n_workers.max(1);
        let pool = Pool {
            gate: Gate::new(n_all, n_all.div_ceil(2), MAX_WAITING),
            settings,
            idle: Mutex::default(),
            tasks: tasks.clone(),
            stopping: CancellationToken::new(),
        };
        Self {
            pool: Arc::new(pool),
        }
    }

    /// Makes a prompt of a subject, from the message `from` on (system messages all stay). Dropping
    /// the future ends the work.
    ///
    /// # Errors
    /// See [`WorkError`].
    pub async fn render(
        &self,
        template: &Arc<Template>,
        subject: &Arc<Subject>,
        from: usize,
    ) -> Result<String, WorkError> {
        let pool = &self.pool;
        let pass = tokio::time::timeout(PATIENCE, pool.gate.pass(template.owner));
        let Ok(Ok(pass)) = pass.await else {
            return Err(WorkError::TooMany);
        };
        let job = Job {
            template: Arc::clone(template),
            subject: Arc::clone(subject),
            from,
        };
        let (reply, answer) = oneshot::channel();
        let work = Arc::clone(pool).work(job, pass, reply);
        pool.tasks.spawn(work.in_current_span());
        answer.await.unwrap_or(Err(WorkError::Stopping))
    }

    /// Ends the workers that wait, and those that work as soon as their clients have left.
    pub fn close(&self) {
        self.pool.stopping.cancel();
        self.pool.idle().clear();
    }
}

type Reply = oneshot::Sender<Result<String, WorkError>>;

/// What became of a job.
enum Outcome {
    Done(Answer, bool),
    /// The worker has hung up.
    Lost,
    TooSlow,
    /// Nobody waits for the prompt any more.
    Left,
}

impl Pool {
    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Worker>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does a job and answers. The pass is given back when its worker can be used again, or when a
    /// new one may be started.
    async fn work(self: Arc<Self>, job: Job, pass: Pass, mut reply: Reply) {
        let mut worker = match self.worker_for(&job).await {
            Ok(worker) => worker,
            Err(error) => {
                // The client may have left meanwhile.
                let _ = reply.send(Err(error));
                return self.pause(pass).await;
            }
        };
        let error = match self.outcome(&mut worker, &job, &mut reply).await {
            Outcome::Done(answer, is_last) => {
                let kept = if is_last {
                    Some(worker)
                } else {
                    self.shelve(worker);
                    None
                };
                drop(pass);
                let _ = reply.send(into_prompt(answer));
                if let Some(worker) = kept {
                    worker.kill().await;
                }
                return;
            }
            Outcome::Lost => worker.cause().await,
            Outcome::TooSlow => {
                worker.kill().await;
                WorkError::TooSlow(self.settings.time)
            }
            Outcome::Left => {
                worker.kill().await;
                tracing::info!("a renderer was ended, its client has left");
                return self.pause(pass).await;
            }
        };
        tracing::warn!(%error, "a renderer was lost");
        let _ = reply.send(Err(error));
        self.pause(pass).await;
    }

    async fn outcome(&self, worker: &mut Worker, job: &Job, reply: &mut Reply) -> Outcome {
        let work = async {
            match worker.render(job).await {
                Ok((answer, is_last)) => Outcome::Done(answer, is_last),
                Err(Lost) => Outcome::Lost,
            }
        };
        let left = async {
            reply.closed().await;
            tokio::time::sleep(LEFT).await;
        };
        tokio::select! {
            biased;
            outcome = work => outcome,
            () = left => Outcome::Left,
            () = tokio::time::sleep(self.settings.time) => Outcome::TooSlow,
        }
    }

    /// Takes the worker that needs to be told the least, or starts one.
    async fn worker_for(&self, job: &Job) -> Result<Worker, WorkError> {
        {
            let mut idle = self.idle();
            idle.retain_mut(Worker::is_alive);
            let best = idle.iter().enumerate().max_by_key(|(index, worker)| {
                let has_subject = worker.subject == job.subject.id;
                let has_template = worker.has_template(job.template.id);
                (has_subject, has_template, *index)
            });
            if let Some((index, _)) = best {
                return Ok(idle.remove(index));
            }
        }
        if self.stopping.is_cancelled() {
            return Err(WorkError::Stopping);
        }
        Worker::start(&self.settings.exe).await
    }

    /// Lets a worker wait for the next job, and ends those that have waited long.
    fn shelve(&self, mut worker: Worker) {
        worker.last_used = tokio::time::Instant::now();
        let mut idle = self.idle();
        idle.retain(|other| other.last_used.elapsed() < IDLE);
        if !self.stopping.is_cancelled() {
            idle.push(worker);
        }
    }

    /// Keeps a pass for a while.
    async fn pause(&self, pass: Pass) {
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => {}
            () = self.stopping.cancelled() => {}
        }
        drop(pass);
    }

    /// Ends a worker that waits with a subject that nobody wants to see rendered again.
    fn forget(&self, subject: u64) {
        self.idle().retain(|worker| worker.subject != subject);
    }
}

fn into_prompt(answer: Answer) -> Result<String, WorkError> {
    match answer {
        Answer::Prompt(prompt) => Ok(prompt),
        Answer::Unparsable(text) => Err(WorkError::Unparsable(RenderError(text))),
        Answer::Failed(text) => Err(WorkError::Failed(RenderError(text))),
        Answer::Ready(_) => Err(WorkError::Ended),
    }
}
