//! The task that owns a loaded runner: its channel, its requests in flight, its end.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::stream::SplitStream;
use futures_util::{FutureExt, StreamExt};
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::codec::{Framed, LengthDelimitedCodec};

use super::cancels::Cancels;
use super::mailbox::Mailbox;
use super::outgoing::Outgoing;
use super::pace::Pace;
use super::spawn::Spawned;
use super::{RunnerError, gone};
use crate::metrics::{ModelMetrics, Step};
use crate::protocol::{Command, EmbedResult, Event, RequestId, StepStats, Token, framing};

/// How long a runner may take to end by itself.
const STOP_TIMEOUT: Duration = Duration::from_secs(3);

/// The interval of pings.
const PING_EVERY: Duration = Duration::from_secs(5);

/// A message from a handle to the task.
#[derive(Debug)]
pub(super) enum Request {
    Submit {
        id: RequestId,
        frame: Bytes,
        waiter: Waiter,
    },
    Stop,
}

/// The receiving ends of the handles' channels.
pub(super) struct Receivers {
    pub(super) inbox: mpsc::Receiver<Request>,
    pub(super) cancels: Cancels,
    pub(super) pace: Arc<Pace>,
}

/// The caller that waits for the results of a request.
#[derive(Debug)]
pub(super) enum Waiter {
    Generation(Arc<Mailbox>),
    Embed(oneshot::Sender<Result<EmbedResult, RunnerError>>),
    Tokenize(oneshot::Sender<Result<Vec<Vec<Token>>, RunnerError>>),
    Count(oneshot::Sender<Result<u32, RunnerError>>),
    Detokenize(oneshot::Sender<Result<String, RunnerError>>),
    Place(oneshot::Sender<Result<Option<u32>, RunnerError>>),
}

impl Waiter {
    /// Whether the caller has gone away.
    fn is_gone(&self) -> bool {
        match self {
            Self::Generation(mailbox) => mailbox.is_abandoned(),
            Self::Embed(sender) => sender.is_closed(),
            Self::Tokenize(sender) => sender.is_closed(),
            Self::Count(sender) => sender.is_closed(),
            Self::Detokenize(sender) => sender.is_closed(),
            Self::Place(sender) => sender.is_closed(),
        }
    }

    fn fail(self, error: RunnerError) {
        // A caller that has gone away needs no answer.
        match self {
            Self::Generation(mailbox) => mailbox.fail(error),
            Self::Embed(sender) => drop(sender.send(Err(error))),
            Self::Tokenize(sender) => drop(sender.send(Err(error))),
            Self::Count(sender) => drop(sender.send(Err(error))),
            Self::Detokenize(sender) => drop(sender.send(Err(error))),
            Self::Place(sender) => drop(sender.send(Err(error))),
        }
    }
}

type Stream = SplitStream<Framed<UnixStream, LengthDelimitedCodec>>;

/// Runs until the process has ended and is reaped; by then every waiting request has failed.
pub(super) async fn run(
    spawned: Spawned,
    mut receivers: Receivers,
    silence_timeout: Duration,
    metrics: ModelMetrics,
    ended: oneshot::Sender<()>,
) {
    let Spawned {
        mut child,
        channel,
        mut output,
        ..
    } = spawned;
    let (sink, mut stream) = channel.split();
    let mut connection = Connection {
        outgoing: Outgoing::new(sink),
        requests: HashMap::new(),
        last_sign: Instant::now(),
        pinged: None,
        silence_timeout,
        metrics,
        pace: Arc::clone(&receivers.pace),
    };
    let stopped = connection.serve(&mut receivers, &mut stream).await;
    // Events that the runner sent before it ended still count.
    while let Some(Some(Ok(frame))) = stream.next().now_or_never() {
        connection.receive(&frame);
    }
    if stopped {
        let _ = tokio::time::timeout(STOP_TIMEOUT, async {
            connection.outgoing.finish().await;
            child.wait().await
        })
        .await;
    }
    // Also reaps a process that has ended by itself.
    let _ = child.start_kill();
    let status = child.wait().await;
    connection.metrics.ended(stopped);
    let cause = output.last_words().await;
    if stopped {
        tracing::info!("runner stopped");
    } else {
        match &status {
            Ok(status) => {
                tracing::error!(%status, %cause, "runner ended unexpectedly");
            }
            Err(error) => tracing::error!(%error, "runner was lost"),
        }
    }
    let words = match &status {
        _ if stopped => String::new(),
        Ok(status) if cause.is_empty() => format!(": {status}"),
        _ => format!(": {cause}"),
    };
    // Accept no new requests, then fail all that are pending.
    receivers.inbox.close();
    while let Some(request) = receivers.inbox.recv().await {
        if let Request::Submit { waiter, .. } = request {
            waiter.fail(RunnerError::Gone(words.clone()));
        }
    }
    for (_, waiter) in connection.requests.drain() {
        waiter.fail(RunnerError::Gone(words.clone()));
    }
    let _ = ended.send(());
}

/// The requests in flight on one channel.
struct Connection {
    outgoing: Outgoing,
    requests: HashMap<RequestId, Waiter>,
    /// When the engine last gave a sign of life.
    last_sign: Instant,
    pinged: Option<Instant>,
    silence_timeout: Duration,
    metrics: ModelMetrics,
    pace: Arc<Pace>,
}

impl Connection {
    /// Serves until the channel closes or the runner hangs (false), or a stop is requested (true).
    async fn serve(&mut self, receivers: &mut Receivers, stream: &mut Stream) -> bool {
        let mut watchdog = tokio::time::interval(PING_EVERY.min(self.silence_timeout));
        watchdog.set_missed_tick_behavior(MissedTickBehavior::Delay);
        watchdog.reset();
        loop {
            tokio::select! {
                request = receivers.inbox.recv() => match request {
                    Some(Request::Submit { id, frame, waiter }) => self.submit(id, frame, waiter),
                    Some(Request::Stop) | None => {
                        self.command(&Command::Shutdown);
                        return true;
                    }
                },
                ids = receivers.cancels.read() => for id in ids {
                    self.cancel(id);
                },
                written = self.outgoing.write() => if !written {
                    return false;
                },
                frame = stream.next() => match frame {
                    Some(Ok(frame)) => self.receive(&frame),
                    Some(Err(error)) => {
                        tracing::error!(%error, "the channel to the runner broke");
                        return false;
                    }
                    None => return false,
                },
                _ = watchdog.tick() => if !self.is_alive() {
                    return false;
                },
            }
        }
    }

    /// Sends a request, unless its caller has already gone away.
    fn submit(&mut self, id: RequestId, frame: Bytes, waiter: Waiter) {
        if !waiter.is_gone() {
            self.requests.insert(id, waiter);
            self.outgoing.request(id, frame);
        }
    }

    fn is_alive(&mut self) -> bool {
        match self.pinged {
            Some(pinged) if self.last_sign < pinged => {
                let silence = pinged.elapsed();
                if silence > self.silence_timeout {
                    tracing::error!(
                        silence_s = silence.as_secs(),
                        "the runner does not answer and is killed"
                    );
                    return false;
                }
                true
            }
            _ => {
                self.pinged = Some(Instant::now());
                self.command(&Command::Ping { id: 0 });
                true
            }
        }
    }

    fn command(&mut self, command: &Command) {
        match framing::encode(command) {
            Ok(frame) => self.outgoing.command(frame),
            Err(error) => tracing::error!(%error, "a command cannot be sent"),
        }
    }

    fn cancel(&mut self, id: RequestId) {
        if self.requests.remove(&id).is_none() {
            return;
        }
        if !self.outgoing.withdraw(id) {
            self.command(&Command::Cancel { id });
        }
        self.rest();
    }

    /// Resets the gauges when no request is pending: the engine's last report may predate the cancellation
    /// of its last request.
    fn rest(&self) {
        if self.requests.is_empty() {
            self.metrics.idle();
        }
    }

    fn receive(&mut self, frame: &BytesMut) {
        self.last_sign = Instant::now();
        let event = match framing::decode(frame) {
            Ok(event) => event,
            Err(error) => {
                tracing::error!(%error, "the runner sent a frame that cannot be read");
                return;
            }
        };
        match event {
            Event::Step { updates, stats } => {
                tracing::trace!(?stats, "step");
                self.metrics.step(&step(&stats));
                for update in updates {
                    self.update(update);
                }
            }
            Event::Started {
                id,
                n_prompt,
                is_cut,
            } => {
                if let Some(Waiter::Generation(mailbox)) = self.requests.get(&id) {
                    mailbox.start(n_prompt, is_cut);
                }
            }
            Event::Failed { id, failure } => {
                if let Some(waiter) = self.requests.remove(&id) {
                    waiter.fail(RunnerError::Failed(failure));
                }
            }
            Event::Embedded { id, result } => match self.requests.remove(&id) {
                Some(Waiter::Embed(sender)) => drop(sender.send(Ok(result))),
                other => self.misplaced(other),
            },
            Event::Tokenized { id, tokens } => match self.requests.remove(&id) {
                Some(Waiter::Tokenize(sender)) => drop(sender.send(Ok(tokens))),
                other => self.misplaced(other),
            },
            Event::Counted { id, n_tokens } => match self.requests.remove(&id) {
                Some(Waiter::Count(sender)) => drop(sender.send(Ok(n_tokens))),
                other => self.misplaced(other),
            },
            Event::Detokenized { id, text } => match self.requests.remove(&id) {
                Some(Waiter::Detokenize(sender)) => drop(sender.send(Ok(text))),
                other => self.misplaced(other),
            },
            Event::Placed { id, n_before } => match self.requests.remove(&id) {
                Some(Waiter::Place(sender)) => drop(sender.send(Ok(n_before))),
                other => self.misplaced(other),
            },
            // Pongs, or late events of the load.
            _ => {}
        }
        self.rest();
    }

    fn update(&mut self, update: crate::protocol::Update) {
        let id = update.id;
        let finished = update.finished.is_some();
        if let Some(finished) = &update.finished {
            self.pace.note(finished);
        }
        let Some(Waiter::Generation(mailbox)) = self.requests.get(&id) else {
            return;
        };
        let wanted = mailbox.update(update);
        if finished {
            self.requests.remove(&id);
        } else if !wanted {
            self.cancel(id);
        }
    }

    /// Logs a result of the wrong kind; `None` is a request that was cancelled meanwhile.
    #[expect(clippy::unused_self, reason = "reads as an action of the connection")]
    fn misplaced(&self, waiter: Option<Waiter>) {
        if let Some(waiter) = waiter {
            tracing::error!("the runner sent an answer of the wrong kind");
            waiter.fail(gone());
        }
    }
}

/// Converts a step's numbers for the metrics.
fn step(stats: &StepStats) -> Step {
    Step {
        n_prompt: stats.n_prefill,
        n_cached: stats.n_cached,
        n_generated: stats.n_generated,
        n_drafted: stats.n_drafted,
        n_accepted: stats.n_accepted,
        n_evicted: stats.n_evicted,
        n_parked: stats.n_parked,
        n_preempted: stats.n_preempted,
        n_spilled: stats.n_spilled,
        n_restored: stats.n_restored,
        n_running: stats.n_running,
        n_waiting: stats.n_waiting,
        n_cells: stats.n_cells,
        n_kept: stats.n_kept,
        time: Duration::try_from_secs_f32(stats.step_ms / 1000.0).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gauges(model: &str) -> [f64; 2] {
        let text = crate::metrics::text().unwrap();
        ["running", "waiting"].map(|name| {
            let line = format!("drover_sequences_{name}{{model=\"{model}\"}} ");
            let mut values = text.lines().filter_map(|known| known.strip_prefix(&line));
            values.next().unwrap().parse().unwrap()
        })
    }

    #[tokio::test]
    async fn a_step_that_is_told_late_raises_no_gauge() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let (sink, _) = Framed::new(ours, LengthDelimitedCodec::new()).split();
        let mut connection = Connection {
            outgoing: Outgoing::new(sink),
            requests: HashMap::new(),
            last_sign: Instant::now(),
            pinged: None,
            silence_timeout: Duration::from_secs(60),
            metrics: ModelMetrics::new("late"),
            pace: Arc::default(),
        };
        let step = Event::Step {
            updates: Vec::new(),
            stats: StepStats {
                n_running: 1,
                n_waiting: 2,
                ..StepStats::default()
            },
        };
        let step = BytesMut::from(&*framing::encode(&step).unwrap());
        let waiter = Waiter::Generation(Arc::new(Mailbox::default()));
        connection.requests.insert(1, waiter);
        connection.receive(&step);
        assert_eq!(gauges("late"), [1.0, 2.0]);
        connection.cancel(1);
        assert_eq!(gauges("late"), [0.0, 0.0]);
        connection.receive(&step);
        assert_eq!(gauges("late"), [0.0, 0.0]);
    }
}
