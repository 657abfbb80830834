//! Closing the connection to a client that may still be sending: one that is refused, or whose request is not read to
//! its end.
//!
//! The system resets a connection that is closed with unread bytes, and the client may lose an answer that it has not
//! read yet. So what still arrives is read and discarded, within limits on bytes and time.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead as _, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;

/// How long a refused client may take to begin its request.
const PATIENCE: Duration = Duration::from_secs(1);

/// The most time and bytes that are spent on what a client still sends.
const TIME: Duration = Duration::from_secs(1);
const BYTES: usize = 1 << 20;

/// The most that is read at once.
const PIECE: usize = 4096;

/// Answers a client whose connection is not served, and closes it.
pub(super) async fn part(mut stream: TcpStream, answer: &[u8]) {
    // Some clients treat an answer that comes before their request as a connection error.
    let _ = tokio::time::timeout(PATIENCE, stream.readable()).await;
    let telling = async {
        stream.write_all(answer).await?;
        stream.shutdown().await
    };
    let told = tokio::time::timeout(TIME, telling).await;
    if matches!(told, Ok(Ok(()))) {
        let mut lingering = Lingering::new();
        poll_fn(|context| lingering.poll(&mut stream, context)).await;
    }
}

/// For when too many refused clients are being answered: discards what has arrived, and waits for nothing.
pub(super) fn part_now(stream: &TcpStream, answer: &[u8]) {
    let _ = rustix::io::write(stream, answer);
    let _ = rustix::io::read(stream, &mut [0; PIECE]);
}

/// Reading and discarding, after the last answer was written.
#[derive(Debug)]
pub(super) struct Lingering {
    timer: Pin<Box<Sleep>>,
    n_left: usize,
}

impl Lingering {
    pub(super) fn new() -> Self {
        Self {
            timer: Box::pin(tokio::time::sleep(TIME)),
            n_left: BYTES,
        }
    }

    /// Ready when the client has closed its side, or has exceeded the limits.
    pub(super) fn poll(&mut self, stream: &mut TcpStream, context: &mut Context<'_>) -> Poll<()> {
        let mut piece = [0; PIECE];
        while self.n_left > 0 {
            let mut buffer = ReadBuf::new(&mut piece);
            match Pin::new(&mut *stream).poll_read(context, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                    self.n_left = self.n_left.saturating_sub(buffer.filled().len());
                }
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => return self.timer.as_mut().poll(context),
            }
        }
        Poll::Ready(())
    }
}

/// Whether a client has sent bytes that were not read.
pub(super) fn has_unread(stream: &TcpStream) -> bool {
    // (The runtime's view of the socket may be stale.)
    let read = rustix::io::read(stream, &mut [0; PIECE]);
    read.is_ok_and(|n_read| n_read > 0)
}

#[cfg(test)]
mod tests {
    use std::io;

    use tokio::io::AsyncReadExt as _;
    use tokio::net::TcpListener;

    use super::*;

    const ANSWER: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\n\r\n";

    async fn connected() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await;
        (client.unwrap(), listener.accept().await.unwrap().0)
    }

    /// What the client reads, and how its connection ends.
    async fn read(mut client: TcpStream) -> (Vec<u8>, io::Result<usize>) {
        let mut answer = Vec::new();
        let end = client.read_to_end(&mut answer).await;
        (answer, end)
    }

    #[tokio::test]
    async fn a_client_that_reads_after_it_has_sent_all_gets_its_answer() {
        let (mut client, server) = connected().await;
        let sending = async {
            client.write_all(&vec![b'x'; BYTES / 2]).await.unwrap();
            // Everything is read, and the connection is closed once nothing more comes.
            client.shutdown().await.unwrap();
        };
        tokio::join!(part(server, ANSWER), sending);
        let (answer, end) = read(client).await;
        assert_eq!(answer, ANSWER);
        end.unwrap();
    }

    #[tokio::test]
    async fn the_answer_waits_for_the_request() {
        let (mut client, server) = connected().await;
        let mut parting = Box::pin(part(server, ANSWER));
        assert!(futures_util::poll!(&mut parting).is_pending());
        assert!(client.try_read(&mut [0; 1]).is_err());
        client.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        let (_, (answer, end)) = tokio::join!(parting, read(client));
        assert_eq!(answer, ANSWER);
        end.unwrap();
    }

    #[tokio::test]
    async fn who_sends_without_end_is_cut_off() {
        let (client, server) = connected().await;
        let (_reader, mut writer) = client.into_split();
        let flooding = async {
            let flood = vec![b'x'; PIECE];
            while writer.write_all(&flood).await.is_ok() {}
        };
        tokio::join!(part(server, ANSWER), flooding);
    }

    #[tokio::test(start_paused = true)]
    async fn who_neither_sends_nor_closes_is_not_waited_for_long() {
        let (client, server) = connected().await;
        let started = tokio::time::Instant::now();
        part(server, ANSWER).await;
        assert!((TIME..=PATIENCE + TIME).contains(&started.elapsed()));
        drop(client);
    }

    #[tokio::test]
    async fn in_a_crowd_what_has_arrived_is_read() {
        let (mut client, server) = connected().await;
        client.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        server.readable().await.unwrap();
        part_now(&server, ANSWER);
        drop(server);
        let (answer, end) = read(client).await;
        assert_eq!(answer, ANSWER);
        end.unwrap();
    }
}
