//! The limits that a worker sets on itself before it reads anything.

use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

use fs_err::File;
use rustix::process::{
    DumpableBehavior, Resource, Rlimit, Signal, getrlimit, nice, set_dumpable_behavior,
    set_parent_process_death_signal, setrlimit,
};

use crate::config::env::{process, wants_sandbox};
use crate::sandbox::{self, Files};

/// Memory that a template may use for a small subject, in bytes: its syntax tree, the C library's reserves,
/// and intermediate values.
const ALLOWANCE: u64 = 192 << 20;

/// In addition, for each byte of the subject: it exists as input, as values and as text, each more than
/// once.
const FACTOR: u64 = 8;

/// The most for any subject.
const MAX_ALLOWANCE: u64 = 2 << 30;

/// How much more memory than at its start a worker may keep between two jobs.
const MAX_RESIDENT: u64 = 64 << 20;

/// File descriptors: standard ones, the channel twice, the status file, the time zone's files.
const MAX_FILES: u64 = 16;

/// The increment of the `nice` command without an argument.
const NICE: i32 = 10;

/// Limits this process permanently; `needed` is memory in bytes that is allocated later and does not count.
///
/// # Errors
/// The system does not report the process's memory.
pub(super) fn confine(needed: u64) -> io::Result<Memory> {
    // A fallback for end-of-file. Like the next four, it fails only on systems that do not support it.
    let _ = set_parent_process_death_signal(Some(Signal::KILL));
    // The name in `ps` and `top`.
    let _ = fs_err::write("/proc/self/comm", "drover-renderer");
    // When memory runs out, the kernel should kill this process rather than the daemon.
    let _ = fs_err::write("/proc/self/oom_score_adj", "1000");
    // Running generations have priority.
    let _ = nice(NICE);
    let memory = Memory::new(needed)?;
    if wants_sandbox() {
        close();
    }
    // No core dump, neither to a file nor to a collector.
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    limit(Resource::Core, 0, 0)?;
    limit(Resource::Fsize, 0, 0)?;
    limit(Resource::Nofile, MAX_FILES, MAX_FILES)?;
    memory.allow(0)?;
    Ok(memory)
}

/// Leaves only the files of the time zone accessible, and refuses system calls that a worker does not need. A
/// kernel without support runs without this; the limits below apply everywhere.
fn close() {
    let zones = ["/usr/share/zoneinfo", "/etc/localtime", "/etc/timezone"].map(PathBuf::from);
    let own = process("TZDIR").map(PathBuf::from);
    let files = Files {
        connect: Vec::new(),
        read: zones.into_iter().chain(own).collect(),
        write: Vec::new(),
    };
    let _ = sandbox::limit_files(&files);
    let _ = sandbox::limit_calls();
}

/// Sets a soft and a hard limit, below those that were set from outside.
fn limit(resource: Resource, current: u64, maximum: u64) -> io::Result<()> {
    let hard = getrlimit(resource).maximum.unwrap_or(u64::MAX);
    let limit = Rlimit {
        current: Some(current.min(hard)),
        maximum: Some(maximum.min(hard)),
    };
    Ok(setrlimit(resource, limit)?)
}

/// The memory of this process.
#[derive(Debug)]
pub(super) struct Memory {
    status: File,
    /// Address space besides a template's, in bytes, including libraries, which can be large.
    base: u64,
    /// Resident memory at the start, in bytes.
    resident: u64,
}

impl Memory {
    fn new(needed: u64) -> io::Result<Self> {
        let status = File::open("/proc/self/status")?;
        let (size, resident) = read(&status)?;
        Ok(Self {
            status,
            base: size.saturating_add(needed),
            resident,
        })
    }

    /// Sets the limit for a subject of this many bytes.
    ///
    /// # Errors
    /// The system refuses.
    pub(super) fn allow(&self, subject: usize) -> io::Result<()> {
        let wanted = FACTOR.saturating_mul(subject as u64);
        let allowance = ALLOWANCE.saturating_add(wanted).min(MAX_ALLOWANCE);
        let most = self.base.saturating_add(MAX_ALLOWANCE);
        limit(Resource::As, self.base.saturating_add(allowance), most)
    }

    /// Whether it holds so much memory that a new process would be much smaller.
    pub(super) fn is_much(&self) -> bool {
        // A worker whose memory is unknown is replaced.
        read(&self.status).map_or(true, |(_, resident)| {
            resident > self.resident.saturating_add(MAX_RESIDENT)
        })
    }
}

/// Address space and resident memory, in bytes.
fn read(status: &File) -> io::Result<(u64, u64)> {
    let mut text = [0; 2048];
    let length = status.file().read_at(&mut text, 0)?;
    let text = String::from_utf8_lossy(&text[..length]);
    let number = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse().ok()?;
        Some(kilobytes.saturating_mul(1024))
    };
    match (number("VmSize:"), number("VmRSS:")) {
        (Some(size), Some(resident)) => Ok((size, resident)),
        _ => Err(io::Error::other("/proc/self/status has no sizes")),
    }
}
