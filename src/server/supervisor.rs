//! The interface to systemd: readiness, watchdog, reloading.

use sd_notify::NotifyState;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::ServeError;
use super::state::App;
use crate::scheduler::SchedulerHandle;

/// Watchdog messages per `WatchdogSec=`, so that one may be late.
const BEATS: u32 = 3;

/// Notifies systemd, if it listens.
pub(super) fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "could not tell systemd");
    }
}

/// Sends watchdog messages if systemd asks for them; never returns. Each message requires an answer of the scheduler,
/// since a daemon whose scheduler hangs is of no use.
pub(super) async fn watchdog(scheduler: &SchedulerHandle) {
    let Some(limit) = sd_notify::watchdog_enabled() else {
        return std::future::pending().await;
    };
    let mut beat = tokio::time::interval(limit / BEATS);
    loop {
        beat.tick().await;
        scheduler.loaded().await;
        notify(&[NotifyState::Watchdog]);
    }
}

/// SIGHUP (`systemctl reload`). It must be caught from the start: its default ends the process.
pub(super) struct Hangup(Signal);

impl Hangup {
    pub(super) fn new() -> Result<Self, ServeError> {
        Ok(Self(signal(SignalKind::hangup())?))
    }

    /// Probes the devices, and reads the certificate and the keys again at each signal; never returns. Settings cannot
    /// be reloaded, since they come from the environment of the process.
    pub(super) async fn reload_each_time(&mut self, app: &App) {
        while self.0.recv().await.is_some() {
            let mut states = vec![NotifyState::Reloading];
            states.extend(NotifyState::monotonic_usec_now());
            notify(&states);
            tracing::info!(
                "looking for devices again, and reading the certificate and the keys; other settings need a restart"
            );
            reload(app).await;
            app.scheduler.rediscover().await;
            notify(&[NotifyState::Ready]);
        }
    }
}

/// Reads the files again. An invalid file leaves the present state as it is.
async fn reload(app: &App) {
    app.audit.reopen();
    let (keys, tls) = (app.keys.clone(), app.tls.clone());
    let read = app.block(move || {
        if let Err(error) = keys.refresh() {
            tracing::error!(%error, "the keys stay as they were");
        }
        match tls.map(|tls| tls.reload()) {
            None => {}
            Some(Ok(())) => tracing::info!("the certificate was read again"),
            Some(Err(error)) => tracing::error!(%error, "the certificate stays as it was"),
        }
    });
    // A panic was already reported.
    let _ = read.await;
}
