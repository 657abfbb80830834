//! A client's socket: its options, recording of its traffic, and a close that loses no answer.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::activity::Activity;
use super::parting::{Lingering, has_unread};

/// TCP keep-alive: idle time and interval, as in Go's servers.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// The most unsent bytes in the kernel. The kernel's own limit grows to megabytes, which would be minutes of an answer
/// that nobody reads.
#[cfg(target_os = "linux")]
const UNSENT: u32 = 32 << 10;

#[derive(Debug)]
pub(super) struct Socket {
    stream: TcpStream,
    activity: Arc<Activity>,
    /// Closing while the client may still be sending.
    lingering: Option<Lingering>,
}

impl Socket {
    /// `stall` is how long a client may read nothing. The kernel gets the limit, too, since only it knows
    /// about bytes that the client has not acknowledged.
    pub(super) fn new(stream: TcpStream, stall: Duration, activity: Arc<Activity>) -> Self {
        if let Err(error) = set_up(&stream, stall) {
            tracing::debug!(%error, "a socket's options could not be set");
        }
        Self {
            stream,
            activity,
            lingering: None,
        }
    }

    fn wrote(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match written {
            Poll::Ready(Ok(_)) => self.activity.write(true, Instant::now()),
            Poll::Pending => self.activity.write(false, Instant::now()),
            Poll::Ready(Err(_)) => {}
        }
        written
    }
}

fn set_up(stream: &TcpStream, stall: Duration) -> io::Result<()> {
    // Send small pieces of a stream at once.
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    let probes = TcpKeepalive::new().with_time(KEEP_ALIVE);
    socket.set_tcp_keepalive(&probes.with_interval(KEEP_ALIVE))?;
    #[cfg(target_os = "linux")]
    {
        socket.set_tcp_user_timeout(Some(stall))?;
        socket.set_tcp_notsent_lowat(UNSENT)?;
    }
    Ok(())
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.activity.read(Instant::now());
        }
        read
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.wrote(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, pieces);
        self.wrote(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    /// If a request was not read to its end (its head is too long, its body is not wanted), more may arrive.
    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let lingering = match &mut this.lingering {
            Some(lingering) => lingering,
            None => {
                ready!(Pin::new(&mut this.stream).poll_shutdown(context))?;
                if !has_unread(&this.stream) && !this.activity.reads_head() {
                    return Poll::Ready(Ok(()));
                }
                this.lingering.insert(Lingering::new())
            }
        };
        lingering.poll(&mut this.stream, context).map(Ok)
    }
}
