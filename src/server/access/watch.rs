//! Watches the key file for changes by others, such as an administrator or Kubernetes.

use std::time::Duration;

use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::server::state::App;

/// How often the file is checked.
const EVERY: Duration = Duration::from_secs(1);

/// Applies changes until the daemon stops.
pub(in crate::server) async fn watch(app: App, closing: CancellationToken) {
    let mut tick = tokio::time::interval(EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut told = String::new();
    while closing.run_until_cancelled(tick.tick()).await.is_some() {
        let keys = app.keys.clone();
        match app.block(move || keys.refresh()).await {
            Ok(Ok(false)) | Err(_) => {}
            Ok(Ok(true)) => {
                told.clear();
                let n_keys = app.keys.list().len();
                tracing::info!(n_keys, "the file of keys has changed");
            }
            Ok(Err(error)) => {
                let error = error.to_string();
                // Logged once, not every second.
                if told != error {
                    tracing::error!(%error, "the keys stay as they were");
                    told = error;
                }
            }
        }
    }
}
