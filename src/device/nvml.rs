//! How NVIDIA's cards are doing, by the driver's management library, which is looked for when it is first needed.

use std::sync::OnceLock;

use nvml_wrapper::Nvml;
use nvml_wrapper::enum_wrappers::device::TemperatureSensor;
use nvml_wrapper::error::NvmlError;

/// The state of a card. What it does not tell is `None`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CardState {
    pub name: String,
    pub total_bytes: u64,
    pub used_bytes: u64,
    /// Share of the last moment in which it computed, in per cent.
    pub busy_percent: Option<u32>,
    pub celsius: Option<u32>,
    pub watts: Option<f64>,
}

/// Asks all cards; none where there is no driver. Blocks for a moment.
pub fn cards() -> Vec<CardState> {
    static LIBRARY: OnceLock<Option<Nvml>> = OnceLock::new();
    let Some(library) = LIBRARY.get_or_init(|| Nvml::init().ok()) else {
        return Vec::new();
    };
    let n_cards = library.device_count().unwrap_or(0);
    (0..n_cards)
        .filter_map(|index| card(library, index).ok())
        .collect()
}

fn card(library: &Nvml, index: u32) -> Result<CardState, NvmlError> {
    let device = library.device_by_index(index)?;
    let memory = device.memory_info()?;
    let milliwatts = device.power_usage().ok();
    Ok(CardState {
        name: device.name()?,
        total_bytes: memory.total,
        used_bytes: memory.used,
        busy_percent: device.utilization_rates().ok().map(|busy| busy.gpu),
        celsius: device.temperature(TemperatureSensor::Gpu).ok(),
        watts: milliwatts.map(|milliwatts| f64::from(milliwatts) / 1000.0),
    })
}
