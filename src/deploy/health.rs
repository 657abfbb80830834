//! Queries the daemon at an address, from synchronous code.

use std::time::{Duration, Instant};

use super::DeployError;
use crate::api::ollama::ProcessModel;
use crate::client::Client;
use crate::config::HostSpec;

/// The pause between two requests.
const PAUSE: Duration = Duration::from_millis(200);

/// The longest wait for one answer.
const ANSWER: Duration = Duration::from_secs(5);

/// The server that answered.
#[derive(Debug)]
pub(super) struct Health {
    pub(super) version: String,
    pub(super) n_models: usize,
}

/// Queries once.
pub(super) fn ask(host: &HostSpec) -> Option<Health> {
    runtime().ok()?.block_on(answer(host))
}

/// Queries until the daemon answers; `None` when time runs out, an error when `give_up` returns one.
pub(super) fn wait(
    host: &HostSpec,
    patience: Duration,
    give_up: impl Fn() -> Result<(), DeployError>,
) -> Result<Option<Health>, DeployError> {
    let end = Instant::now() + patience;
    runtime()?.block_on(async {
        let mut tick = tokio::time::interval(PAUSE);
        loop {
            tick.tick().await;
            if let Some(health) = answer(host).await {
                return Ok(Some(health));
            }
            if Instant::now() >= end {
                return Ok(None);
            }
            give_up()?;
        }
    })
}

/// The models that are loaded; `None` if no server answers.
pub(super) fn loaded(host: &HostSpec) -> Option<Vec<ProcessModel>> {
    let client = Client::new(host).ok()?;
    let question = async { tokio::time::timeout(ANSWER, client.ps()).await };
    let answer = runtime().ok()?.block_on(question);
    Some(answer.ok()?.ok()?.models)
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
}

async fn answer(host: &HostSpec) -> Option<Health> {
    let client = Client::new(host).ok()?;
    let questions = async {
        Some(Health {
            version: client.version().await.ok()?,
            n_models: client.list().await.ok()?.models.len(),
        })
    };
    tokio::time::timeout(ANSWER, questions).await.ok()?
}
