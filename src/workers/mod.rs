//! Workers: processes that run the templates of models.
//!
//! A template is an untrusted program, in a language that bounds neither memory nor the depth of syntax
//! trees and values. So it is parsed and run in a separate process, `drover renderer` ([`child`]), which
//! limits itself to what a prompt needs. A failure costs one request: the daemon replaces a worker that
//! ends, takes too long or has lost its client.
//!
//! Workers start on demand and then wait for the next job, with their parsed templates. The [`gate`]
//! decides how many there are, and how many one model may keep busy. The pass of a lost worker is returned
//! after a pause, so that a client cannot make the daemon start processes endlessly.

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
pub use gate::Claim;
pub use job::{Conversation, Subject, Template};

use gate::{Gate, Pass};
use job::Job;
use wire::Answer;
use worker::{Lost, Worker};

/// The most requests that may wait for a worker; more are refused. A waiting request takes little memory
/// besides its text.
const MAX_WAITING: usize = 16_384;

/// How long a request waits for a worker.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long a worker whose client has left may take to finish its job: less than a new worker costs.
const LEFT: Duration = Duration::from_millis(100);

/// The pause before a lost worker is replaced.
const PAUSE: Duration = Duration::from_millis(500);

/// How long a worker may be idle; checked whenever another one has finished a job.
const IDLE: Duration = Duration::from_secs(60);

/// The settings of the workers.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Our own executable.
    pub exe: PathBuf,
    /// Longest time for making one prompt.
    pub time: Duration,
    /// The most workers; one model can use half of them.
    pub n_workers: usize,
}

impl Settings {
    /// As many workers as the machine has cores, within limits: of four workers, a template that does not end
    /// can block two.
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
    /// The template is not valid.
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
    /// The reason is in the log.
    #[error("the process that ran the template has ended unexpectedly")]
    Ended,
    #[error("too many requests wait for their prompts, try again later")]
    TooMany,
    /// The reason is in the log.
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
    /// Idle workers; the most recently used one is last.
    idle: Mutex<Vec<Worker>>,
    tasks: TaskTracker,
    stopping: CancellationToken,
}

impl Workers {
    /// Does not start a worker yet.
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

    /// Renders a subject to a prompt, from the message `from` on (all system messages stay). Clients with a
    /// claim take turns. Dropping the future cancels the work.
    ///
    /// # Errors
    /// See [`WorkError`].
    pub async fn render(
        &self,
        template: &Arc<Template>,
        subject: &Arc<Subject>,
        claim: &Claim,
        from: usize,
    ) -> Result<String, WorkError> {
        let pool = &self.pool;
        let pass = tokio::time::timeout(PATIENCE, pool.gate.pass(template.owner, claim));
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

    /// Ends idle workers now, and busy ones as soon as their clients have left.
    pub fn close(&self) {
        self.pool.stopping.cancel();
        self.pool.idle().clear();
    }
}

type Reply = oneshot::Sender<Result<String, WorkError>>;

/// The outcome of a job.
enum Outcome {
    Done(Answer, bool),
    /// The worker closed the channel.
    Lost,
    TooSlow,
    /// The client has left.
    Left,
}

impl Pool {
    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Worker>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does a job and replies. The pass is returned when its worker can be used again, or when a new one
    /// may start.
    async fn work(self: Arc<Self>, job: Job, pass: Pass, mut reply: Reply) {
        let mut worker = match self.worker_for(&job).await {
            Ok(worker) => worker,
            Err(error) => {
                // An error means that the client has left.
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

    /// Takes the idle worker that already has most of the job's input, or starts one.
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

    /// Makes a worker idle, and ends those that have been idle for long.
    fn shelve(&self, mut worker: Worker) {
        worker.last_used = tokio::time::Instant::now();
        let mut idle = self.idle();
        idle.retain(|other| other.last_used.elapsed() < IDLE);
        if !self.stopping.is_cancelled() {
            idle.push(worker);
        }
    }

    /// Holds a pass for a while.
    async fn pause(&self, pass: Pass) {
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => {}
            () = self.stopping.cancelled() => {}
        }
        drop(pass);
    }

    /// Ends an idle worker whose subject is not needed any more.
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
