//! A separate daemon for each test.

use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal};
use tempfile::TempDir;

use super::log::Log;
use super::process::{self, Watched};

/// The program under test.
pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_drover");

/// A running daemon with its own store, home and state; it stops when this value is dropped.
pub(crate) struct TestServer {
    pub(crate) log: Log,
    pub(crate) url: String,
    pub(crate) http: reqwest::Client,
    child: Child,
    root: TempDir,
}

/// How to start a daemon.
#[derive(Default)]
pub(crate) struct Builder {
    variables: Vec<(String, String)>,
    root: Option<TempDir>,
    leads_group: bool,
}

impl Builder {
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Starts it as a shell does: as the leader of a process group, which receives the terminal's signals.
    pub(crate) fn leads_group(mut self) -> Self {
        self.leads_group = true;
        self
    }

    /// Uses a folder that has been prepared (`models/` below it is the store).
    pub(crate) fn root(mut self, root: TempDir) -> Self {
        self.root = Some(root);
        self
    }

    /// Starts it and waits until it says where it listens.
    pub(crate) async fn start(self) -> TestServer {
        let root = self.root.unwrap_or_else(|| TempDir::new().unwrap());
        let mut command = hermetic(program(), root.path());
        command
            .arg("serve")
            .env("OLLAMA_HOST", "127.0.0.1:0")
            .envs(self.variables);
        let command = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        if self.leads_group {
            command.process_group(0);
        }
        let mut child = command.spawn().unwrap();
        let log = Log::new();
        log.follow(child.stdout.take().unwrap());
        log.follow(child.stderr.take().unwrap());
        let address = log.wait_for("the address", listening_address).await;
        let url = format!("http://{address}");
        // It is fine if a provider is already installed.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            .no_proxy()
            .tls_certs_only([])
            .build()
            .unwrap();
        TestServer {
            log,
            url,
            http,
            child,
            root,
        }
    }
}

/// The address in a line like `… Listening on 127.0.0.1:40021 …`; for all interfaces, the loopback address.
fn listening_address(line: &str) -> Option<String> {
    let (_, rest) = line.split_once("Listening on ")?;
    let mut address: SocketAddr = rest.split(' ').next()?.parse().ok()?;
    if address.ip().is_unspecified() {
        address.set_ip(Ipv4Addr::LOCALHOST.into());
    }
    Some(address.to_string())
}

/// The program, subject to file permissions like a service: root gives up its right to bypass them. `setpriv` only
/// starts the program, in the same process.
pub(crate) fn program() -> Command {
    if !rustix::process::geteuid().is_root() {
        return Command::new(BINARY);
    }
    let mut command = Command::new("setpriv");
    command.args(["--bounding-set=-dac_override,-dac_read_search", BINARY]);
    command
}

/// A command that does not see this machine's settings.
pub(crate) fn hermetic(mut command: Command, root: &Path) -> Command {
    #[expect(
        clippy::disallowed_methods,
        reason = "where shared libraries and tools are"
    )]
    let inherited = ["PATH", "LD_LIBRARY_PATH"].map(|name| (name, std::env::var_os(name)));
    command.env_clear();
    for (name, value) in inherited {
        if let Some(value) = value {
            command.env(name, value);
        }
    }
    command
        .env("HOME", root.join("home"))
        .env("OLLAMA_MODELS", root.join("models"))
        .env("DROVER_STATE_DIR", root.join("state"))
        .env("TZ", "UTC");
    command
}

impl TestServer {
    /// A daemon with defaults.
    pub(crate) async fn start() -> Self {
        Self::builder().start().await
    }

    pub(crate) fn builder() -> Builder {
        // Most tests check what happened to their models.
        Builder::default().env("OLLAMA_DEBUG", "1")
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The peak of its memory so far, in bytes.
    pub(crate) fn peak_bytes(&self) -> u64 {
        let status = fs_err::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = peak.and_then(|peak| peak.trim().strip_suffix(" kB"));
        1024 * kib.unwrap().parse::<u64>().unwrap()
    }

    /// The folder of everything that belongs to this daemon.
    pub(crate) fn root(&self) -> &Path {
        self.root.path()
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.root().join("models")
    }

    /// Host and port.
    pub(crate) fn address(&self) -> &str {
        self.url.trim_start_matches("http://")
    }

    /// The runners as the system sees them.
    pub(crate) fn runners(&self) -> Vec<process::Child> {
        let mut children = process::children(self.pid());
        children.retain(|child| !child.is_renderer);
        children
    }

    /// The renderers, as the system sees them.
    pub(crate) fn renderers(&self) -> Vec<process::Child> {
        let mut children = process::children(self.pid());
        children.retain(|child| child.is_renderer && !child.is_zombie);
        children
    }

    /// The first renderer. A renderer that the log names may not have set its process name yet.
    pub(crate) async fn renderer(&self) -> Watched {
        let named = async {
            let mut tick = tokio::time::interval(Duration::from_millis(10));
            loop {
                tick.tick().await;
                if let Some(child) = self.renderers().first() {
                    return Watched::new(child.pid);
                }
            }
        };
        let named = tokio::time::timeout(Duration::from_secs(30), named).await;
        named.unwrap_or_else(|_| panic!("no renderer\n{}", self.log.text()))
    }

    /// The only runner.
    pub(crate) fn runner(&self) -> Watched {
        let runners = self.runners();
        assert_eq!(runners.len(), 1, "{runners:?}\n{}", self.log.text());
        Watched::new(runners[0].pid)
    }

    /// Waits until the daemon has no child, not even an uncollected one.
    pub(crate) async fn no_runners(&self) {
        let none = async {
            let mut tick = tokio::time::interval(Duration::from_millis(20));
            while !self.runners().is_empty() {
                tick.tick().await;
            }
        };
        if tokio::time::timeout(Duration::from_secs(20), none)
            .await
            .is_err()
        {
            panic!("still there: {:?}\n{}", self.runners(), self.log.text());
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        rustix::process::kill_process(self.raw_pid(), signal).unwrap();
    }

    /// Signals the process group, as a terminal does for keys such as Ctrl-C.
    pub(crate) fn signal_group(&self, signal: Signal) {
        rustix::process::kill_process_group(self.raw_pid(), signal).unwrap();
    }

    fn raw_pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.pid()).unwrap()).unwrap()
    }

    /// Stops it with a signal and returns its folder.
    pub(crate) async fn stopped(mut self) -> TempDir {
        self.signal(Signal::TERM);
        assert_eq!(self.exit_code().await, Some(0), "{}", self.log.text());
        std::mem::replace(&mut self.root, TempDir::new().unwrap())
    }

    /// Returns the folder of a daemon that has ended.
    pub(crate) fn into_root(mut self) -> TempDir {
        std::mem::replace(&mut self.root, TempDir::new().unwrap())
    }

    /// Waits for the daemon's end and returns its exit code (`None` if it was killed).
    pub(crate) async fn exit_code(&mut self) -> Option<i32> {
        Watched::new(self.pid()).ended("the daemon").await;
        self.child.wait().unwrap().code()
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            println!("--- the daemon's log ---\n{}", self.log.text());
        }
    }
}
