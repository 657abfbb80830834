//! Starts a runner with one end of a socket pair as its standard input.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::Stdio;

use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio_util::codec::{Framed, LengthDelimitedCodec};
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use super::limits;
use super::log::{LastLines, Output, follow};
use crate::config::env;
use crate::protocol::framing::MAX_FRAME_BYTES;

/// How long llama.cpp's threads spin before they sleep when they wait for each other, in rounds. The
/// default spins for milliseconds, which slows everything down as soon as another process needs a core;
/// without spinning, even an idle machine is much slower. Measured on two cores with a small model and one
/// sequence: 77 tokens/s by default, 28 without spinning, 76 with this.
const SPIN_COUNT: (&str, &str) = ("GOMP_SPINCOUNT", "2000");

/// The variable that a user may have set for the same purpose.
const WAIT_POLICY: &str = "OMP_WAIT_POLICY";

/// Keeps ggml from starting a debugger when the process fails: it would print pages, and stop the process
/// while clients wait.
const NO_BACKTRACE: &str = "GGML_NO_BACKTRACE";

/// A started process; dropping it kills the process.
#[derive(Debug)]
pub(super) struct Spawned {
    pub(super) child: Child,
    pub(super) pid: u32,
    pub(super) channel: Framed<UnixStream, LengthDelimitedCodec>,
    pub(super) output: Output,
}

/// Starts `<exe> runner`; its output goes to the log under the span `runner`.
///
/// It inherits little of our environment ([`env::inherited`]) and gets its own process group: Ctrl-C at the
/// terminal reaches only the daemon, which lets answers finish. It inherits no open files, since all our
/// files are close-on-exec.
pub(super) fn spawn(exe: &Path, model: &str, tasks: &TaskTracker) -> io::Result<Spawned> {
    let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
    ours.set_nonblocking(true)?;
    let mut command = Command::new(exe);
    command.env_clear().envs(env::inherited()).process_group(0);
    let wants_dumps = env::process(NO_BACKTRACE).is_some_and(|value| value == "0");
    if wants_dumps {
        command.env_remove(NO_BACKTRACE);
    } else {
        command.env(NO_BACKTRACE, "1");
    }
    if [SPIN_COUNT.0, WAIT_POLICY]
        .iter()
        .all(|name| env::process(name).is_none())
    {
        command.env(SPIN_COUNT.0, SPIN_COUNT.1);
    }
    let mut child = command
        .arg("runner")
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let pid = child.id().unwrap_or_default();
    limits::at_start(pid, wants_dumps);
    let lines = LastLines::default();
    let span = tracing::info_span!("runner", model, pid);
    let mut readers = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        readers.push(tasks.spawn(follow(stdout, lines.clone()).instrument(span.clone())));
    }
    if let Some(stderr) = child.stderr.take() {
        readers.push(tasks.spawn(follow(stderr, lines.clone()).instrument(span)));
    }
    let codec = LengthDelimitedCodec::builder()
        .max_frame_length(MAX_FRAME_BYTES)
        .new_codec();
    let channel = Framed::new(UnixStream::from_std(ours)?, codec);
    Ok(Spawned {
        child,
        pid,
        channel,
        output: Output::new(lines, readers),
    })
}
