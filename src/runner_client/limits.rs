//! System limits of a runner, as a safety net under its own limits.
//!
//! A request that makes a runner grow without bound should end that runner, never the daemon or another
//! process. The daemon sets the limits from outside, by process id; systems that do not support a limit run
//! without it.

use std::io;

use crate::protocol::LoadedInfo;

/// Added to the daemon's own score, so that the kernel kills the runner first when memory runs out.
const OOM_SCORE: i32 = 500;

/// The kernel's highest score.
const MAX_OOM_SCORE: i32 = 1000;

/// The memory that a loaded runner may take at least, on top of its size after loading and of what it spills:
/// encoding a large image without a GPU takes gigabytes, depending on the model. If half of the machine's
/// memory is more, that is the limit.
const HEADROOM: u64 = 8 << 30;

/// Limits a runner that has just been started.
pub(super) fn at_start(pid: u32, may_dump: bool) {
    let limited = raise_oom_score(pid).and_then(|()| {
        if may_dump {
            return Ok(());
        }
        no_core_dump(pid)
    });
    if let Err(error) = limited {
        tracing::debug!(%error, "a runner without limits of its own");
    }
}

/// Limits a runner that has loaded its model, if the model is in main memory. GPU drivers map memory in their
/// own ways, which a limit could break.
pub(super) fn when_loaded(pid: u32, info: &LoadedInfo, spill_bytes: u64) {
    if info.vram_bytes > 0 {
        return;
    }
    if let Err(error) = limit_memory(pid, spill_bytes) {
        tracing::debug!(%error, "a runner without a limit of its memory");
    }
}

fn raise_oom_score(pid: u32) -> io::Result<()> {
    let own = fs_err::read_to_string("/proc/self/oom_score_adj")?;
    let own: i32 = own.trim().parse().unwrap_or(0);
    let score = own.saturating_add(OOM_SCORE).min(MAX_OOM_SCORE);
    fs_err::write(format!("/proc/{pid}/oom_score_adj"), score.to_string())
}

/// A core dump would be as large as the runner's memory, and would contain users' prompts.
#[cfg(target_os = "linux")]
fn no_core_dump(pid: u32) -> io::Result<()> {
    limit(pid, rustix::process::Resource::Core, 0)
}

/// Limits private writable memory: the weights are mapped and do not count.
#[cfg(target_os = "linux")]
fn limit_memory(pid: u32, spill_bytes: u64) -> io::Result<()> {
    let used = kilobytes(&format!("/proc/{pid}/status"), "VmData:")?;
    let total = kilobytes("/proc/meminfo", "MemTotal:")?;
    let headroom = HEADROOM.max(total / 2).saturating_add(spill_bytes);
    limit(
        pid,
        rustix::process::Resource::Data,
        used.saturating_add(headroom),
    )
}

/// Sets the soft limit; the hard one stays, so that an administrator can change it.
#[cfg(target_os = "linux")]
fn limit(pid: u32, resource: rustix::process::Resource, bytes: u64) -> io::Result<()> {
    use rustix::process::{Pid, Rlimit, getrlimit, prlimit};

    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or(io::ErrorKind::NotFound)?;
    // The runner inherits ours.
    let maximum = getrlimit(resource).maximum;
    let current = maximum.map_or(bytes, |maximum| bytes.min(maximum));
    let limit = Rlimit {
        current: Some(current),
        maximum,
    };
    prlimit(Some(pid), resource, limit)?;
    Ok(())
}

/// Reads a size that the kernel reports in kilobytes, as bytes.
#[cfg(target_os = "linux")]
fn kilobytes(file: &str, name: &str) -> io::Result<u64> {
    let text = fs_err::read_to_string(file)?;
    let value = text.lines().find_map(|line| line.strip_prefix(name));
    let number = value.and_then(|value| value.split_whitespace().next()?.parse().ok());
    let number: u64 = number.ok_or(io::ErrorKind::InvalidData)?;
    Ok(number.saturating_mul(1024))
}

#[cfg(not(target_os = "linux"))]
fn no_core_dump(_pid: u32) -> io::Result<()> {
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn limit_memory(_pid: u32, _spill_bytes: u64) -> io::Result<()> {
    Ok(())
}
