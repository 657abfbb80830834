//! Measures how much of each memory a model would take, in a separate process.

use std::path::PathBuf;
use std::time::Duration;

use tokio_util::task::TaskTracker;

use super::StartError;
use super::spawn::spawn;
use super::start::{receive, send};
use crate::protocol::{Command, Event, MeasureParams, Measured};

/// Measures a model for each of the given shapes. Dropping the future kills the process.
///
/// # Errors
/// See [`StartError`]; `Timeout` if there is no answer in time.
pub async fn measure(
    exe: PathBuf,
    params: MeasureParams,
    limit: Duration,
    tasks: &TaskTracker,
) -> Result<Measured, StartError> {
    let mut spawned =
        spawn(&exe, "(measure)", tasks).map_err(|error| StartError::Spawn(error.to_string()))?;
    let work = async {
        send(&mut spawned, &Command::Measure(Box::new(params))).await?;
        loop {
            match receive(&mut spawned).await? {
                Event::Measured(measured) => return Ok(measured),
                Event::LoadFailed { message } => return Err(StartError::Refused(message)),
                _ => {}
            }
        }
    };
    let late = || Err(StartError::Timeout(format!("no answer in {limit:?}")));
    let result = tokio::time::timeout(limit, work)
        .await
        .unwrap_or_else(|_| late());
    let _ = spawned.child.kill().await;
    result
}
