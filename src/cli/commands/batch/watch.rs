//! Waits for a job's end: with a bar in a terminal, with lines elsewhere.

use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, BufReader};

use crate::api::openai::BatchObject;
use crate::cli::ui::{Tally, Ui};
use crate::client::{Client, ClientError};

/// How often the server is polled: at first, and after a while.
const QUICK: Duration = Duration::from_millis(250);
const SLOW: Duration = Duration::from_secs(2);

/// How many polls in a row may fail: the server may be restarting.
const PATIENCE: u32 = 60;

/// How waiting ended.
pub(super) enum Outcome {
    Ended(Box<BatchObject>),
    /// The user stopped waiting; the job goes on.
    Detached(Box<BatchObject>),
}

/// Waits until a job has ended. Ctrl-C asks whether to cancel it.
pub(super) async fn until_ended(
    ui: Ui,
    client: &Client,
    mut batch: BatchObject,
) -> anyhow::Result<Outcome> {
    let tally = Tally::start(ui);
    let mut told = String::new();
    let mut pause = QUICK;
    let mut n_failures = 0;
    loop {
        let counts = &batch.request_counts;
        let status = batch.paused.as_ref().map_or_else(
            || batch.status.clone(),
            |reason| format!("{}, paused: {reason}", batch.status),
        );
        tally.show(&status, counts.completed + counts.failed, counts.total);
        if !ui.stderr_is_terminal && status != told {
            ui.talk(&status);
            told = status;
        }
        if is_over(&batch) {
            return Ok(Outcome::Ended(Box::new(batch)));
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            Ok(()) = tokio::signal::ctrl_c() => {
                drop(tally);
                if !wants_cancel(ui).await {
                    return Ok(Outcome::Detached(Box::new(batch)));
                }
                let cancelled = client.cancel_batch(&batch.id).await?;
                return Box::pin(until_ended(ui, client, cancelled)).await;
            }
        }
        pause = (pause * 5 / 4).min(SLOW);
        match client.batch(&batch.id).await {
            Ok(now) => {
                batch = now;
                n_failures = 0;
            }
            Err(ClientError::Unreachable | ClientError::Transport(_)) if n_failures < PATIENCE => {
                n_failures += 1;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

fn is_over(batch: &BatchObject) -> bool {
    let over = ["completed", "failed", "expired", "cancelled"];
    over.contains(&batch.status.as_str())
}

/// Only a user at a terminal can confirm.
async fn wants_cancel(ui: Ui) -> bool {
    if !ui.stdin_is_terminal || !ui.stderr_is_terminal {
        return false;
    }
    ui.talk_raw("\nCancel the job? What is done stays. [y/N] ");
    let mut line = String::new();
    let mut stdin = BufReader::new(tokio::io::stdin());
    let reading = stdin.read_line(&mut line);
    tokio::select! {
        read = reading => {
            let is_yes = matches!(line.trim(), "y" | "Y" | "yes");
            read.is_ok() && is_yes
        }
        Ok(()) = tokio::signal::ctrl_c() => false,
    }
}
