//! Every environment variable that the daemon reads: name, default, what it does.
//!
//! The only module that touches the process environment. If Ollama would tolerate a bad value of one of its variables,
//! drover warns and uses the default (a machine that started Ollama must start drover); a bad value of one of drover's
//! own variables is refused.

mod access;
mod inherited;
mod limits;
mod network;
pub mod of_commands;
mod paths;
mod reader;
mod surroundings;
mod telemetry;
mod variables;

use std::path::PathBuf;
use std::time::Duration;

pub use inherited::{inherited, is_secret};
pub use surroundings::{driver_caches, libraries, rpc_servers, wants_sandbox};
pub use variables::{VARIABLES, Variable};

use variables::WITHOUT_EFFECT;

use super::{Config, ConfigError, Loaded, Warning, values};

/// Variables of the scripts that build, package and test drover.
const OF_SCRIPTS: &[&str] = &[
    "DROVER_CACHE",
    "DROVER_DEB_LEVEL",
    "DROVER_NODE_MODULES",
    "DROVER_PROFILE",
    "DROVER_PYTHON",
    "DROVER_TESTDATA",
    "DROVER_TEST_KILLS",
    "DROVER_TEST_MODELS",
    "DROVER_TEST_REQUIRE",
];

/// The default for the bytes of all files of clients and of the results of batch jobs.
const BATCH_DISK: u64 = 20 << 30;

/// The window of OpenAI's batch jobs.
const BATCH_WINDOW: Duration = Duration::from_secs(24 * 3600);

/// Looks a variable up in the environment of this process.
pub fn process(name: &str) -> Option<String> {
    #[expect(clippy::disallowed_methods, reason = "the one place that may")]
    let value = std::env::var_os(name);
    value.map(|text| text.to_string_lossy().into_owned())
}

/// The known settings that are set; secret ones without their values.
pub fn given(lookup: &dyn Fn(&str) -> Option<String>) -> Vec<(&'static str, String)> {
    let value = |variable: &Variable| {
        let value = lookup(variable.name).filter(|value| !value.is_empty())?;
        let is_secret = is_secret(variable.name) || variable.name.ends_with("_HEADERS");
        let shown = if is_secret { "***".to_owned() } else { value };
        Some((variable.name, shown))
    };
    VARIABLES.iter().filter_map(value).collect()
}

/// Warns about unknown variables with our prefix, such as misspelled ones.
pub fn unknown(names: impl Iterator<Item = String>) -> Vec<Warning> {
    let ours = |name: &str| VARIABLES.iter().any(|known| known.name == name);
    let odd = names.filter(|name| name.starts_with("DROVER_") && !ours(name));
    odd.filter(|name| !OF_SCRIPTS.contains(&&**name))
        .map(|name| {
            let likeness = |known: &&Variable| strsim::damerau_levenshtein(known.name, &name);
            let nearest = VARIABLES.iter().min_by_key(likeness);
            let nearest = nearest.filter(|known| likeness(known) <= 4);
            let hint = nearest.map_or_else(String::new, |known| format!("; is it {}?", known.name));
            Warning {
                default: format!("no effect: there is no such setting{hint}"),
                variable: name.into(),
                value: String::new(),
            }
        })
        .collect()
}

/// The names of the variables in this process's environment.
pub fn names() -> impl Iterator<Item = String> {
    std::env::vars_os().map(|(name, _)| name.to_string_lossy().into_owned())
}

/// Returns our own executable, which the daemon starts again for each runner.
///
/// # Errors
/// The system does not report it.
pub fn executable() -> std::io::Result<PathBuf> {
    std::env::current_exe()
}

/// Reads all settings through `lookup`.
///
/// # Errors
/// Returns all mistakes at once: bad `DROVER_*` values, no home folder.
pub fn load(lookup: &dyn Fn(&str) -> Option<String>) -> Result<Loaded, ConfigError> {
    let mut reader = Reader {
        lookup,
        warnings: Vec::new(),
        mistakes: Vec::new(),
    };
    let config = reader.config();
    reader.report_without_effect();
    match config {
        Some(config) if reader.mistakes.is_empty() => Ok(Loaded {
            config,
            warnings: reader.warnings,
        }),
        _ => Err(ConfigError(reader.mistakes)),
    }
}

struct Reader<'a> {
    lookup: &'a dyn Fn(&str) -> Option<String>,
    warnings: Vec<Warning>,
    mistakes: Vec<String>,
}

impl Reader<'_> {
    fn config(&mut self) -> Option<Config> {
        let models = self.models();
        let state_dir = self.state_dir();
        Some(Config {
            host: self.host(),
            access: self.access(state_dir.as_deref()),
            origins: self.list("OLLAMA_ORIGINS"),
            allowed_hosts: self.patterns("DROVER_ALLOWED_HOSTS"),
            keep_alive: self.keep_alive(),
            load_timeout: self.load_timeout(),
            max_loaded_models: self.number("OLLAMA_MAX_LOADED_MODELS", 0),
            num_parallel: self.number("OLLAMA_NUM_PARALLEL", 0),
            max_queue: self.number("OLLAMA_MAX_QUEUE", 512),
            context_length: self.number("OLLAMA_CONTEXT_LENGTH", 0),
            flash_attention: self
                .text("OLLAMA_FLASH_ATTENTION")
                .and_then(|text| values::tri_state(&text)),
            kv_cache_type: self.kv_cache_type(),
            speculation: self.speculation(),
            spill_memory: self.size_or_auto("DROVER_SPILL_MEMORY"),
            spill_disk: self.own_size("DROVER_SPILL_DISK").unwrap_or(0),
            batch_disk: self.own_size("DROVER_BATCH_DISK").unwrap_or(BATCH_DISK),
            responses_age: self.responses_age(),
            responses_size: self.own_size("DROVER_RESPONSES_SIZE").unwrap_or(1 << 30),
            responses_background: self.responses_background(),
            batch_window: self.own_duration("DROVER_BATCH_WINDOW", BATCH_WINDOW),
            batch_hours: self.batch_hours(),
            gpu_overhead: self.number("OLLAMA_GPU_OVERHEAD", 0),
            require_gpu: self
                .text("DROVER_REQUIRE_GPU")
                .is_some_and(|text| values::boolean(&text)),
            sched_spread: self
                .text("OLLAMA_SCHED_SPREAD")
                .is_some_and(|text| values::boolean(&text)),
            go_template: self
                .text("OLLAMA_GO_TEMPLATE")
                .and_then(|text| values::tri_state(&text)),
            no_prune: self
                .text("OLLAMA_NOPRUNE")
                .is_some_and(|text| values::boolean(&text)),
            debug_level: self.debug_level(),
            log_format: self.log_format(),
            metrics_keys: self.on_or_off("DROVER_METRICS_KEYS", false),
            traces: self.traces(),
            max_body_bytes: self.own_bytes("DROVER_MAX_BODY", 256 << 20),
            body_memory: self.size_or_auto("DROVER_BODY_MEMORY"),
            max_connections: self.own_number("DROVER_MAX_CONNECTIONS"),
            client_timeout: self.client_timeout(),
            drain: self.own_duration("DROVER_DRAIN", Duration::ZERO),
            shutdown_grace: self.own_duration("DROVER_GRACE", Duration::from_secs(10)),
            sandbox: self.on_or_off("DROVER_SANDBOX", true),
            rpc_servers: self.rpc_servers(),
            runner_timeout: self.own_duration("DROVER_RUNNER_TIMEOUT", Duration::from_secs(120)),
            template_timeout: self.own_duration("DROVER_TEMPLATE_TIMEOUT", Duration::from_secs(5)),
            registry_key: self.registry_key(state_dir.as_deref()),
            registry_mirrors: self.mirrors(),
            allowed_registries: self.patterns("DROVER_ALLOWED_REGISTRIES"),
            proxy_hosts: self.proxy_hosts(),
            models: models?,
            state_dir: state_dir?,
        })
    }

    fn report_without_effect(&mut self) {
        for (name, reason) in WITHOUT_EFFECT {
            if let Some(text) = self.text(name) {
                self.warn(name, &text, &format!("no effect: {reason}"));
            }
        }
    }
}

#[cfg(test)]
mod tests;
