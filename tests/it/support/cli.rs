//! Runs the command line as a user's script would: no terminal, nothing of this machine's settings.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::AsyncWriteExt as _;

use super::{BINARY, Terminal, TestServer, hermetic, variable};

/// The longest run of one command.
const PATIENCE: Duration = Duration::from_secs(120);

/// The program with its settings; it can run several commands.
pub(crate) struct Drover {
    program: PathBuf,
    host: String,
    home: TempDir,
    variables: Vec<(String, String)>,
}

/// The output of a command.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Output {
    /// Fails unless the command succeeded; returns its standard output.
    #[track_caller]
    pub(crate) fn ok(self) -> String {
        assert_eq!(self.code, Some(0), "{self:?}");
        self.stdout
    }

    /// Fails unless it ended with status 1 and one line about it; returns the line.
    #[track_caller]
    pub(crate) fn failed(self) -> String {
        assert_eq!((self.code, self.stdout.as_str()), (Some(1), ""), "{self:?}");
        self.stderr
    }
}

impl Drover {
    /// For the daemon of `server`.
    pub(crate) fn of(server: &TestServer) -> Self {
        Self::at(server.address())
    }

    /// For the daemon at that address.
    pub(crate) fn at(host: &str) -> Self {
        Self {
            program: PathBuf::from(BINARY),
            host: host.to_owned(),
            home: TempDir::new().unwrap(),
            variables: Vec::new(),
        }
    }

    /// Sets a variable of the environment.
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Runs under another name.
    pub(crate) fn named(mut self, name: &str) -> Self {
        let link = self.home.path().join(name);
        std::os::unix::fs::symlink(BINARY, &link).unwrap();
        self.program = link;
        self
    }

    /// The working folder of the commands.
    pub(crate) fn folder(&self) -> &Path {
        self.home.path()
    }

    pub(crate) async fn run(&self, args: &[&str]) -> Output {
        self.run_with(args, "").await
    }

    /// Starts a command in a terminal of this size (rows, columns).
    pub(crate) fn at_terminal(&self, args: &[&str], size: (u16, u16)) -> Terminal {
        Terminal::start(&self.command(args), self.home.path(), size)
    }

    /// The file of a conversation's history.
    pub(crate) fn history(&self) -> PathBuf {
        self.home.path().join("state/history")
    }

    /// Runs a shell's script in which the program is a command.
    pub(crate) async fn shell(&self, shell: &str, script: &str) -> Output {
        let mut command = self.command_of(Path::new(shell), &["-c", script]);
        let path = variable("PATH").unwrap_or_default();
        let folder = self.program.parent().unwrap();
        command.env("PATH", format!("{}:{path}", folder.display()));
        finish(command, "").await
    }

    fn command(&self, args: &[&str]) -> std::process::Command {
        self.command_of(&self.program, args)
    }

    fn command_of(&self, program: &Path, args: &[&str]) -> std::process::Command {
        let command = std::process::Command::new(program);
        let mut command = hermetic(command, self.home.path());
        command
            .args(args)
            .env("OLLAMA_HOST", &self.host)
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .current_dir(self.home.path());
        command
    }

    /// Runs a command with that standard input.
    pub(crate) async fn run_with(&self, args: &[&str], input: &str) -> Output {
        finish(self.command(args), input).await
    }
}

/// Runs a command to its end.
async fn finish(command: std::process::Command, input: &str) -> Output {
    let mut command = tokio::process::Command::from(command);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.kill_on_drop(true).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input.as_bytes()).await.unwrap();
    drop(stdin);
    let output = tokio::time::timeout(PATIENCE, child.wait_with_output()).await;
    let output = output.unwrap_or_else(|_| panic!("{command:?} still runs"));
    let output = output.unwrap();
    Output {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}
