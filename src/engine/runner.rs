//! The runner's threads: a reader, the engine, a writer, and the prompt workers.
//!
//! The engine runs on the calling thread, so that a panic there ends the process with its message. The
//! reader decodes frames into commands and passes them to the prompt workers; it never blocks, so that
//! cancellations take effect at once. When the daemon closes the channel, the reader ends the process, even
//! in the middle of a decode call. The writer encodes and sends events; when the daemon does not read them,
//! the engine waits, because no event may be lost.

use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};

use super::backend::{Backend, BackendError};
use super::confine::Surroundings;
use super::core::Engine;
use super::draft_model::{self, DraftModel};
use super::host_cache::HostCache;
use super::inbox::{End, Inbox};
use super::intake::{First, Intake, LoadedModel};
use super::log;
use super::measure::measure;
use super::outbox::{Events, Gone, Outbox, outbox};
use super::prepare::PromptWorkers;
use crate::protocol::framing::{self, Incoming};
use crate::protocol::{
    Command, DeviceInfo, Event, LoadParams, LoadedInfo, QuantizeParams, VERSION,
};

/// Time for saving the cache to disk before the process ends. The daemon waits a little longer.
const CLOSING: Duration = Duration::from_secs(2);

/// Runs the runner on standard input, which is one end of a socket pair.
pub(super) fn run(surroundings: Surroundings) -> ExitCode {
    log::install();
    use_rpc_servers(&surroundings);
    // A fallback beside end-of-file. It fails only on systems that do not support it.
    let _ = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
    let channel = io::stdin()
        .as_fd()
        .try_clone_to_owned()
        .map(UnixStream::from);
    let served = channel.and_then(|channel| {
        match framing::write_frame(&mut &channel, &hello()) {
            // The daemon has gone already.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            written => written?,
        }
        // Read before there is another thread, since file rules apply to this thread and those it starts later.
        let first = match framing::read_frame(&mut Patient(&channel)) {
            Ok(Some(Incoming::Message(command))) => Some(command),
            Ok(Some(Incoming::Unreadable(error))) => {
                tracing::error!("a command could not be read: {error}");
                None
            }
            Ok(None) => return Ok(()),
            Err(error) if is_end(&error) => return Ok(()),
            Err(error) => return Err(error),
        };
        if let Some(command) = &first {
            surroundings.begin(command);
        }
        let begun = Begun {
            has_greeted: true,
            first,
            surroundings,
        };
        serve(&channel, leave, begun)
    });
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("the runner's channel failed: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The first event of every runner.
fn hello() -> Event {
    Event::Hello {
        version: VERSION,
        pid: std::process::id(),
    }
}

/// Ends the process: the daemon is gone.
#[expect(
    clippy::exit,
    clippy::disallowed_methods,
    reason = "a decode call cannot be interrupted, and its result has no reader any more"
)]
fn leave() {
    std::process::exit(0);
}

/// How a runner began.
#[derive(Default)]
pub(super) struct Begun {
    /// The first event has been sent.
    pub(super) has_greeted: bool,
    /// The first command, if it has been read.
    pub(super) first: Option<Command>,
    pub(super) surroundings: Surroundings,
}

/// Serves one channel until shutdown; calls `on_gone` when the other end disappears.
pub(super) fn serve(
    channel: &UnixStream,
    on_gone: impl FnOnce() + Send + 'static,
    begun: Begun,
) -> io::Result<()> {
    let (reader, writer) = (channel.try_clone()?, channel.try_clone()?);
    let intake = Arc::new(Intake::default());
    if let Some(first) = begun.first {
        intake.enter(first);
    }
    let entrance = Arc::clone(&intake);
    let (outbox, events) = outbox();
    thread::Builder::new()
        .name("reader".to_owned())
        .spawn(move || read(&reader, &entrance, on_gone))?;
    let writing = thread::Builder::new()
        .name("writer".to_owned())
        .spawn(move || write(&writer, events))?;
    let child = Child {
        intake,
        outbox,
        surroundings: begun.surroundings,
    };
    // An error means that the channel is gone, so it cannot be reported.
    let greeted = match begun.has_greeted {
        true => Ok(()),
        false => child.send(hello()),
    };
    let _ = greeted.and_then(|()| child.start());
    child.outbox.close();
    // The last events must reach the daemon.
    let _ = writing.join();
    Ok(())
}

/// Reads from the channel; sleeps in `poll` until there is input.
///
/// A thread that sleeps in `read` on a Unix socket also wakes up whenever the daemon reads an event, because
/// then there is room for writing; so for every token it would take CPU time from the computing threads. A
/// thread in `poll` wakes up only for input.
struct Patient<'a>(&'a UnixStream);

impl Read for Patient<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut readable = [PollFd::new(self.0, PollFlags::IN)];
        // `EINTR` is returned as from `read`: the caller retries.
        poll(&mut readable, None)?;
        self.0.read(buffer)
    }
}

fn read(channel: &UnixStream, intake: &Intake, on_gone: impl FnOnce()) {
    let mut reader = BufReader::new(Patient(channel));
    loop {
        match framing::read_frame(&mut reader) {
            Ok(Some(Incoming::Message(command))) => intake.enter(command),
            // An invalid frame must not affect others.
            Ok(Some(Incoming::Unreadable(error))) => {
                tracing::error!("a command could not be read: {error}");
            }
            Ok(None) => break,
            Err(error) if is_end(&error) => break,
            Err(error) => {
                tracing::error!("the channel could not be read: {error}");
                break;
            }
        }
    }
    on_gone();
    // Pending requests fail here.
    intake.close();
}

/// Whether the daemon died with our events unread, or in the middle of a frame.
fn is_end(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionReset | io::ErrorKind::UnexpectedEof
    )
}

fn write(channel: &UnixStream, events: Events) {
    let mut writer = BufWriter::new(channel);
    for event in events {
        if framing::write_frame(&mut writer, &event).is_err() {
            // The reader notices the closed channel, too, and ends.
            return;
        }
    }
    let _ = writer.flush();
}

/// The engine's ends of the channels.
struct Child {
    intake: Arc<Intake>,
    outbox: Outbox,
    surroundings: Surroundings,
}

impl Child {
    fn send(&self, event: Event) -> Result<(), Gone> {
        self.outbox.tell(event)
    }

    /// Waits for the first task.
    fn start(&self) -> Result<(), Gone> {
        loop {
            match self.intake.first() {
                First::Command(Command::Load(params)) => return self.load(&params),
                First::Command(Command::Quantize(params)) => return self.quantize(&params),
                First::Command(Command::Probe) => {
                    self.send(Event::Devices { devices: devices() })?;
                }
                First::Command(Command::Measure(params)) => self.send(match measure(&params) {
                    Ok(measured) => Event::Measured(measured),
                    Err(BackendError(message)) => Event::LoadFailed { message },
                })?,
                First::Command(Command::Shutdown) => return Ok(()),
                // No model is loaded; a correct daemon sends no other command.
                First::Command(_) => {}
                First::Closed => return Err(Gone),
            }
        }
    }

    fn quantize(&self, params: &QuantizeParams) -> Result<(), Gone> {
        #[cfg(feature = "llama")]
        let outcome = {
            let outbox = self.outbox.clone();
            super::backend::llama::quantize(params, move |fraction| {
                outbox.mention(Event::LoadProgress { fraction });
            })
        };
        #[cfg(not(feature = "llama"))]
        let outcome = Err(BackendError(format!(
            "this build has no inference library to quantize `{}` with",
            params.source.path.display()
        )));
        self.send(match outcome {
            Ok(()) => Event::Quantized,
            Err(BackendError(message)) => Event::LoadFailed { message },
        })
    }

    fn load(&self, params: &LoadParams) -> Result<(), Gone> {
        if let Err(message) = params.check() {
            return self.send(Event::LoadFailed { message });
        }
        #[cfg(any(test, feature = "fake"))]
        {
            use super::backend::fake::{Fake, is_fake};
            if !cfg!(feature = "llama") || is_fake(&params.model.path) {
                return self.load_with(params, Fake::load);
            }
        }
        #[cfg(feature = "llama")]
        {
            self.load_with(params, super::backend::llama::Llama::load)
        }
        #[cfg(not(feature = "llama"))]
        {
            self.send(Event::LoadFailed {
                message: "this build has no inference library".to_owned(),
            })
        }
    }

    fn load_with<B: Backend + 'static>(
        &self,
        params: &LoadParams,
        load: impl Fn(&LoadParams, &mut dyn FnMut(f32)) -> Result<B, BackendError>,
    ) -> Result<(), Gone> {
        let started = Instant::now();
        let mut backend = match load(params, &mut self.progress()) {
            Ok(backend) => backend,
            Err(error) => {
                let message = error.to_string();
                return self.send(Event::LoadFailed { message });
            }
        };
        let mut info = backend.info().clone();
        let encoder = backend.take_encoder();
        let host = HostCache::open(params, !backend.is_windowed());
        let mut engine = Engine::new(backend, params.embedding, params.speculation);
        engine.keep_in(host);
        if let Some(draft) = &params.draft {
            let params = draft_model::load_params(params, draft);
            let n_most = draft.n_predict as usize;
            let loaded = load(&params, &mut self.progress()).and_then(|draft| {
                let draft_info = draft.info().clone();
                let draft = DraftModel::new(draft, &engine.executor.backend, n_most)?;
                engine.draft_with(draft);
                Ok(draft_info)
            });
            match loaded {
                Ok(draft) => {
                    info.size_bytes += draft.size_bytes;
                    info.vram_bytes += draft.vram_bytes;
                    info.memory.add_draft(&draft.memory);
                }
                Err(error) => tracing::warn!(
                    "the draft model `{}` is not used: {error}",
                    params.model.path.display()
                ),
            }
        }
        // The threads that work on requests are started below.
        self.surroundings.loaded(params, uses_gpu(&info));
        let inbox = Arc::new(Inbox::new(engine.interrupt()));
        let waker = Arc::clone(&inbox);
        engine.wake_with(move || waker.wake());
        let outbox = self.outbox.clone();
        let workers = match PromptWorkers::open(engine.terms(), encoder, Arc::clone(&inbox), outbox)
        {
            Ok(workers) => workers,
            Err(error) => {
                let message = format!("the threads that prepare requests did not start: {error}");
                return self.send(Event::LoadFailed { message });
            }
        };
        let sink = LoadedModel {
            workers,
            inbox: Arc::clone(&inbox),
        };
        self.intake.open(Box::new(sink));
        info.load_ms = started.elapsed().as_secs_f64() * 1000.0;
        self.send(Event::Loaded(Box::new(info)))?;
        self.work(engine, &inbox)
    }

    /// Reports the progress of a load.
    fn progress(&self) -> impl FnMut(f32) {
        let mut last = -1.0;
        move |fraction: f32| {
            if fraction - last >= 0.01 {
                last = fraction;
                // The reader notices when the daemon is gone.
                let _ = self.send(Event::LoadProgress { fraction });
            }
        }
    }

    fn tell<B: Backend>(&self, engine: &mut Engine<B>) -> Result<(), Gone> {
        let mut events = engine.take_events().into_iter();
        events.try_for_each(|event| self.send(event))
    }

    /// The loop: receive, compute, send.
    fn work<B: Backend>(
        &self,
        mut engine: Engine<B>,
        inbox: &Inbox<B::Sampler>,
    ) -> Result<(), Gone> {
        let mut is_idle = false;
        loop {
            if is_idle || !engine.has_work() {
                inbox.wait();
            }
            let mail = inbox.take();
            match mail.end {
                Some(End::Gone) => return Err(Gone),
                Some(End::Shutdown) => break,
                None => {}
            }
            engine.cancel(&mail.cancelled);
            for id in mail.pings {
                engine.pong(id);
            }
            for (_, prepared) in mail.prepared {
                engine.enter(prepared);
            }
            for (id, of) in mail.places {
                engine.place(id, of);
            }
            // Send the events for accepted requests before the step instead of after it.
            self.tell(&mut engine)?;
            if engine.has_work() {
                is_idle = !engine.step();
                self.tell(&mut engine)?;
            }
        }
        engine.close(Instant::now() + CLOSING);
        Ok(())
    }
}

/// Whether a GPU driver may be in use, even if only for a projector.
fn uses_gpu(info: &LoadedInfo) -> bool {
    info.vram_bytes > 0 || devices().iter().any(|device| device.is_gpu)
}

fn use_rpc_servers(surroundings: &Surroundings) {
    #[cfg(feature = "llama")]
    super::backend::llama::rpc::use_servers(surroundings.rpc_servers.clone());
}

fn devices() -> Vec<DeviceInfo> {
    #[cfg(feature = "llama")]
    {
        super::backend::llama::devices()
    }
    #[cfg(not(feature = "llama"))]
    {
        Vec::new()
    }
}
