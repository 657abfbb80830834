//! The state of NVIDIA's cards, from the driver's management library.
//!
//! The library is looked up on first use, and again if it is missing or no longer answers, since the driver may be
//! loaded late or reloaded.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use nvml_wrapper::Nvml;
use nvml_wrapper::enum_wrappers::device::TemperatureSensor;
use nvml_wrapper::error::NvmlError;

use crate::metrics::GpuState;

/// The shortest time between two lookups of the library.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// Memory that is needed on a card of this size. Cards are matched by size, since CUDA and the driver number them
/// differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Need {
    pub total_bytes: u64,
    pub bytes: u64,
}

/// Something that is looked up from time to time until it is found.
#[derive(Debug)]
struct Sought<T> {
    found: Option<T>,
    looked_at: Option<Instant>,
}

impl<T> Sought<T> {
    const fn new() -> Self {
        Self {
            found: None,
            looked_at: None,
        }
    }

    fn get(&mut self, now: Instant, look: impl FnOnce() -> Option<T>) -> Option<&T> {
        let is_time = |at: Instant| now.duration_since(at) >= LOOK_AGAIN;
        if self.found.is_none() && self.looked_at.is_none_or(is_time) {
            self.looked_at = Some(now);
            self.found = look();
        }
        self.found.as_ref()
    }
}

/// Queries all cards; empty if there is no driver. Blocks for a moment.
pub fn cards() -> Vec<GpuState> {
    static LIBRARY: Mutex<Sought<Nvml>> = Mutex::new(Sought::new());
    let mut sought = LIBRARY.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(library) = sought.get(Instant::now(), || Nvml::init().ok()) else {
        return Vec::new();
    };
    let Ok(n_cards) = library.device_count() else {
        sought.found = None;
        return Vec::new();
    };
    (0..n_cards)
        .filter_map(|index| card(library, index).ok())
        .collect()
}

/// Whether the driver has enough free memory for all needs, each on a different card. True if it knows no such cards.
/// Blocks for a moment.
pub fn is_free(needs: &[Need]) -> bool {
    has_free(cards(), needs)
}

/// CUDA reports a little less memory for a card than the driver.
const TOLERANCE_PERCENT: u64 = 10;

fn has_free(mut cards: Vec<GpuState>, needs: &[Need]) -> bool {
    let mut needs = needs.to_vec();
    needs.sort_by_key(|need| std::cmp::Reverse(need.bytes));
    needs.into_iter().all(|need| {
        let is_alike = |card: &GpuState| {
            let difference = card.total.abs_diff(need.total_bytes);
            difference <= need.total_bytes / 100 * TOLERANCE_PERCENT
        };
        let free = |card: &GpuState| card.total.saturating_sub(card.used);
        let alike = cards.iter().enumerate().filter(|(_, card)| is_alike(card));
        let emptiest = alike.map(|(index, card)| (free(card), index)).max();
        emptiest.is_none_or(|(free, index)| {
            cards.swap_remove(index);
            free >= need.bytes
        })
    })
}

fn card(library: &Nvml, index: u32) -> Result<GpuState, NvmlError> {
    let device = library.device_by_index(index)?;
    let memory = device.memory_info()?;
    let milliwatts = device.power_usage().ok();
    Ok(GpuState {
        name: device.name()?,
        total: memory.total,
        used: memory.used,
        busy_percent: device.utilization_rates().ok().map(|busy| busy.gpu),
        celsius: device.temperature(TemperatureSensor::Gpu).ok(),
        watts: milliwatts.map(|milliwatts| f64::from(milliwatts) / 1000.0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    #[test]
    fn what_is_missing_is_looked_for_again_but_not_all_the_time() {
        let start = Instant::now();
        let mut sought = Sought::new();
        let mut n_looks = 0;
        let mut get = |seconds, there: bool| {
            let look = || {
                n_looks += 1;
                there.then_some(7)
            };
            let found = sought
                .get(start + Duration::from_secs(seconds), look)
                .copied();
            (found, n_looks)
        };
        assert_eq!(get(0, false), (None, 1));
        assert_eq!(get(1, true), (None, 1), "too early");
        assert_eq!(get(30, false), (None, 2));
        assert_eq!(get(60, true), (Some(7), 3));
        assert_eq!(get(200, false), (Some(7), 3), "it is known");
    }

    #[test]
    fn memory_is_free_where_a_card_of_that_size_has_it() {
        let card = |total: u64, used: u64| GpuState {
            total: total * GIB,
            used: used * GIB,
            ..GpuState::default()
        };
        let need = |total: u64, bytes: u64| Need {
            total_bytes: total * GIB,
            bytes: bytes * GIB,
        };
        let two = || vec![card(16, 12), card(24, 4)];
        assert!(has_free(two(), &[need(16, 4)]));
        assert!(
            !has_free(two(), &[need(16, 5)]),
            "the other card is of another kind"
        );
        assert!(has_free(two(), &[need(24, 20)]));
        assert!(has_free(two(), &[need(23, 20)]), "as CUDA tells its size");
        assert!(has_free(two(), &[need(80, 70)]), "not a card of NVIDIA's");
        assert!(has_free(Vec::new(), &[need(16, 10)]));
        let alike = || vec![card(24, 20), card(24, 0)];
        assert!(has_free(alike(), &[need(24, 4), need(24, 24)]));
        assert!(
            !has_free(alike(), &[need(24, 5), need(24, 24)]),
            "each on its own"
        );
    }
}
