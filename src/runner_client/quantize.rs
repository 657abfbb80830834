//! Quantizes in a separate process, since llama.cpp may end its process.

use std::path::PathBuf;

use tokio_util::task::TaskTracker;

use super::StartError;
use super::spawn::spawn;
use super::start::{receive, send};
use crate::protocol::{Command, Event, QuantizeParams};

/// Rewrites a model's file; calls `progress` with fractions between 0 and 1. Dropping the future kills the
/// process.
///
/// # Errors
/// See [`StartError`]; then the target does not hold a model.
pub async fn quantize(
    exe: PathBuf,
    params: QuantizeParams,
    tasks: &TaskTracker,
    progress: &mut (dyn FnMut(f32) + Send),
) -> Result<(), StartError> {
    let mut spawned =
        spawn(&exe, "(quantizer)", tasks).map_err(|error| StartError::Spawn(error.to_string()))?;
    let work = async {
        send(&mut spawned, &Command::Quantize(params)).await?;
        loop {
            match receive(&mut spawned).await? {
                Event::Quantized => return Ok(()),
                Event::LoadFailed { message } => return Err(StartError::Refused(message)),
                Event::LoadProgress { fraction } => progress(fraction),
                _ => {}
            }
        }
    };
    let result = work.await;
    let _ = spawned.child.kill().await;
    result
}
