//! Accepting connections, until told to stop.
//!
//! Stopping has two steps: first nobody new is accepted, so that whoever comes waits in the
//! socket's own queue (where systemd holds the socket, for the next daemon); then those that were
//! accepted are closed as they fall idle. At once, it would also close connections whose first
//! request is just on its way.

use std::io;
use std::net::SocketAddr;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

/// The daemon's socket.
#[derive(Debug)]
pub(super) struct Accepting {
    pub(super) listener: TcpListener,
    /// Cancelled: nobody is accepted any more.
    pub(super) stopping: CancellationToken,
}

/// Who is at the other end.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer(pub(super) SocketAddr);

impl Connected<IncomingStream<'_, Accepting>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Accepting>) -> Self {
        Self(*stream.remote_addr())
    }
}

impl Listener for Accepting {
    type Io = TcpStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (TcpStream, SocketAddr) {
        let accepted = tokio::select! {
            biased;
            () = self.stopping.cancelled() => std::future::pending().await,
            accepted = Listener::accept(&mut self.listener) => accepted,
        };
        // Small pieces of a stream go out at once.
        if let Err(error) = accepted.0.set_nodelay(true) {
            tracing::debug!(%error, "no TCP_NODELAY");
        }
        accepted
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}
