//! Accepting connections, until told to stop.
//!
//! Stopping has two steps. First it accepts no more connections, so that new clients wait in the socket's
//! backlog (for the next daemon, if systemd holds the socket). Then it closes accepted connections as they
//! become idle. Doing both at once would also close connections whose first request is still arriving.

use std::sync::Arc;

use axum::serve::Listener;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::connection::{Admitted, Connections};
use super::origin::Peer;

/// The daemon's socket.
#[derive(Debug)]
pub(super) struct Accepting {
    pub(super) listener: TcpListener,
    /// Cancelled to stop accepting.
    pub(super) stopping: CancellationToken,
    /// Cancelled to close connections as they become idle.
    pub(super) closing: CancellationToken,
}

impl Accepting {
    /// Serves until all connections have ended after `closing`. Dropping the future cuts the remaining
    /// ones.
    pub(super) async fn run(self, connections: Connections) {
        let Self {
            mut listener,
            stopping,
            closing,
        } = self;
        let connections = Arc::new(connections);
        let _cut = connections.cut_on_drop();
        let tasks = TaskTracker::new();
        // If `accept` fails, the listener waits a moment and tries again.
        while let Some((stream, address)) = stopping
            .run_until_cancelled(Listener::accept(&mut listener))
            .await
        {
            match connections.admit(stream, Peer(address)) {
                Admitted::Served(connection) => drop(tasks.spawn(connection.serve())),
                Admitted::Refused(refusal) => drop(tasks.spawn(refusal.tell())),
                Admitted::Closed => {}
            }
        }
        closing.cancelled().await;
        drop(listener);
        tasks.close();
        tasks.wait().await;
    }
}
