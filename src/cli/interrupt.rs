//! Ctrl-C stops the work at hand, not the program.

/// Runs `work` to its end, or until Ctrl-C, which returns `None`. Dropping the work closes the connection,
/// which cancels it in the daemon.
pub(super) async fn or_else_none<T>(work: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        result = work => Some(result),
        Ok(()) = tokio::signal::ctrl_c() => None,
    }
}
