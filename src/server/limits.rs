//! Limits on what clients may use, and for how long.

use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The default number of concurrent connections, if there are enough file descriptors. An idle one takes
/// about 20 KiB.
const N_CONNECTIONS: usize = 2048;

/// File descriptors for other uses: uploads, downloads, pipes to runners, models.
const N_OTHER_FILES: usize = 512;

/// The most refused connections that are answered at once, each for a second or two. One takes about a kilobyte.
const N_REFUSED: usize = 16_384;

/// How long a request's head may take; it is a few hundred bytes, sent at once.
const HEAD: Duration = Duration::from_secs(30);

/// How long a connection may be unused: longer than HTTP clients keep idle connections (mostly up to 90 s),
/// so that none sends a request into one that is being closed.
const IDLE: Duration = Duration::from_secs(300);

/// The limits on connections.
#[derive(Debug, Clone)]
pub(super) struct Limits {
    /// Connections at once.
    pub(super) n_connections: usize,
    /// The most connections, and requests, of one origin that is not this machine.
    pub(super) n_of_origin: usize,
    /// How many connections are reserved for this machine, and for all others.
    pub(super) n_reserved: usize,
    /// The most refused connections that are answered at once.
    pub(super) n_refused: usize,
    /// How long a request's head may take to arrive, including a connection's first one.
    pub(super) head: Duration,
    /// How long a connection may be unused.
    pub(super) idle: Duration,
    /// How long a client may pause while it sends a request's body or reads an answer.
    pub(super) stall: Duration,
}

impl Limits {
    /// Makes the limits from the settings (`max_connections` of 0 = automatic) and the number of file
    /// descriptors.
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
            n_refused: n_files
                .saturating_sub(n_connections + N_OTHER_FILES)
                .clamp((n_files / 16).clamp(1, N_REFUSED), N_REFUSED),
            head: HEAD.min(stall),
            idle: IDLE,
            stall,
        }
    }
}

/// Raises this process's limit on open files to its maximum, and returns the number.
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
    // `None` means unlimited.
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
            (
                limits.n_connections,
                limits.n_of_origin,
                limits.n_reserved,
                limits.n_refused,
            )
        };
        assert_eq!(limits(0, 65_536), (2048, 256, 256, 16_384));
        assert_eq!(limits(0, 1024), (512, 64, 64, 64));
        assert_eq!(limits(100, 256), (100, 13, 12, 16));
        assert_eq!(limits(10_000, usize::MAX), (10_000, 1250, 1250, 16_384));
        assert_eq!(limits(1, 1024), (1, 1, 0, 511));
    }
}
