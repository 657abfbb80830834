//! The system memory that this process may use.

use sysinfo::{MemoryRefreshKind, System};

/// Returns total and available bytes, zero if the system does not report them; a lower cgroup limit takes
/// precedence.
pub fn system_memory() -> (u64, u64) {
    let Ok(mut system) = System::new() else {
        return (0, 0);
    };
    system.refresh_memory_specifics(MemoryRefreshKind::nothing().with_ram());
    let (total, available) = (system.total_memory(), system.available_memory());
    match system.cgroup_limits() {
        Some(limits) if limits.total_memory > 0 && limits.total_memory < total => {
            (limits.total_memory, available.min(limits.free_memory))
        }
        _ => (total, available),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_known_and_plausible() {
        let (total, available) = system_memory();
        assert!(
            total > 0 && available > 0 && available <= total,
            "{total} {available}"
        );
    }
}
