//! The daemon's life: bind, open, announce; stop accepting, let streams end, stop the runners.
//!
//! *Invariants:* the address is bound before anything that takes time, so that early clients wait
//! instead of being refused; after the end no task and no runner is left.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use jiff::Timestamp;
use sd_notify::NotifyState;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::accept::Accepting;
use super::access;
use super::assemble::assemble;
use super::bind::{bind, inherited};
use super::connection::Connections;
use super::limits::{Limits, raise_n_files};
use super::lines::Lines;
use super::openai;
use super::origin::Proxies;
use super::state::{App, AppState};
use super::supervisor::{Hangup, notify, watchdog};
use super::{ServeError, memory, middleware, router};
use crate::client::OLLAMA_VERSION;
use crate::config::Config;

/// How long a newly accepted connection may take to send its first request.
const FIRST_REQUEST: Duration = Duration::from_millis(50);

/// How long cut-off streams may take to send their final error.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// How long runners and jobs may take to end; well under the time that systemd gives.
const LAST_TASKS: Duration = Duration::from_secs(20);

/// Runs the daemon until it is told to stop. `exe` is our own executable, for the runners.
///
/// # Errors
/// The address cannot be used, or the store cannot be opened.
pub fn serve(config: Config, exe: PathBuf) -> Result<(), ServeError> {
    memory::limit_arenas();
    let socket = inherited()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let result = runtime.block_on(run(config, exe, socket));
    // A blocked job (a slow disk) does not keep the process alive.
    runtime.shutdown_timeout(Duration::from_secs(1));
    result
}

async fn run(
    config: Config,
    exe: PathBuf,
    socket: Option<std::net::TcpListener>,
) -> Result<(), ServeError> {
    let mut signals = Signals::new()?;
    let mut hangup = Hangup::new()?;
    let listener = bind(&config.host, socket).await?;
    tracing::debug!(?config, "server config");
    let app = assemble(config, exe).await?;
    let daemon = Daemon::start(app, listener, router::routes())?;
    notify(&[NotifyState::Ready]);
    let (scheduler, app) = (daemon.app.scheduler.clone(), Arc::clone(&daemon.app));
    tokio::select! {
        () = signals.next() => {}
        () = watchdog(&scheduler) => {}
        () = hangup.reload_each_time(&app) => {}
    }
    drop(app);
    daemon.stop(signals.next()).await;
    Ok(())
}

/// A running daemon.
struct Daemon {
    app: App,
    /// Cancelled to stop accepting.
    stopping: CancellationToken,
    /// Cancelled to close connections as they become idle.
    closing: CancellationToken,
    server: JoinHandle<()>,
}

impl Daemon {
    fn start(app: App, listener: TcpListener, routes: Router<App>) -> Result<Self, ServeError> {
        let address = listener.local_addr()?;
        let lines = middleware::wrap_inside(routes.clone(), &app);
        let lines = Lines::new(lines.with_state(Arc::clone(&app)), Arc::clone(&app));
        app.jobs.batches.start(Arc::new(lines), &app.tasks);
        let routes = middleware::wrap(routes, &app, address).with_state(Arc::clone(&app));
        let closing = CancellationToken::new();
        let stopping = CancellationToken::new();
        let config = &app.config;
        let limits = Limits::new(
            config.max_connections,
            config.client_timeout,
            raise_n_files(),
        );
        let proxies = Proxies::new(config.access.trusted_proxies.clone());
        let connections =
            Connections::new(routes, limits, proxies, app.tls.clone(), closing.clone());
        let accepting = Accepting {
            listener,
            stopping: stopping.clone(),
            closing: closing.clone(),
        };
        let server = app.tasks.spawn(accepting.run(connections));
        tracing::info!(
            %address,
            tls = app.tls.is_some(),
            "Listening on {address} (version {OLLAMA_VERSION}, drover {})",
            env!("CARGO_PKG_VERSION")
        );
        warn_if_open(address, &app);
        let cleaned = Arc::clone(&app);
        app.block(move || clean_up(&cleaned));
        let sweeping = openai::sweep(Arc::clone(&app), closing.clone());
        app.tasks.spawn(sweeping);
        app.tasks
            .spawn(access::watch(Arc::clone(&app), closing.clone()));
        Ok(Self {
            app,
            stopping,
            closing,
            server,
        })
    }

    /// Stops everything: requests in flight get a grace period, which `hurry` cuts short.
    async fn stop(mut self, hurry: impl Future<Output = ()>) {
        let mut hurry = pin!(hurry);
        notify(&[NotifyState::Stopping]);
        self.app.draining.cancel();
        let drain = self.app.config.drain;
        let is_hurried = if drain.is_zero() {
            false
        } else {
            tracing::info!(
                ?drain,
                "no longer ready; still accepting, until load balancers know"
            );
            tokio::select! {
                () = tokio::time::sleep(drain) => false,
                () = hurry.as_mut() => true,
            }
        };
        tracing::info!("stopping");
        self.stopping.cancel();
        self.app.jobs.batches.stop();
        tokio::time::sleep(FIRST_REQUEST).await;
        self.closing.cancel();
        let grace = self.app.config.shutdown_grace;
        let drained = tokio::select! {
            () = async {
                // The tasks report their own errors.
                let _ = (&mut self.server).await;
                self.app.responses.settled().await;
            } => true,
            () = tokio::time::sleep(grace) => false,
            () = std::future::ready(()), if is_hurried => false,
            () = hurry.as_mut(), if !is_hurried => false,
        };
        if !drained {
            tracing::warn!("requests that still run are cut off");
            self.app.cut_off.cancel();
            if !self.server.is_finished() {
                let ended = tokio::time::timeout(LAST_WORDS, &mut self.server).await;
                if ended.is_err() {
                    self.server.abort();
                }
            }
            let settled = self.app.responses.settled();
            if tokio::time::timeout(LAST_WORDS, settled).await.is_err() {
                tracing::warn!("some responses in the background did not end in time");
            }
        }
        let rest = async {
            self.app.inference.close();
            self.app.scheduler.shutdown().await;
            self.app.tasks.close();
            self.app.tasks.wait().await;
        };
        if tokio::time::timeout(LAST_TASKS, rest).await.is_err() {
            tracing::warn!(
                n_tasks = self.app.tasks.len(),
                "some work did not end in time"
            );
        }
        tracing::info!("stopped");
    }
}

/// Removes blobs that no model uses. Never at the first start on a store, which another program may have
/// made and may need unchanged. Blocks.
fn clean_up(app: &AppState) {
    if app.config.no_prune {
        return;
    }
    match app.store.remember(&app.config.state_dir) {
        Ok(true) => {}
        Ok(false) => {
            tracing::info!("first start over this store, unused blobs are not removed");
            return;
        }
        Err(error) => {
            tracing::warn!(%error, "what drover knows of the store cannot be kept, unused blobs are not removed");
            return;
        }
    }
    match app.store.prune(Timestamp::now()) {
        Ok(0) => {}
        Ok(count) => tracing::info!("total unused blobs removed: {count}"),
        Err(error) => tracing::warn!(%error, "could not remove unused blobs"),
    }
}

/// Logs a warning if other machines can connect and need no key.
fn warn_if_open(address: SocketAddr, app: &App) {
    if !address.ip().is_loopback() && !app.keys.are_defined() {
        tracing::warn!(
            %address,
            "everybody who reaches {address} can use, change and delete the models; `drover key create` makes a \
             key, from then on other machines need one"
        );
    }
}

/// The signals that stop the daemon.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> Result<Self, ServeError> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use axum::response::Response;
    use axum::routing::get;
    use bytes::Bytes;
    use futures_util::{StreamExt as _, stream};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;

    use super::*;
    use crate::server::error::ApiError;
    use crate::server::stream::{NDJSON, streamed};
    use crate::server::tests::Fixture;

    async fn endless(app: axum::extract::State<App>) -> Response {
        let first = Ok::<_, ApiError>(Bytes::from_static(b"{\"n\":1}\n"));
        let lines = stream::iter([first]).chain(stream::pending());
        streamed(NDJSON, lines, &app.cut_off)
    }

    async fn started() -> (Fixture, Daemon, TcpStream) {
        let fixture = Fixture::new();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let routes = Router::new()
            .route("/endless", get(endless))
            .route("/silent", get(pending::<Response>));
        let daemon = Daemon::start(Arc::clone(&fixture.app), listener, routes).unwrap();
        let client = TcpStream::connect(address).await.unwrap();
        (fixture, daemon, client)
    }

    async fn ask(client: &mut TcpStream, path: &str) {
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        client.write_all(request.as_bytes()).await.unwrap();
    }

    async fn read_until(client: &mut TcpStream, end: &str) -> String {
        let mut text = String::new();
        let mut buffer = [0; 1024];
        while !text.contains(end) {
            let count = client.read(&mut buffer).await.unwrap();
            assert_ne!(count, 0, "{text}");
            text.push_str(std::str::from_utf8(&buffer[..count]).unwrap());
        }
        text
    }

    #[tokio::test]
    async fn a_stream_that_outlives_the_grace_ends_with_an_error() {
        let (_fixture, daemon, mut client) = started().await;
        ask(&mut client, "/endless").await;
        read_until(&mut client, "{\"n\":1}\n").await;
        daemon.stop(async {}).await;
        let mut rest = String::new();
        client.read_to_string(&mut rest).await.unwrap();
        assert!(
            rest.contains("{\"error\":\"the server is shutting down\"}\n"),
            "{rest}"
        );
        // The stream ended properly.
        assert!(rest.ends_with("0\r\n\r\n"), "{rest}");
    }

    #[tokio::test]
    async fn an_idle_daemon_stops_at_once() {
        let (_fixture, daemon, client) = started().await;
        daemon.stop(pending()).await;
        drop(client);
    }

    #[tokio::test]
    async fn unused_blobs_go_at_the_second_start_only() {
        let fixture = Fixture::new();
        let blobs = fixture.app.store.root().join("blobs");
        let file = fs_err::File::create(blobs.join("sha256-unfinished-upload")).unwrap();
        let long_ago = std::time::SystemTime::now() - Duration::from_secs(7200);
        file.set_modified(long_ago).unwrap();
        for left in [1, 0] {
            clean_up(&fixture.app);
            assert_eq!(fixture.blobs().len(), left);
        }
    }

    #[tokio::test]
    async fn nobody_is_accepted_after_the_end() {
        let (_fixture, daemon, mut client) = started().await;
        let address = client.peer_addr().unwrap();
        ask(&mut client, "/silent").await;
        let closing = daemon.closing.clone();
        let stopping = daemon.stop(async move { closing.cancelled().await });
        stopping.await;
        assert!(TcpStream::connect(address).await.is_err());
    }

    #[tokio::test]
    async fn load_balancers_hear_before_clients_do() {
        let second = Duration::from_secs(1);
        let fixture = Fixture::with(|config| config.drain = 60 * second);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let daemon = Daemon::start(Arc::clone(&fixture.app), listener, router::routes()).unwrap();
        let (draining, hurry) = (fixture.app.draining.clone(), CancellationToken::new());
        let ready = async |expected: &str| {
            // Connections are still accepted.
            let mut client = TcpStream::connect(address).await.unwrap();
            ask(&mut client, "/ready").await;
            let answer = read_until(&mut client, "}").await;
            assert!(
                answer.starts_with(&format!("HTTP/1.1 {expected}")),
                "{answer}"
            );
        };
        ready("200").await;
        let stop = daemon.stop(hurry.cancelled());
        let watch = async {
            draining.cancelled().await;
            ready("503").await;
            hurry.cancel();
        };
        tokio::join!(stop, watch);
        assert!(TcpStream::connect(address).await.is_err());
    }
}
