//! A connection to a registry that breaks at a point that the test sets.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::TaskTracker;

/// The number of bytes after which a connection breaks.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Limits {
    /// For data from the client.
    pub(super) up: Option<usize>,
    /// For data from the registry.
    pub(super) down: Option<usize>,
}

/// Starts a proxy in front of `target` and returns its address; `limits` is called for every connection.
pub(super) async fn start(
    target: String,
    limits: impl FnMut() -> Limits + Send + 'static,
) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let limits = Arc::new(Mutex::new(limits));
    let tasks = TaskTracker::new();
    let connections = tasks.clone();
    tasks.spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let limits = (limits.lock().unwrap())();
            let target = target.clone();
            connections.spawn(async move {
                let Ok(registry) = TcpStream::connect(target).await else {
                    return;
                };
                let (client_read, client_write) = client.into_split();
                let (registry_read, registry_write) = registry.into_split();
                // If one direction ends, both end.
                tokio::select! {
                    () = copy(client_read, registry_write, limits.up) => {}
                    () = copy(registry_read, client_write, limits.down) => {}
                }
            });
        }
    });
    address
}

/// Copies up to the end, or up to the limit.
async fn copy(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    limit: Option<usize>,
) {
    let mut left = limit.unwrap_or(usize::MAX);
    let mut buffer = vec![0; 16 << 10];
    while left > 0 {
        let most = buffer.len().min(left);
        let Ok(length @ 1..) = from.read(&mut buffer[..most]).await else {
            return;
        };
        if to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
        left -= length;
    }
}
