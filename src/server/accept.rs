//! Accepting connections, until told to stop.
//!
//! Stopping has two steps: first nobody new is accepted, so that whoever comes waits in the
//! socket's own queue (where systemd holds the socket, for the next daemon); then those that were
//! accepted are closed as they fall idle. At once, it would also close connections whose first
//! request is just on its way.

use std::sync::Arc;

use axum::serve::Listener;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::connection::Connections;
use super::origin::Peer;

/// The daemon's socket.
#[derive(Debug)]
pub(super) struct Accepting {
    pub(super) listener: TcpListener,
    /// Cancelled: nobody is accepted any more.
    pub(super) stopping: CancellationToken,
    /// Cancelled: connections are closed as they fall idle.
    pub(super) closing: CancellationToken,
}

impl Accepting {
    /// Serves until all connections have ended after `closing`; those that have not when this is
    /// dropped are cut.
    pub(super) async fn run(self, connections: Connections) {
        let Self {
            mut listener,
            stopping,
            closing,
        } = self;
        let connections = Arc::new(connections);
        let _cut = connections.cut_on_drop();
        let tasks = TaskTracker::new();
        // Where the system gives no connection, the listener waits a moment and tries again.
        while let Some((stream, address)) = stopping
            .run_until_cancelled(Listener::accept(&mut listener))
            .await
        {
            if let Some(connection) = connections.admit(stream, Peer(address)) {
                tasks.spawn(connection.serve());
            }
        }
        closing.cancelled().await;
        drop(listener);
        tasks.close();
        tasks.wait().await;
    }
}
