//! Finds the process that listens on a port.

use procfs::net::TcpState;
use procfs::process::{FDTarget, Process};

/// A process that listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Owner {
    pub(super) pid: i32,
    pub(super) name: String,
}

/// The process that listens on `port`; `Some(None)` if we may not see which one it is.
pub(super) fn owner(port: u16) -> Option<Option<Owner>> {
    let mut entries = procfs::net::tcp().unwrap_or_default();
    entries.extend(procfs::net::tcp6().unwrap_or_default());
    let inode = entries
        .iter()
        .find(|entry| entry.state == TcpState::Listen && entry.local_address.port() == port)?
        .inode;
    let processes = procfs::process::all_processes().ok()?;
    Some(
        processes
            .flatten()
            .find(|process| holds(process, inode))
            .map(|process| Owner {
                pid: process.pid,
                name: process.stat().map(|stat| stat.comm).unwrap_or_default(),
            }),
    )
}

fn holds(process: &Process, inode: u64) -> bool {
    let Ok(descriptors) = process.fd() else {
        return false;
    };
    let mut targets = descriptors.flatten().map(|descriptor| descriptor.target);
    targets.any(|target| matches!(target, FDTarget::Socket(known) if known == inode))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_is_found() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let found = owner(port).unwrap().unwrap();
        assert_eq!(u32::try_from(found.pid).unwrap(), std::process::id());
        drop(listener);
        assert_eq!(owner(port), None);
    }
}
