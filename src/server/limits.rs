//! How much of the daemon clients may take, and for how long.

use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Connections at once, where nothing else is said and there are files enough. An idle one takes
/// about 20 KiB.
const N_CONNECTIONS: usize = 2048;

/// Files that are not for connections: uploads, downloads, pipes to runners, models that are read.
const N_OTHER_FILES: usize = 512;

/// A request's head is a few hundred bytes, sent at once.
const HEAD: Duration = Duration::from_secs(30);

/// Longer than what HTTP clients keep a connection that they do not use (mostly up to 90 s), so
/// that none sends a request into one that is just being closed.
const IDLE: Duration = Duration::from_secs(300);

/// The limits on connections.
#[derive(Debug, Clone)]
pub(super) struct Limits {
    /// Connections at once.
    pub(super) n_connections: usize,
    /// Connections, and requests, of one origin that is not this machine.
    pub(super) n_of_origin: usize,
    /// How many of the connections this machine cannot take from others, and they not from it.
    pub(super) n_reserved: usize,
    /// How long a request's head may be on its way, also that of a connection's first request.
    pub(super) head: Duration,
    /// How long a connection may be unused.
    pub(super) idle: Duration,
    /// How long a client may send nothing of a request's body, and take nothing of an answer.
    pub(super) stall: Duration,
}

impl Limits {
    /// What the settings (`max_connections` of 0 = automatic) and the number of files allow.
    pub(super) fn new(max_connections: usize, stall: Duration, n_files: usize) -> Self {
        let most = match max_connections {
            0 => N_CONNECTIONS,
            wanted => wanted,
        };
        let room = n_files.saturating_sub(N_OTHER_FILES).max(n_files / 2);
        let n_connections = most.min(room).max(1);
        Self {
            n_connections,
            n_of_origin: n_connections.div_ceil(8),
            n_reserved: n_connections / 8,
            head: HEAD.min(stall),
            idle: IDLE,
            stall,
        }
    }
}

/// Allows this process as many open files as it may allow itself, and returns the number.
pub(super) fn raise_n_files() -> usize {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: maximum,
        maximum,
    };
    let n_files = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => maximum,
        Err(error) => {
            tracing::warn!(%error, "could not raise the limit of open files");
            current
        }
    };
    // Without a value there is no limit.
    n_files.map_or(usize::MAX, |n_files| {
        usize::try_from(n_files).unwrap_or(usize::MAX)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_files_for_the_rest() {
        let limits = |wanted, n_files| {
            let limits = Limits::new(wanted, Duration::from_secs(5), n_files);
            assert_eq!(
                (limits.head, limits.stall),
                (limits.stall, Duration::from_secs(5))
            );
            (limits.n_connections, limits.n_of_origin, limits.n_reserved)
        };
        assert_eq!(limits(0, 65_536), (2048, 256, 256));
        assert_eq!(limits(0, 1024), (512, 64, 64));
        assert_eq!(limits(100, 256), (100, 13, 12));
        assert_eq!(limits(10_000, usize::MAX), (10_000, 1250, 1250));
        assert_eq!(limits(1, 1024), (1, 1, 0));
    }
}
