//! The runner's threads: a reader, the engine, a writer.
//!
//! The engine has the calling thread, so that a panic there ends the process with its words. The
//! reader turns frames into commands; when the daemon's end of the channel is gone it ends the
//! process, even in the middle of a decode call. The writer encodes and sends events; when the
//! daemon does not take them the engine waits for it, because no event may be lost.

use std::io::{self, BufReader, BufWriter, Read, Write};
use std::ops::ControlFlow;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, RecvError, SyncSender, TryRecvError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};

use super::backend::{Backend, BackendError};
use super::core::Engine;
use super::draft_model::{self, DraftModel};
use super::log;
use super::reading::{Message, ReadingRoom};
use super::spill::Spill;
use crate::protocol::{Command, DeviceInfo, Event, LoadParams, QuantizeParams, VERSION, framing};

/// Commands that may wait while a step runs; beyond that the daemon's own queue holds them.
const INBOX: usize = 4096;

/// Frames that may wait for the daemon to read.
const OUTBOX: usize = 1024;

/// Longest time for taking commands while sequences run: tokenizing a flood of new requests must
/// not stop those that are being answered.
const INTAKE: Duration = Duration::from_millis(20);

/// Time for writing to disk what is in the cache, before the process ends. The daemon waits a little
/// longer than that.
const CLOSING: Duration = Duration::from_secs(2);

/// Runs the runner role on standard input, which is one end of a socket pair.
pub(super) fn run() -> ExitCode {
    log::install();
    // The second net under end-of-file. It fails only where the system does not know it.
    let _ = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
    let channel = io::stdin()
        .as_fd()
        .try_clone_to_owned()
        .map(UnixStream::from);
    match channel.and_then(|channel| serve(&channel, leave)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("the runner's channel failed: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Ends the process: nobody is left to work for.
#[expect(
    clippy::exit,
    clippy::disallowed_methods,
    reason = "a decode call cannot be interrupted, and its result has no reader any more"
)]
fn leave() {
    std::process::exit(0);
}

/// Serves one channel until it is shut down; `on_gone` is called when the other end vanishes.
pub(super) fn serve(
    channel: &UnixStream,
    on_gone: impl FnOnce() + Send + 'static,
) -> io::Result<()> {
    let (reader, writer) = (channel.try_clone()?, channel.try_clone()?);
    let (messages, inbox) = sync_channel(INBOX);
    let commands = messages.clone();
    let (outbox, events) = sync_channel(OUTBOX);
    let hello = Event::Hello {
        version: VERSION,
        pid: std::process::id(),
    };
    thread::Builder::new()
        .name("reader".to_owned())
        .spawn(move || read(&reader, &commands, on_gone))?;
    let writing = thread::Builder::new()
        .name("writer".to_owned())
        .spawn(move || write(&writer, &events))?;
    let child = Child {
        inbox,
        messages,
        outbox,
    };
    // An error means that the channel is gone, and then nobody is there to hear of it.
    let _ = child.send(hello).and_then(|()| child.start());
    drop(child);
    // What was said last must reach the daemon.
    let _ = writing.join();
    Ok(())
}

/// The channel for reading: sleeps until there is something to read.
///
/// A thread that sleeps in `read` on a Unix socket is also woken by each event that the daemon takes
/// from it, because then there is room for writing; for every token it would take the processor from
/// those that compute. One that sleeps in `poll` is asked what it waits for first.
struct Patient<'a>(&'a UnixStream);

impl Read for Patient<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut readable = [PollFd::new(self.0, PollFlags::IN)];
        // An interruption is told like one of `read`: the caller tries again.
        poll(&mut readable, None)?;
        self.0.read(buffer)
    }
}

fn read(channel: &UnixStream, commands: &SyncSender<Message>, on_gone: impl FnOnce()) {
    let mut reader = BufReader::new(Patient(channel));
    loop {
        match framing::read_frame(&mut reader) {
            Ok(Some(command)) => {
                if commands.send(Message::Command(command)).is_err() {
                    return;
                }
            }
            Ok(None) => break,
            // The daemon died with our events unread, or in the middle of a frame.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::ConnectionReset | io::ErrorKind::UnexpectedEof
                ) =>
            {
                break;
            }
            Err(error) => {
                tracing::error!("a command could not be read: {error}");
                break;
            }
        }
    }
    on_gone();
    // Whoever is still there hears it from here: others can send into the inbox, too.
    let _ = commands.send(Message::Gone);
}

fn write(channel: &UnixStream, events: &Receiver<Event>) {
    let mut writer = BufWriter::new(channel);
    while let Ok(event) = events.recv() {
        if framing::write_frame(&mut writer, &event).is_err() {
            // The reader sees the same end and leaves.
            return;
        }
    }
    let _ = writer.flush();
}

/// The other end is gone.
struct Gone;

impl From<RecvError> for Gone {
    fn from(_: RecvError) -> Self {
        Self
    }
}

/// The engine's ends of the channels.
struct Child {
    inbox: Receiver<Message>,
    /// The way into it, for those whom this thread starts.
    messages: SyncSender<Message>,
    outbox: SyncSender<Event>,
}

impl Child {
    fn send(&self, event: Event) -> Result<(), Gone> {
        self.outbox.send(event).map_err(|_| Gone)
    }

    /// Waits for the first task.
    fn start(&self) -> Result<(), Gone> {
        loop {
            let command = match self.inbox.recv()? {
                Message::Command(command) => command,
                Message::Read(_) => continue,
                Message::Gone => return Err(Gone),
            };
            match command {
                Command::Load(params) => return self.load(&params),
                Command::Quantize(params) => return self.quantize(&params),
                Command::Probe => self.send(Event::Devices { devices: devices() })?,
                Command::Shutdown => return Ok(()),
                // Nothing is loaded that could do it; the daemon does not ask.
                _ => {}
            }
        }
    }

    fn quantize(&self, params: &QuantizeParams) -> Result<(), Gone> {
        #[cfg(feature = "llama")]
        let outcome = {
            let outbox = self.outbox.clone();
            super::backend::llama::quantize(params, move |fraction| {
                // Where the daemon does not keep up, the next word will do.
                let _ = outbox.try_send(Event::LoadProgress { fraction });
            })
        };
        #[cfg(not(feature = "llama"))]
        let outcome = Err(BackendError(format!(
            "this build has no inference library to quantize `{}` with",
            params.source.display()
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
            if !cfg!(feature = "llama") || is_fake(&params.model_path) {
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
        let room = ReadingRoom::open(backend.take_reader(), &info, self.messages.clone());
        let room = match room {
            Ok(room) => room,
            Err(error) => {
                let message = format!("the thread that reads images did not start: {error}");
                return self.send(Event::LoadFailed { message });
            }
        };
        let spill = Spill::open(params, !backend.is_windowed());
        let mut engine = Engine::new(backend, params.embedding, params.speculation);
        engine.spill_to(spill);
        if let Some(draft) = &params.draft {
            let params = draft_model::load_params(params, draft);
            let n_most = draft.n_predict as usize;
            let loaded = load(&params, &mut self.progress()).and_then(|draft| {
                let draft_info = draft.info().clone();
                let draft = DraftModel::new(draft, &engine.backend, n_most)?;
                engine.guess_with(draft);
                Ok(draft_info)
            });
            match loaded {
                Ok(draft) => {
                    info.size_bytes += draft.size_bytes;
                    info.vram_bytes += draft.vram_bytes;
                }
                Err(error) => tracing::warn!(
                    "the draft model `{}` is not used: {error}",
                    params.model_path.display()
                ),
            }
        }
        info.load_ms = started.elapsed().as_secs_f64() * 1000.0;
        self.send(Event::Loaded(Box::new(info)))?;
        self.work(engine, room)
    }

    /// Tells how far the load of a file is.
    fn progress(&self) -> impl FnMut(f32) {
        let mut last = -1.0;
        move |fraction: f32| {
            if fraction - last >= 0.01 {
                last = fraction;
                // A vanished daemon is noticed by the reader.
                let _ = self.send(Event::LoadProgress { fraction });
            }
        }
    }

    fn tell<B: Backend>(&self, engine: &mut Engine<B>) -> Result<(), Gone> {
        let mut events = engine.take_events().into_iter();
        events.try_for_each(|event| self.send(event))
    }

    /// The loop: take commands, compute, tell.
    fn work<B: Backend>(&self, mut engine: Engine<B>, room: ReadingRoom) -> Result<(), Gone> {
        'work: loop {
            if !engine.has_work() && take(self.inbox.recv()?, &mut engine, &room)?.is_break() {
                break;
            }
            let deadline = Instant::now() + INTAKE;
            while !engine.is_running() || Instant::now() < deadline {
                match self.inbox.try_recv() {
                    Ok(message) => {
                        if take(message, &mut engine, &room)?.is_break() {
                            break 'work;
                        }
                    }
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Disconnected) => return Err(Gone),
                }
            }
            // Nobody should wait for a step to hear that a request was accepted.
            self.tell(&mut engine)?;
            if engine.has_work() {
                engine.step();
                self.tell(&mut engine)?;
            }
        }
        engine.close(Instant::now() + CLOSING);
        Ok(())
    }
}

/// Hands a message to whom it is for; breaks at the end of all work.
fn take<B: Backend>(
    message: Message,
    engine: &mut Engine<B>,
    room: &ReadingRoom,
) -> Result<ControlFlow<()>, Gone> {
    match message {
        Message::Gone => return Err(Gone),
        Message::Command(Command::Shutdown) => return Ok(ControlFlow::Break(())),
        Message::Command(command) => match room.take_in(command) {
            Ok(Some(command)) => engine.handle(command),
            Ok(None) => {}
            Err((id, failure)) => engine.fail(id, failure),
        },
        Message::Read(reading) => {
            if room.leaves(&reading) {
                engine.generate_read(reading.id, *reading.params, reading.outcome);
            }
        }
    }
    Ok(ControlFlow::Continue(()))
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
