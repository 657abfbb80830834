//! Finds the GPUs: at the start, after a runner has ended, and again if a missing one may appear.

use std::path::Path;
use std::time::Duration;

use tokio::time::Instant;

use super::Actor;
use crate::device::{self, InstructionSets, Obstacle};
use crate::metrics;
use crate::protocol::DeviceInfo;
use crate::runner_client;
use crate::scheduler::event::{Event, Found, Message};
use crate::scheduler::placement::{self, LoadPlan};

/// How often missing GPUs are looked for at most. At boot, drivers come up late; RPC servers come and go.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// How long a load waits at most for memory that ended runners give back, and how often the driver is asked.
const GIVEN_BACK: Duration = Duration::from_secs(5);
const ASK_AGAIN: Duration = Duration::from_millis(100);

impl Actor {
    /// Asks for the devices; loads wait for the first answer.
    pub(super) fn probe(&self) {
        let (exe, tasks, messages) = (self.exe.clone(), self.tasks.clone(), self.messages.clone());
        let servers = self.config.rpc_servers.clone();
        self.tasks.spawn(async move {
            let found = runner_client::probe(exe, &tasks).await;
            let has_failed = found.is_err();
            let devices = found.unwrap_or_else(|error| {
                tracing::warn!(%error, "the devices could not be listed, models run on the CPU");
                Vec::new()
            });
            for device in &devices {
                tracing::info!(
                    name = %device.name,
                    description = %device.description,
                    backend = %device.backend,
                    total_bytes = device.total_bytes,
                    free_bytes = device.free_bytes,
                    "inference compute"
                );
            }
            let cpu = devices.iter().find(|device| !device.is_gpu);
            if let Some(cpu) = cpu {
                let sets = InstructionSets::of_this_machine(cpu.instruction_sets.clone());
                let (used, unused) = (sets.used.join(" "), sets.unused.join(" "));
                tracing::info!(used, unused, "instruction sets");
                metrics::cpu(used, unused);
            }
            let gpus: Vec<_> = devices.into_iter().filter(|device| device.is_gpu).collect();
            let obstacle = if gpus.is_empty() {
                obstacle().await
            } else {
                None
            };
            let found = Found {
                lacks_servers: !have_all(&servers, &gpus),
                gpus,
                obstacle,
                has_failed,
            };
            let _ = messages.send(Message::Devices(found)).await;
        });
    }

    /// Asks again after a GPU's free memory has changed; without GPUs there is nothing to ask.
    pub(super) fn probe_again(&self) {
        let has_gpus = self.gpus.as_ref().is_some_and(|gpus| !gpus.is_empty());
        if has_gpus && !self.uses_rpc() {
            self.probe();
        }
    }

    /// Whether a loaded model uses a device of an RPC server. Such a server has one client at a time: to a probe it
    /// would look as if it were gone.
    fn uses_rpc(&self) -> bool {
        let gpus = self.gpus.iter().flatten();
        let mut lent = gpus.filter(|gpu| placement::is_remote(gpu));
        lent.any(|gpu| self.state.uses_card(gpu.index))
    }

    /// Looks once more for GPUs that were missing, before a model is loaded without them.
    pub(super) fn look_for_missing(&mut self) {
        let is_time = |since: Instant| since.elapsed() >= LOOK_AGAIN;
        if self.missing_since.is_some_and(is_time) && !self.uses_rpc() {
            self.missing_since = None;
            // Loads wait for the answer.
            self.is_looking = true;
            self.probe();
        }
    }

    /// What a load needs on cards where a runner that has just ended may still hold memory.
    pub(super) fn needs_given_back(&self, plan: &LoadPlan) -> Vec<device::Need> {
        let has_ended = |at: Instant| at.elapsed() < GIVEN_BACK;
        if !self.ended_at.is_some_and(has_ended) {
            return Vec::new();
        }
        let gpus = self.gpus.as_deref().unwrap_or_default();
        let needs = plan.cards.iter().filter_map(|card| {
            let gpu = gpus.iter().find(|gpu| gpu.index == card.index)?;
            Some(device::Need {
                total_bytes: gpu.total_bytes,
                bytes: card.bytes,
            })
        });
        needs.collect()
    }

    pub(super) async fn found(&mut self, found: Found) {
        self.missing_since = found.may_change().then(Instant::now);
        self.is_looking = false;
        // A probe that failed says nothing about the GPUs that are known.
        let is_known = self.gpus.as_ref().is_some_and(|gpus| !gpus.is_empty());
        if !(found.has_failed && is_known) {
            self.gpus = Some(found.gpus);
        }
        let obstacle = found.obstacle.map(|obstacle| obstacle.to_string());
        self.obstacle.send_replace(obstacle.clone());
        self.handle(Event::Devices { obstacle }).await;
    }
}

/// Waits until the driver reports that the cards have the free memory that a load needs. A process's memory is
/// given back a little after the process has ended.
pub(super) async fn wait_for_memory(needs: Vec<device::Need>) {
    let asked = Instant::now();
    while asked.elapsed() < GIVEN_BACK {
        let needs = needs.clone();
        let is_free = tokio::task::spawn_blocking(move || device::is_free(&needs)).await;
        // If the driver cannot be asked, do not wait.
        if is_free.unwrap_or(true) {
            return;
        }
        tokio::time::sleep(ASK_AGAIN).await;
    }
    tracing::warn!("the cards have less memory free than the load needs");
}

/// Whether each RPC server has lent a device, which llama.cpp describes by the server's endpoint.
fn have_all(servers: &[String], gpus: &[DeviceInfo]) -> bool {
    let is_there = |server: &String| gpus.iter().any(|gpu| gpu.description == *server);
    servers.iter().all(is_there)
}

/// Looks for a card that llama.cpp did not find.
async fn obstacle() -> Option<Obstacle> {
    let looked = tokio::task::spawn_blocking(|| device::obstacle(Path::new("/")));
    let obstacle = looked.await.ok().flatten()?;
    tracing::warn!(
        reason = obstacle.reason,
        fix = obstacle.fix,
        "no GPU is used, models run on the CPU"
    );
    Some(obstacle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_without_a_device_is_missing() {
        let lent = |endpoint: &str| DeviceInfo {
            index: 0,
            name: "RPC0".to_owned(),
            description: endpoint.to_owned(),
            backend: "RPC".to_owned(),
            is_gpu: true,
            is_integrated: false,
            total_bytes: 1 << 30,
            free_bytes: 1 << 30,
            instruction_sets: Vec::new(),
        };
        let servers = ["10.0.0.2:50052".to_owned(), "den:50052".to_owned()];
        assert!(have_all(&[], &[]));
        assert!(have_all(
            &servers,
            &servers.clone().map(|server| lent(&server))
        ));
        assert!(!have_all(&servers, &[lent("den:50052")]));
        assert!(!have_all(&servers, &[]));
    }
}
