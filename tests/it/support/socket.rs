//! Raw bytes on a connection, for requests that no HTTP client would send.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

use super::TestServer;

/// The longest wait for an answer, or for the end of a connection.
const PATIENCE: Duration = Duration::from_secs(60);

/// A connection without a protocol.
pub(crate) struct Socket(TcpStream);

impl TestServer {
    /// Connects and sends these bytes.
    pub(crate) async fn socket(&self, bytes: &[u8]) -> Socket {
        self.socket_with(bytes, None).await
    }

    /// Connects as a client with a tiny receive buffer.
    pub(crate) async fn narrow_socket(&self, bytes: &[u8]) -> Socket {
        self.socket_with(bytes, Some(4096)).await
    }

    async fn socket_with(&self, bytes: &[u8], room: Option<u32>) -> Socket {
        let socket = TcpSocket::new_v4().unwrap();
        if let Some(room) = room {
            socket.set_recv_buffer_size(room).unwrap();
        }
        let stream = socket.connect(self.address().parse().unwrap()).await;
        let mut socket = Socket(stream.unwrap());
        socket.send(bytes).await;
        socket
    }
}

impl Socket {
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).await.unwrap();
    }

    /// Sends the bytes repeatedly until the daemon closes the connection.
    pub(crate) async fn trickle(&mut self, bytes: &[u8], every: Duration) {
        let mut tick = tokio::time::interval(every);
        let mut answer = [0; 1024];
        loop {
            tokio::select! {
                _ = tick.tick() => if self.0.write_all(bytes).await.is_err() { return },
                read = self.0.read(&mut answer) => match read {
                    Ok(0) | Err(_) => return,
                    Ok(_) => {}
                }
            }
        }
    }

    /// Reads until this text has arrived.
    pub(crate) async fn read_until(&mut self, end: &str) -> String {
        let mut text = String::new();
        let mut buffer = [0; 1024];
        while !text.contains(end) {
            let read = tokio::time::timeout(PATIENCE, self.0.read(&mut buffer)).await;
            let n_read = read.expect("an answer").unwrap();
            assert_ne!(n_read, 0, "{text}");
            text.push_str(&String::from_utf8_lossy(&buffer[..n_read]));
        }
        text
    }

    /// Everything up to the end of the connection. The end must not be a reset, which may cost a client its answer.
    pub(crate) async fn whole(mut self) -> String {
        let mut text = Vec::new();
        let reading = self.0.read_to_end(&mut text);
        let read = tokio::time::timeout(PATIENCE, reading).await;
        read.expect("an end").unwrap();
        String::from_utf8(text).unwrap()
    }

    /// Everything up to the end of the connection, however it ends.
    pub(crate) async fn rest(mut self) -> String {
        let mut text = Vec::new();
        let reading = self.0.read_to_end(&mut text);
        // A reset is an end, too.
        let _ = tokio::time::timeout(PATIENCE, reading)
            .await
            .expect("an end");
        String::from_utf8_lossy(&text).into_owned()
    }
}
