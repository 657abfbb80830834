//! The daemon's end of a worker: the process, and the templates that it holds.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt as _};
use serde::Serialize;
use tokio::io::AsyncReadExt as _;
use tokio::net::UnixStream;
use tokio::process::{Child, ChildStderr, Command};
use tokio::time::Instant;
use tokio_util::codec::{Framed, LengthDelimitedCodec};

use super::wire::{Answer, Order, VERSION};
use super::{Job, WorkError};
use crate::config::env;
use crate::protocol::framing::{self, MAX_FRAME_BYTES};

/// How many templates a worker holds. The first place is for templates that are used once.
const PLACES: usize = 8;

/// How long a worker may take to start; a machine that just woke up can be slow.
const START: Duration = Duration::from_secs(20);

/// How long a worker may take to end after closing the channel.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// How much of its last output is read, in bytes.
const MAX_WORDS: u64 = 4096;

/// The environment variables that a worker inherits: time zone, library path, whether there is a sandbox.
const ENVIRONMENT: &[&str] = &["TZ", "TZDIR", "LD_LIBRARY_PATH", "DROVER_SANDBOX"];

/// A started worker; dropping it kills the process.
#[derive(Debug)]
pub(super) struct Worker {
    child: Child,
    stderr: Option<ChildStderr>,
    channel: Framed<UnixStream, LengthDelimitedCodec>,
    /// The templates that it holds, by place; zero = none.
    places: [u64; PLACES],
    /// The place of the next template.
    next_place: usize,
    /// The subject that it holds.
    pub(super) subject: u64,
    pub(super) last_used: Instant,
}

/// It closed the channel, or sent an invalid answer.
#[derive(Debug)]
pub(super) struct Lost;

impl Worker {
    /// Starts `<exe> renderer` and waits until it is ready.
    pub(super) async fn start(exe: &Path) -> Result<Self, WorkError> {
        match Self::try_start(exe).await {
            Ok(worker) => Ok(worker),
            Err(reason) => {
                tracing::error!(reason, "no renderer could be started");
                Err(WorkError::Start)
            }
        }
    }

    async fn try_start(exe: &Path) -> Result<Self, String> {
        let mut worker = Self::spawn(exe).map_err(|error| error.to_string())?;
        match tokio::time::timeout(START, worker.receive()).await {
            Ok(Ok((Answer::Ready(version), _))) if version == VERSION => Ok(worker),
            Ok(Ok(_)) => Err("the drover executable was replaced; restart the daemon".to_owned()),
            Ok(Err(Lost)) => Err(worker.last_words().await),
            Err(_) => Err(format!("no answer in {START:?}")),
        }
    }

    fn spawn(exe: &Path) -> std::io::Result<Self> {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let environment = ENVIRONMENT
            .iter()
            .filter_map(|name| Some((name, env::process(name)?)));
        let mut child = Command::new(exe)
            .arg("renderer")
            .env_clear()
            .envs(environment)
            // Otherwise the C library reserves address space for each thread, which the limit would count.
            .env("MALLOC_ARENA_MAX", "1")
            // No debugger is started here.
            .env("GGML_NO_BACKTRACE", "1")
            .current_dir("/")
            // Ctrl-C must reach only the daemon, which lets answers finish.
            .process_group(0)
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let stderr = child.stderr.take();
        let codec = LengthDelimitedCodec::builder()
            .max_frame_length(MAX_FRAME_BYTES)
            .new_codec();
        let worker = Self {
            child,
            stderr,
            channel: Framed::new(UnixStream::from_std(ours)?, codec),
            places: [0; PLACES],
            next_place: 1,
            subject: 0,
            last_used: Instant::now(),
        };
        tracing::debug!(pid = worker.child.id(), "a renderer was started");
        Ok(worker)
    }

    /// Whether it still runs; it may have been killed while idle.
    pub(super) fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    pub(super) fn has_template(&self, template: u64) -> bool {
        self.places.contains(&template)
    }

    /// Runs a job; the flag says that the worker takes no more jobs. If the future is dropped, the worker
    /// cannot be used again.
    pub(super) async fn render(&mut self, job: &Job) -> Result<(Answer, bool), Lost> {
        let template = &job.template;
        let place = match self.places.iter().position(|id| *id == template.id) {
            Some(place) => place,
            None => {
                let place = if template.is_guest() {
                    0
                } else {
                    let place = self.next_place;
                    self.next_place = place % (PLACES - 1) + 1;
                    place
                };
                self.feed(&template.order(place)).await?;
                self.places[place] = template.id;
                place
            }
        };
        if self.subject != job.subject.id {
            let frame = job.subject.frame.clone();
            self.channel.feed(frame).await.map_err(|_| Lost)?;
            self.subject = job.subject.id;
        }
        let order = Order::Render {
            place,
            from: job.from,
            max_prompt: job.max_prompt(),
        };
        self.feed(&order).await?;
        SinkExt::<Bytes>::flush(&mut self.channel)
            .await
            .map_err(|_| Lost)?;
        self.receive().await
    }

    async fn feed(&mut self, order: &impl Serialize) -> Result<(), Lost> {
        let frame: Bytes = framing::encode(order).map_err(|_| Lost)?;
        self.channel.feed(frame).await.map_err(|_| Lost)
    }

    async fn receive(&mut self) -> Result<(Answer, bool), Lost> {
        match self.channel.next().await {
            Some(Ok(frame)) => Answer::decode(&frame).ok_or(Lost),
            Some(Err(_)) | None => Err(Lost),
        }
    }

    /// Kills it and reaps it.
    pub(super) async fn kill(mut self) {
        // An error means that it was already reaped.
        let _ = self.child.kill().await;
    }

    /// Returns why a worker that closed the channel has ended.
    pub(super) async fn cause(mut self) -> WorkError {
        let words = self.last_words().await;
        if words.contains("overflowed its stack") {
            WorkError::TooDeep
        } else if words.contains("memory allocation of") {
            WorkError::TooLarge
        } else {
            // Not for clients: it may contain paths of the build machine.
            tracing::error!(words, "a renderer has ended unexpectedly");
            WorkError::Ended
        }
    }

    /// Its last output, or else its exit status.
    async fn last_words(&mut self) -> String {
        let ended = tokio::time::timeout(LAST_WORDS, self.child.wait()).await;
        let status = match ended {
            Ok(Ok(status)) => status.to_string(),
            Ok(Err(error)) => error.to_string(),
            Err(_) => {
                let _ = self.child.kill().await;
                "it hung up".to_owned()
            }
        };
        let mut words = Vec::new();
        if let Some(stderr) = self.stderr.take() {
            let mut stderr = stderr.take(MAX_WORDS);
            let read = stderr.read_to_end(&mut words);
            // No other process should hold the pipe's other end, but if one does, do not wait forever.
            let _ = tokio::time::timeout(LAST_WORDS, read).await;
        }
        let words = String::from_utf8_lossy(&words);
        let lines: Vec<&str> = words.lines().filter(|line| !line.is_empty()).collect();
        if lines.is_empty() {
            status
        } else {
            format!("{status}: {}", lines.join("; "))
        }
    }
}
