//! NVIDIA's cards, in their state at the last scrape.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The state of a card; sizes are in bytes. Values that the card does not report are left out.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct GpuState {
    pub name: String,
    pub total: u64,
    pub used: u64,
    /// How much of the last moment the card was computing, in per cent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub busy_percent: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub celsius: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub watts: Option<f64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct GpuLabels {
    gpu: usize,
    name: String,
}

type Gauges = Family<GpuLabels, Gauge<f64, AtomicU64>>;

/// The gauges of all cards.
#[derive(Debug, Default)]
pub(super) struct Gpus {
    total: Gauges,
    used: Gauges,
    busy: Gauges,
    temperature: Gauges,
    power: Gauges,
}

impl Gpus {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let all = Self::default();
        for (name, help, gauges) in [
            ("gpu_memory_total_bytes", "Memory of the GPU", &all.total),
            (
                "gpu_memory_used_bytes",
                "Memory of the GPU that all programs use",
                &all.used,
            ),
            (
                "gpu_utilization_ratio",
                "Share of the last moment in which the GPU computed",
                &all.busy,
            ),
            (
                "gpu_temperature_celsius",
                "Temperature of the GPU",
                &all.temperature,
            ),
            ("gpu_power_watts", "Power that the GPU takes", &all.power),
        ] {
            registry.register(name, help, gauges.clone());
        }
        all
    }

    pub(super) fn set(&self, cards: Vec<GpuState>) {
        for gauges in [
            &self.total,
            &self.used,
            &self.busy,
            &self.temperature,
            &self.power,
        ] {
            gauges.clear();
        }
        for (gpu, card) in cards.into_iter().enumerate() {
            let labels = GpuLabels {
                gpu,
                name: card.name,
            };
            let set = |gauges: &Gauges, value: Option<f64>| {
                if let Some(value) = value {
                    gauges.get_or_create_owned(&labels).set(value);
                }
            };
            #[expect(clippy::cast_precision_loss, reason = "metrics are floats")]
            let bytes = |bytes: u64| Some(bytes as f64);
            set(&self.total, bytes(card.total));
            set(&self.used, bytes(card.used));
            set(
                &self.busy,
                card.busy_percent.map(|percent| f64::from(percent) / 100.0),
            );
            set(&self.temperature, card.celsius.map(f64::from));
            set(&self.power, card.watts);
        }
    }
}
