//! The command line in a terminal: keys go in, and what a person would see comes out.
//!
//! The terminal is a real pseudo-terminal of the kernel; its screen is kept by an emulator in this process, so that
//! tests wait for what the screen shows, and nothing else has to be installed.

use std::path::Path;
use std::time::Duration;

use pty_process::{Pty, Size};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Child;
use vt100::Parser;

/// The longest wait for what a screen should show.
const PATIENCE: Duration = Duration::from_secs(60);

/// A program in its own terminal; it is ended when this value is dropped.
pub(crate) struct Terminal {
    child: Child,
    pty: Pty,
    parser: Parser,
    /// Everything that the program wrote.
    written: Vec<u8>,
}

impl Terminal {
    /// Starts a program with that environment (and no other) on a screen of this size.
    pub(super) fn start(command: &std::process::Command, folder: &Path, size: (u16, u16)) -> Self {
        let (pty, pts) = pty_process::open().unwrap();
        pty.resize(Size::new(size.0, size.1)).unwrap();
        let variables = command.get_envs();
        let variables = variables.filter_map(|(name, value)| Some((name, value?)));
        let child = pty_process::Command::new(command.get_program())
            .args(command.get_args())
            .env_clear()
            .envs(variables)
            .env("TERM", "xterm-256color")
            .current_dir(folder)
            .kill_on_drop(true)
            .spawn(pts)
            .unwrap();
        Self {
            child,
            pty,
            parser: Parser::new(cells(size.0), cells(size.1), 0),
            written: Vec::new(),
        }
    }

    /// Presses keys, as the bytes that a terminal sends for them.
    pub(crate) async fn press(&mut self, keys: &str) {
        self.pty.write_all(keys.as_bytes()).await.unwrap();
    }

    /// Changes the size of the terminal; a signal tells the program.
    pub(crate) fn resize(&mut self, rows: u16, columns: u16) {
        self.parser
            .screen_mut()
            .set_size(cells(rows), cells(columns));
        self.pty.resize(Size::new(rows, columns)).unwrap();
    }

    /// Waits until the screen shows exactly this; blanks at the ends of lines are ignored.
    #[track_caller]
    pub(crate) fn shows(&mut self, expected: &str) -> impl Future<Output = ()> {
        let expected = expected.trim_end().to_owned();
        self.wait_for(expected.clone(), move |screen| screen == expected)
    }

    /// Waits until what the screen shows ends like this.
    #[track_caller]
    pub(crate) fn ends_with(&mut self, expected: &str) -> impl Future<Output = ()> {
        let expected = expected.trim_end().to_owned();
        self.wait_for(expected.clone(), move |screen| screen.ends_with(&expected))
    }

    /// Waits until this is somewhere on the screen.
    #[track_caller]
    pub(crate) fn has(&mut self, expected: &str) -> impl Future<Output = ()> {
        let expected = expected.to_owned();
        self.wait_for(expected.clone(), move |screen| screen.contains(&expected))
    }

    /// Waits for the end of the program and returns its exit code.
    pub(crate) async fn exit_code(&mut self) -> Option<i32> {
        let ended = async {
            while self.read().await {}
            self.child.wait().await.unwrap()
        };
        let ended = tokio::time::timeout(PATIENCE, ended).await;
        ended.expect("the program still runs").code()
    }

    /// What the screen shows, without blanks at the ends of lines and empty lines at the end.
    pub(crate) fn screen(&self) -> String {
        let screen = self.parser.screen();
        let rows = screen.rows(0, screen.size().1.get());
        let rows: Vec<String> = rows.map(|row| row.trim_end().to_owned()).collect();
        rows.join("\n").trim_end().to_owned()
    }

    /// The cursor's position: row and column, from 0.
    pub(crate) fn cursor(&self) -> (u16, u16) {
        self.parser.screen().cursor_position()
    }

    /// Everything that the program wrote, including escape sequences.
    pub(crate) fn written(&self) -> String {
        String::from_utf8_lossy(&self.written).into_owned()
    }

    #[track_caller]
    fn wait_for(
        &mut self,
        expected: String,
        is_there: impl Fn(&str) -> bool,
    ) -> impl Future<Output = ()> {
        let caller = std::panic::Location::caller();
        async move {
            let seen = async {
                while !is_there(&self.screen()) {
                    assert!(self.read().await, "the program ended");
                }
            };
            let seen = tokio::time::timeout(PATIENCE, seen).await.is_ok();
            assert!(
                seen,
                "{caller}: expected\n{expected}\n--- but the screen shows\n{}\n---",
                self.screen()
            );
        }
    }

    /// Reads what the program writes next; false at its end.
    async fn read(&mut self) -> bool {
        let mut bytes = [0; 4096];
        // When the last process of a terminal has ended, reading from it fails.
        let Ok(count @ 1..) = self.pty.read(&mut bytes).await else {
            return false;
        };
        self.parser.process(&bytes[..count]);
        self.written.extend_from_slice(&bytes[..count]);
        true
    }
}

fn cells(count: u16) -> std::num::NonZeroU16 {
    std::num::NonZeroU16::new(count).unwrap()
}
