//! The sandbox of a process that reads untrusted files and texts.
//!
//! It restricts three things, each as far as the kernel supports it. *Files* ([`files`], Landlock) that are not
//! named are inaccessible, and so are TCP ports and other processes. *System calls* ([`calls`], seccomp) for
//! sockets, programs, other processes and mounts are refused with EPERM and reported on standard error: a
//! refusal costs at most one request, killing the process would cost all. *New privileges* cannot be gained.
//!
//! *Invariant:* nothing here is undone. A file rule applies to this thread and those that it starts later, the
//! rules for system calls to all threads.

#[cfg(target_os = "linux")]
mod calls;
#[cfg(target_os = "linux")]
mod files;
#[cfg(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64")
))]
mod trap;

use std::path::PathBuf;

/// Files that stay accessible; a path that does not exist is ignored.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Files {
    /// Files to read, and folders with all that is below them.
    pub read: Vec<PathBuf>,
    /// Folders in which files are also made, changed and removed; device nodes.
    pub write: Vec<PathBuf>,
    /// TCP ports, of any machine, to connect to.
    pub connect: Vec<u16>,
}

/// What the kernel supports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Support {
    /// The version of Landlock; 0 = none.
    pub landlock: i32,
    pub seccomp: bool,
}

/// Denies this thread, and those that it starts from now on, all files but these.
///
/// # Errors
/// Why that failed, or that the kernel supports only a part of it.
#[cfg(target_os = "linux")]
pub fn limit_files(files: &Files) -> Result<(), String> {
    files::limit(files)
}

/// Denies all threads the system calls that a loaded runner does not need.
///
/// # Errors
/// Why that failed.
#[cfg(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64")
))]
pub fn limit_calls() -> Result<(), String> {
    trap::install().map_err(|error| error.to_string())?;
    calls::limit()
}

/// What the kernel of this machine supports.
#[cfg(target_os = "linux")]
pub fn support() -> Support {
    Support {
        landlock: files::version(),
        seccomp: fs_err::read_to_string("/proc/self/status")
            .is_ok_and(|status| status.contains("\nSeccomp:")),
    }
}

/// Landlock exists on Linux only.
///
/// # Errors
/// Always.
#[cfg(not(target_os = "linux"))]
pub fn limit_files(_: &Files) -> Result<(), String> {
    Err("this system has no Landlock".to_owned())
}

/// seccomp exists on Linux only.
///
/// # Errors
/// Always.
#[cfg(not(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64")
)))]
pub fn limit_calls() -> Result<(), String> {
    Err("this system has no seccomp".to_owned())
}

/// Other systems support none of this.
#[cfg(not(target_os = "linux"))]
pub fn support() -> Support {
    Support {
        landlock: 0,
        seccomp: false,
    }
}
