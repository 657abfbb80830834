//! Inspects processes: parents and children, ended processes, zombies.

use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

/// The longest wait for a process to end.
const PATIENCE: Duration = Duration::from_secs(20);

/// A process that will not be confused with a later one of the same id.
#[derive(Debug)]
pub(crate) struct Watched {
    pub(crate) pid: u32,
    start_time: String,
}

impl Watched {
    pub(crate) fn new(pid: u32) -> Self {
        let start_time = Stat::of(pid).expect("a process").start_time;
        Self { pid, start_time }
    }

    /// Waits for its end; `who` is used in the failure's message.
    pub(crate) async fn ended(&self, who: &str) {
        let ended = async {
            // The system only reports the end of one's own children.
            let mut tick = tokio::time::interval(Duration::from_millis(10));
            while self.runs() {
                tick.tick().await;
            }
        };
        if tokio::time::timeout(PATIENCE, ended).await.is_err() {
            panic!("{who} (process {}) still runs after {PATIENCE:?}", self.pid)
        }
    }

    fn runs(&self) -> bool {
        let stat = Stat::of(self.pid);
        stat.is_some_and(|stat| {
            // Its first thread may end before the others; until then it cannot be reaped.
            stat.start_time == self.start_time && (!stat.is_zombie || n_threads(self.pid) > 1)
        })
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(to_pid(self.pid), signal).unwrap();
    }
}

fn n_threads(pid: u32) -> usize {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task"));
    threads.map_or(0, Iterator::count)
}

fn to_pid(pid: u32) -> Pid {
    Pid::from_raw(i32::try_from(pid).unwrap()).unwrap()
}

/// A child as `/proc` shows it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Child {
    pub(crate) pid: u32,
    /// Ended, but not reaped by its parent.
    pub(crate) is_zombie: bool,
    /// Whether it renders prompts; all others are runners.
    pub(crate) is_renderer: bool,
}

/// The children of a process.
pub(crate) fn children(parent: u32) -> Vec<Child> {
    let mut found = Vec::new();
    for entry in fs_err::read_dir("/proc").unwrap() {
        let name = entry.unwrap().file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        // A process may end while it is being inspected.
        let Some(stat) = Stat::of(pid) else { continue };
        if stat.parent == parent.to_string() {
            found.push(Child {
                pid,
                is_zombie: stat.is_zombie,
                // The process sets this name after its start.
                is_renderer: stat.name == "drover-renderer" || role(pid) == "renderer",
            });
        }
    }
    found
}

/// The first argument of a process.
fn role(pid: u32) -> String {
    let words = fs_err::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let mut words = words.split(|byte| *byte == 0).skip(1);
    String::from_utf8_lossy(words.next().unwrap_or_default()).into_owned()
}

/// What `/proc/<pid>/stat` says.
struct Stat {
    name: String,
    is_zombie: bool,
    parent: String,
    start_time: String,
}

impl Stat {
    fn of(pid: u32) -> Option<Self> {
        let text = fs_err::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name in parentheses may itself contain anything.
        let (start, rest) = text.rsplit_once(") ")?;
        let (_, name) = start.split_once('(')?;
        let fields: Vec<&str> = rest.split(' ').collect();
        Some(Self {
            name: name.to_owned(),
            is_zombie: *fields.first()? == "Z",
            parent: (*fields.get(1)?).to_owned(),
            start_time: (*fields.get(19)?).to_owned(),
        })
    }
}
