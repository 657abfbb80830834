//! All settings, read once and never changed afterwards.

mod access;
pub mod client;
pub mod env;
mod host;
mod hours;
pub mod values;

pub use access::{Access, TlsFiles};
pub use client::ClientConfig;
pub use hours::{Hours, InvalidHours};

use std::borrow::Cow;
use std::path::PathBuf;
use std::time::Duration;

use crate::net::Pattern;
use crate::protocol::{KvCacheType, Speculation};

/// A keep-alive time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeepAlive {
    /// Unload this long after the last request; zero = at once when idle.
    For(Duration),
    Forever,
}

/// How the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Readable text.
    Text,
    /// One object per line.
    Json,
}

/// How traces are sent; OpenTelemetry's library reads its other variables by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Traces {
    Protobuf,
    Json,
}

/// Where to listen or connect (`OLLAMA_HOST`).
#[derive(Clone, PartialEq, Eq)]
pub struct HostSpec {
    /// `http` or `https`; only clients use it.
    pub scheme: String,
    /// User and password for clients, with the `@`; empty = none. Never printed.
    pub login: String,
    /// Host without brackets; empty = all interfaces.
    pub host: String,
    pub port: u16,
    /// Path prefix for clients, without trailing slash.
    pub path: String,
}

/// The daemon's settings.
#[derive(Debug, Clone)]
pub struct Config {
    pub host: HostSpec,
    /// `OLLAMA_MODELS`.
    pub models: PathBuf,
    /// drover's own state.
    pub state_dir: PathBuf,
    /// `OLLAMA_ORIGINS` entries, before the built-in ones.
    pub origins: Vec<String>,
    /// Host names that clients may use besides the server's own (`DROVER_ALLOWED_HOSTS`).
    pub allowed_hosts: Vec<Pattern>,
    /// Access control.
    pub access: Access,
    pub keep_alive: KeepAlive,
    /// The longest time without load progress; `None` = never give up.
    pub load_timeout: Option<Duration>,
    /// 0 = automatic.
    pub max_loaded_models: usize,
    /// Slots per model; 0 = automatic.
    pub num_parallel: u32,
    pub max_queue: usize,
    /// The default limit of a request's context; 0 = automatic.
    pub context_length: u32,
    pub flash_attention: Option<bool>,
    pub kv_cache_type: KvCacheType,
    /// `DROVER_SPECULATIVE`.
    pub speculation: Speculation,
    /// Bytes of memory per model for prompts that lost their cells in the KV cache (`None` = chosen by the size of the
    /// machine), and bytes of disk for such prompts of all models (`DROVER_SPILL_MEMORY`, `DROVER_SPILL_DISK`).
    pub spill_memory: Option<u64>,
    pub spill_disk: u64,
    /// Bytes of all files of clients and of batch jobs (`DROVER_BATCH_DISK`).
    pub batch_disk: u64,
    /// How long stored responses are kept after their last use; `None` = forever (`DROVER_RESPONSES_AGE`).
    pub responses_age: Option<Duration>,
    /// Bytes of stored responses; 0 = nothing is stored (`DROVER_RESPONSES_SIZE`).
    pub responses_size: u64,
    /// The most responses that run in the background at once (`DROVER_RESPONSES_BACKGROUND`).
    pub responses_background: usize,
    /// How long a batch job may take (`DROVER_BATCH_WINDOW`).
    pub batch_window: Duration,
    /// The hours of the day in which batch jobs run; `None` = always (`DROVER_BATCH_HOURS`).
    pub batch_hours: Option<Hours>,
    /// Bytes kept free on each GPU.
    pub gpu_overhead: u64,
    /// Whether to refuse models that would run on the CPU, unless a request asks for that.
    pub require_gpu: bool,
    /// Whether to divide models among all GPUs of a kind, although fewer would do.
    pub sched_spread: bool,
    pub no_prune: bool,
    /// The private key that identifies this user to registries.
    pub registry_key: PathBuf,
    /// Base addresses that are tried before the default registry (`DROVER_REGISTRY_MIRRORS`).
    pub registry_mirrors: Vec<String>,
    /// Registries that every client may name, in any network (`DROVER_ALLOWED_REGISTRIES`).
    pub allowed_registries: Vec<Pattern>,
    /// Hosts of the proxies that the environment names (`HTTPS_PROXY` and the like).
    pub proxy_hosts: Vec<String>,
    /// `OLLAMA_GO_TEMPLATE`: prefer (true) or ignore (false) a model's TEMPLATE; `None` = automatic.
    pub go_template: Option<bool>,
    /// `OLLAMA_DEBUG`: 0 = info, 1 = debug, 2 = trace.
    pub debug_level: u8,
    /// Whether `/metrics` also counts by API key (`DROVER_METRICS_KEYS`).
    pub metrics_keys: bool,
    /// How the log is written (`DROVER_LOG_FORMAT`).
    pub log_format: LogFormat,
    /// Where traces go; `None` = there are none (`OTEL_EXPORTER_OTLP_ENDPOINT`).
    pub traces: Option<Traces>,
    /// Largest JSON request body in bytes (`DROVER_MAX_BODY`).
    pub max_body_bytes: usize,
    /// Bytes that all requests in flight may hold; `None` = chosen by the size of the machine
    /// (`DROVER_BODY_MEMORY`).
    pub body_memory: Option<u64>,
    /// The most connections at once; 0 = automatic (`DROVER_MAX_CONNECTIONS`).
    pub max_connections: usize,
    /// How long a client may pause while sending its request or reading the answer
    /// (`DROVER_CLIENT_TIMEOUT`).
    pub client_timeout: Duration,
    /// How long the daemon still accepts requests after SIGTERM, while `/ready` reports that it is stopping
    /// (`DROVER_DRAIN`).
    pub drain: Duration,
    /// How long streams may continue after SIGTERM (`DROVER_GRACE`).
    pub shutdown_grace: Duration,
    /// Whether runners and renderers limit what they can do (`DROVER_SANDBOX`); they read it by themselves.
    pub sandbox: bool,
    /// Servers (`HOST:PORT`) with devices of other machines (`DROVER_RPC`); runners read it by themselves.
    pub rpc_servers: Vec<String>,
    /// A runner that does not answer for this long is killed (`DROVER_RUNNER_TIMEOUT`).
    pub runner_timeout: Duration,
    /// The longest time for rendering one prompt with a model's template (`DROVER_TEMPLATE_TIMEOUT`).
    pub template_timeout: Duration,
}

/// The settings, with warnings about the environment.
#[derive(Debug, Clone)]
pub struct Loaded {
    pub config: Config,
    pub warnings: Vec<Warning>,
}

/// A variable whose value drover does not use as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    pub variable: Cow<'static, str>,
    /// As it was set.
    pub value: String,
    /// What is used instead, or why it has no effect.
    pub default: String,
}

/// All mistakes that keep the daemon from starting.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct ConfigError(pub Vec<String>);
