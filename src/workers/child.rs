//! The worker process: it limits itself, reads orders and renders.
//!
//! The main thread reads and another one renders. So when the daemon ends, which closes the channel, the
//! process ends even in the middle of a template. The rendering thread has a larger stack than any honest
//! template needs; a stack overflow ends the process, as does an allocation beyond the limits.

use std::io::{self, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use super::confine::{Memory, confine};
use super::wire::{Answer, Language, Order, Subject, VERSION};
use crate::chat::{Message, Think, ToolDefinition};
use crate::json;
use crate::protocol::framing::MAX_FRAME_BYTES;
use crate::renderer::go::PromptParts;
use crate::renderer::{ChatTemplate, GoTemplate, RenderError, RenderInput, images, keep_from};

/// The stack of the rendering thread, in bytes.
const STACK: usize = 64 << 20;

/// What the thread needs in addition, in bytes.
const MISCELLANEOUS: u64 = 1 << 20;

/// The most nested lists and objects in an order: those of a request, and some around them.
const LEVELS: usize = 500;

/// Capacity of the queue between the two threads: the orders of one job. When it is full, the reader waits.
const ORDERS: usize = 4;

/// After a longer job, the process may hold much memory.
const LONG: Duration = Duration::from_millis(20);

/// The exit code of a rendering that panicked.
const PANICKED: i32 = 101;

/// Runs the worker on standard input, which is one end of a socket pair.
pub fn run() -> ExitCode {
    let channel = io::stdin()
        .as_fd()
        .try_clone_to_owned()
        .map(UnixStream::from);
    match channel.and_then(|channel| serve(&channel)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tell(&format!("the channel failed: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// Writes a message that the daemon reads when this process has ended.
fn tell(words: &str) {
    // An error means that the reader has gone.
    let _ = writeln!(io::stderr(), "{words}");
}

/// Ends the process, whatever the other thread does.
#[expect(
    clippy::exit,
    clippy::disallowed_methods,
    reason = "a template cannot be interrupted, and its result has no reader any more"
)]
fn leave(code: i32) {
    std::process::exit(code);
}

fn serve(channel: &UnixStream) -> io::Result<()> {
    let memory = Arc::new(confine(STACK as u64 + MISCELLANEOUS)?);
    let (orders, inbox) = sync_channel(ORDERS);
    let renderer = Renderer {
        channel: channel.try_clone()?,
        memory: Arc::clone(&memory),
        templates: Vec::new(),
        subject: Task::default(),
        is_new: false,
    };
    let work = move || {
        // Runs on unwinding as well as at the end of the orders.
        let _guard = Leaves;
        renderer.work(&inbox);
    };
    thread::Builder::new()
        .name("render".to_owned())
        .stack_size(STACK)
        .spawn(work)?;
    let ready = Answer::Ready(VERSION.to_owned());
    write(channel, &ready.encode(false))?;
    let result = read(channel, &orders, &memory);
    // End of file: the daemon no longer needs this process, or has ended.
    if result.is_ok() {
        leave(0);
    }
    result
}

/// An order, or why it cannot be parsed: a client may nest values more deeply than the parser allows.
type Received = Result<Order<'static>, serde_json::Error>;

/// Ends the process when its thread ends.
struct Leaves;

impl Drop for Leaves {
    fn drop(&mut self) {
        leave(if thread::panicking() { PANICKED } else { 0 });
    }
}

/// Passes orders on until the channel ends. The size of a subject sets the memory limit before it is
/// parsed.
fn read(
    mut channel: &UnixStream,
    orders: &SyncSender<Received>,
    memory: &Memory,
) -> io::Result<()> {
    let mut subject_len = 0;
    let mut prefix = [0; 4];
    loop {
        match channel.read_exact(&mut prefix) {
            Ok(()) => {}
            Err(error) => {
                return match error.kind() {
                    io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => Ok(()),
                    _ => Err(error),
                };
            }
        }
        let length = u32::from_be_bytes(prefix) as usize;
        if length > MAX_FRAME_BYTES {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "frame too long"));
        }
        memory.allow(length.max(subject_len))?;
        let mut payload = vec![0; length];
        channel.read_exact(&mut payload)?;
        let received: Received =
            serde_json::from_slice(&payload).or_else(|error| deep(&payload).ok_or(error));
        drop(payload);
        // Only a subject can be unreadable: the daemon itself writes everything else.
        if matches!(received, Ok(Order::Subject(_)) | Err(_)) {
            subject_len = length;
            memory.allow(subject_len)?;
        }
        if orders.send(received).is_err() {
            return Ok(());
        }
    }
}

/// Parses an order whose tools or calls are nested more deeply than `serde_json` allows.
fn deep(payload: &[u8]) -> Option<Order<'static>> {
    let text = std::str::from_utf8(payload).ok()?;
    let order = json::deep::parse(text, LEVELS).ok()?;
    serde_json::from_value(order).ok()
}

fn write(mut channel: &UnixStream, payload: &[u8]) -> io::Result<()> {
    let length = u32::try_from(payload.len()).map_err(io::Error::other)?;
    let mut frame = Vec::with_capacity(4 + payload.len());
    frame.extend_from_slice(&length.to_be_bytes());
    frame.extend_from_slice(payload);
    channel.write_all(&frame)
}

/// A parsed template.
enum Loaded {
    Jinja(Box<ChatTemplate>),
    Go(Box<GoTemplate>),
    /// It is not a valid template, and why.
    Broken(RenderError),
}

/// The current subject.
enum Task {
    Conversation {
        messages: Vec<Message>,
        tools: Vec<ToolDefinition>,
        think: Option<Think>,
    },
    Parts {
        prompt: String,
        suffix: String,
        think: Option<Think>,
    },
    /// It cannot be parsed, and why.
    Unreadable(String),
}

impl Default for Task {
    fn default() -> Self {
        Self::Conversation {
            messages: Vec::new(),
            tools: Vec::new(),
            think: None,
        }
    }
}

impl From<Subject<'_>> for Task {
    fn from(subject: Subject<'_>) -> Self {
        match subject {
            Subject::Conversation {
                messages,
                tools,
                think,
            } => Self::Conversation {
                messages: messages.into_iter().map(Message::from).collect(),
                tools: tools.into_owned(),
                think,
            },
            Subject::Parts {
                prompt,
                suffix,
                think,
            } => Self::Parts {
                prompt: prompt.into_owned(),
                suffix: suffix.into_owned(),
                think,
            },
        }
    }
}

/// The state of the rendering thread.
struct Renderer {
    channel: UnixStream,
    memory: Arc<Memory>,
    /// Indexed by place.
    templates: Vec<Option<Loaded>>,
    subject: Task,
    /// An order was processed since the last answer.
    is_new: bool,
}

impl Renderer {
    fn work(mut self, inbox: &Receiver<Received>) {
        while let Ok(received) = inbox.recv() {
            let order = match received {
                Ok(order) => order,
                Err(error) => {
                    self.subject = Task::Unreadable(error.to_string());
                    continue;
                }
            };
            match order {
                Order::Template {
                    place,
                    language,
                    source,
                    bos_token,
                    eos_token,
                } => {
                    self.is_new = true;
                    self.forget(place);
                    let template = load(language, &source, &bos_token, &eos_token);
                    self.templates[place] = Some(template);
                }
                Order::Subject(subject) => {
                    self.is_new = true;
                    // Drop the old subject before parsing the new one.
                    self.subject = Task::default();
                    self.subject = subject.into();
                }
                Order::Render {
                    place,
                    from,
                    max_prompt,
                } => {
                    let started = Instant::now();
                    let answer = self.render(place, from, max_prompt);
                    let may_be_large = self.is_new || started.elapsed() > LONG;
                    let is_last = may_be_large && self.memory.is_much();
                    self.is_new = false;
                    if write(&self.channel, &answer.encode(is_last)).is_err() {
                        return;
                    }
                }
            }
        }
    }

    /// Drops the template at a place.
    fn forget(&mut self, place: usize) {
        if self.templates.len() <= place {
            self.templates.resize_with(place + 1, || None);
        }
        self.templates[place] = None;
    }

    fn render(&self, place: usize, from: usize, max_prompt: usize) -> Answer {
        let rendered = match self.templates.get(place) {
            Some(Some(Loaded::Broken(error))) => return Answer::unparsable(&error.0),
            Some(Some(Loaded::Jinja(template))) => self.subject.with_jinja(template, from),
            Some(Some(Loaded::Go(template))) => self.subject.with_go(template, from),
            _ => return Answer::failed("there is none"),
        };
        match rendered {
            Ok(prompt) if prompt.len() > max_prompt => {
                Answer::failed(&format!("the prompt is longer than {max_prompt} bytes"))
            }
            Ok(prompt) => Answer::Prompt(prompt),
            Err(error) => Answer::failed(&error.0),
        }
    }
}

fn load(language: Language, source: &str, bos_token: &str, eos_token: &str) -> Loaded {
    match language {
        Language::Jinja => match ChatTemplate::parse(source, bos_token, eos_token) {
            Ok(template) => Loaded::Jinja(Box::new(template)),
            Err(error) => Loaded::Broken(error),
        },
        Language::Go => match GoTemplate::parse(source) {
            Ok(template) => Loaded::Go(Box::new(template)),
            Err(error) => Loaded::Broken(error),
        },
    }
}

impl Task {
    fn with_jinja(&self, template: &ChatTemplate, from: usize) -> Result<String, RenderError> {
        match self {
            Self::Conversation {
                messages,
                tools,
                think,
            } => template.render(&RenderInput {
                messages: &images::after_text(&keep_from(messages, from)),
                tools,
                think: *think,
                now: None,
            }),
            Self::Parts { .. } => Err(RenderError("there is none with a suffix".to_owned())),
            Self::Unreadable(reason) => Err(unreadable(reason)),
        }
    }

    fn with_go(&self, template: &GoTemplate, from: usize) -> Result<String, RenderError> {
        match self {
            Self::Conversation {
                messages,
                tools,
                think,
            } => template.render(&RenderInput {
                messages: &images::tagged(&keep_from(messages, from)),
                tools,
                think: *think,
                now: None,
            }),
            Self::Parts {
                prompt,
                suffix,
                think,
            } => template.render_parts(&PromptParts {
                prompt,
                suffix,
                think: *think,
                ..PromptParts::default()
            }),
            Self::Unreadable(reason) => Err(unreadable(reason)),
        }
    }
}

fn unreadable(reason: &str) -> RenderError {
    RenderError(format!("the conversation cannot be read: {reason}"))
}
