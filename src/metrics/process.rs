//! The daemon's own process, under the names that Prometheus' client libraries use.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

/// Reads the process at each scrape.
#[derive(Debug)]
struct Process;

/// What the system reports about this process.
#[derive(Debug)]
struct Seen {
    cpu_seconds: f64,
    start_seconds: f64,
    resident_bytes: u64,
    virtual_bytes: u64,
    n_threads: u64,
    n_files: Option<u64>,
    most_files: Option<u64>,
}

pub(super) fn register(registry: &mut Registry) {
    registry.register_collector(Box::new(Process));
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        // A system without such files has no such metrics.
        let Some(seen) = look() else { return Ok(()) };
        let cpu = ConstCounter::new(seen.cpu_seconds);
        let help = "User and system CPU time of the daemon";
        let name = "process_cpu_seconds";
        cpu.encode(encoder.encode_descriptor(name, help, None, cpu.metric_type())?)?;
        let mut gauge = |name: &str, help: &str, value: f64| {
            let gauge = ConstGauge::new(value);
            let kind = gauge.metric_type();
            gauge.encode(encoder.encode_descriptor(name, help, None, kind)?)
        };
        #[expect(clippy::cast_precision_loss, reason = "metrics are floats")]
        let mut number = |name, help, value: u64| gauge(name, help, value as f64);
        number(
            "process_resident_memory_bytes",
            "Resident memory of the daemon",
            seen.resident_bytes,
        )?;
        number(
            "process_virtual_memory_bytes",
            "Address space of the daemon",
            seen.virtual_bytes,
        )?;
        number("process_threads", "Threads of the daemon", seen.n_threads)?;
        if let Some(n) = seen.n_files {
            number("process_open_fds", "Open files of the daemon", n)?;
        }
        if let Some(n) = seen.most_files {
            number("process_max_fds", "Most open files of the daemon", n)?;
        }
        gauge(
            "process_start_time_seconds",
            "When the daemon was started, since 1970",
            seen.start_seconds,
        )
    }
}

#[cfg(target_os = "linux")]
fn look() -> Option<Seen> {
    use procfs::CurrentSI as _;

    let own = procfs::process::Process::myself().ok()?;
    let stat = own.stat().ok()?;
    #[expect(clippy::cast_precision_loss, reason = "metrics are floats")]
    let seconds = |ticks: u64| ticks as f64 / procfs::ticks_per_second().max(1) as f64;
    let boot = procfs::KernelStats::current().ok()?.btime;
    #[expect(clippy::cast_precision_loss, reason = "metrics are floats")]
    let start_seconds = boot as f64 + seconds(stat.starttime);
    let most_files = own.limits().ok().map(|limits| limits.max_open_files);
    let most_files = most_files.and_then(|limit| match limit.soft_limit {
        procfs::process::LimitValue::Value(n) => Some(n),
        procfs::process::LimitValue::Unlimited => None,
    });
    Some(Seen {
        cpu_seconds: seconds(stat.utime.saturating_add(stat.stime)),
        start_seconds,
        resident_bytes: stat.rss.saturating_mul(procfs::page_size()),
        virtual_bytes: stat.vsize,
        n_threads: u64::try_from(stat.num_threads).unwrap_or_default(),
        n_files: own.fd_count().ok().map(|n| n as u64),
        most_files,
    })
}

#[cfg(not(target_os = "linux"))]
fn look() -> Option<Seen> {
    None
}
