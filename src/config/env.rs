//! Every environment variable that the daemon reads: name, default, what it does.
//!
//! The only place that touches the process environment. A value of one of Ollama's variables
//! that Ollama would tolerate is a warning and the default (a machine that started Ollama must
//! start drover); a bad value of one of our own is refused.

mod access;
mod inherited;
mod surroundings;
mod variables;

use std::path::{Path, PathBuf};
use std::time::Duration;

pub use inherited::{inherited, is_secret};
pub use surroundings::{driver_caches, libraries, wants_sandbox};
pub use variables::{VARIABLES, Variable};

use bytesize::ByteSize;
use variables::WITHOUT_EFFECT;

use crate::net::Pattern;

use super::{
    Config, ConfigError, HostSpec, Hours, KeepAlive, Loaded, LogFormat, Traces, Warning, values,
};

const KV_CACHE_TYPES: &[&str] = &["f16", "f32", "bf16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0"];

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

/// Bytes of all files that clients hand in, and of the results of batch jobs.
const BATCH_DISK: u64 = 20 << 30;

/// The window of OpenAI's batch jobs.
const BATCH_WINDOW: Duration = Duration::from_secs(24 * 3600);

const SPECULATIVE: &[&str] = &["off", "auto", "on"];

/// Looks a variable up in the environment of this process.
pub fn process(name: &str) -> Option<String> {
    #[expect(clippy::disallowed_methods, reason = "the one place that may")]
    let value = std::env::var_os(name);
    value.map(|text| text.to_string_lossy().into_owned())
}

/// The settings that are given, of those that there are; secret ones without their values.
pub fn given(lookup: &dyn Fn(&str) -> Option<String>) -> Vec<(&'static str, String)> {
    let value = |variable: &Variable| {
        let value = lookup(variable.name).filter(|value| !value.is_empty())?;
        let is_secret = is_secret(variable.name) || variable.name.ends_with("_HEADERS");
        let shown = if is_secret { "***".to_owned() } else { value };
        Some((variable.name, shown))
    };
    VARIABLES.iter().filter_map(value).collect()
}

/// Warns about variables with our prefix that do not exist, such as misspelled ones.
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

/// The names of this process's environment.
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
    /// Returns the value without surrounding white space and quotes; `None` when unset or empty.
    fn text(&self, name: &str) -> Option<String> {
        let value = (self.lookup)(name)?;
        let value = values::clean(&value);
        (!value.is_empty()).then(|| value.to_owned())
    }

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
            speculative: self.speculative(),
            spill_memory: self.spill_memory(),
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
            body_memory: self.body_memory(),
            max_connections: self.own_number("DROVER_MAX_CONNECTIONS"),
            client_timeout: self.client_timeout(),
            drain: self.own_duration("DROVER_DRAIN", Duration::ZERO),
            shutdown_grace: self.own_duration("DROVER_GRACE", Duration::from_secs(10)),
            sandbox: self.on_or_off("DROVER_SANDBOX", true),
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

    fn host(&mut self) -> HostSpec {
        let text = self.text("OLLAMA_HOST").unwrap_or_default();
        let host = HostSpec::parse(&text);
        let port = text
            .trim_end_matches('/')
            .rsplit_once(':')
            .map(|(_, port)| port.to_owned());
        if let Some(port) = port.filter(|port| !port.contains(['/', ']']))
            && port.parse::<u16>().is_err()
            && !text.ends_with("::1")
        {
            // Hides the part before the host, which may be a password.
            let shown = text.rsplit('@').next().unwrap_or_default();
            self.warn("OLLAMA_HOST", shown, &host.port.to_string());
        }
        host
    }

    fn home(&self) -> Option<PathBuf> {
        self.text("HOME").map(PathBuf::from)
    }

    fn models(&mut self) -> Option<PathBuf> {
        let models = self
            .text("OLLAMA_MODELS")
            .map(PathBuf::from)
            .or_else(|| Some(self.home()?.join(".ollama/models")));
        self.required(models, "OLLAMA_MODELS")
    }

    /// systemd's `StateDirectory=` when run as a service, else the user's state folder.
    fn state_dir(&mut self) -> Option<PathBuf> {
        let service = self.text("STATE_DIRECTORY");
        let service = service.and_then(|list| list.split(':').next().map(PathBuf::from));
        let state = self
            .text("DROVER_STATE_DIR")
            .map(PathBuf::from)
            .or(service)
            .or_else(|| Some(PathBuf::from(self.text("XDG_STATE_HOME")?).join("drover")))
            .or_else(|| Some(self.home()?.join(".local/state/drover")));
        self.required(state, "DROVER_STATE_DIR")
    }

    /// Ollama's path; without a home folder, one of our own.
    fn registry_key(&self, state_dir: Option<&Path>) -> PathBuf {
        let home = self.home().map(|home| home.join(".ollama"));
        let folder = home.or_else(|| state_dir.map(Path::to_owned));
        folder.unwrap_or_default().join("id_ed25519")
    }

    fn mirrors(&mut self) -> Vec<String> {
        const NAME: &str = "DROVER_REGISTRY_MIRRORS";
        let mirrors = self.list(NAME);
        for mirror in &mirrors {
            if !mirror.starts_with("http://") && !mirror.starts_with("https://") {
                self.mistakes.push(format!(
                    "{NAME}: `{mirror}` is no address such as `https://mirror.example`"
                ));
            }
        }
        mirrors
    }

    fn patterns(&mut self, name: &'static str) -> Vec<Pattern> {
        let mut patterns = Vec::new();
        for text in self.list(name) {
            match Pattern::parse(&text) {
                Some(pattern) => patterns.push(pattern),
                None => self.mistakes.push(format!(
                    "{name}: `{text}` is no host such as `box.example`, `*.example`, \
                     `10.0.0.5:5000` or `*` (all)"
                )),
            }
        }
        patterns
    }

    /// The HTTP client reads the same variables and handles bad values itself.
    fn proxy_hosts(&self) -> Vec<String> {
        const NAMES: [&str; 3] = ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"];
        let spellings = NAMES.map(|name| [name.to_owned(), name.to_ascii_lowercase()]);
        let values = spellings.iter().flatten();
        let values = values.filter_map(|name| self.text(name));
        let hosts = values.filter_map(|text| {
            let text = if text.contains("://") {
                text
            } else {
                format!("http://{text}")
            };
            Some(url::Url::parse(&text).ok()?.host_str()?.to_owned())
        });
        hosts.collect()
    }

    fn required(&mut self, path: Option<PathBuf>, name: &str) -> Option<PathBuf> {
        if path.is_none() {
            self.mistakes
                .push(format!("$HOME is not set: set HOME or {name}"));
        }
        path
    }

    /// Returns the items of a comma-separated list.
    fn list(&self, name: &str) -> Vec<String> {
        let list = self.text(name).unwrap_or_default();
        list.split(',')
            .map(str::trim)
            .filter(|item| !item.is_empty())
            .map(str::to_owned)
            .collect()
    }

    fn keep_alive(&mut self) -> KeepAlive {
        let default = KeepAlive::For(Duration::from_secs(300));
        let Some(text) = self.text("OLLAMA_KEEP_ALIVE") else {
            return default;
        };
        match values::duration_nanos(&text) {
            Some(nanos) => u64::try_from(nanos).map_or(KeepAlive::Forever, |nanos| {
                KeepAlive::For(Duration::from_nanos(nanos))
            }),
            None => {
                self.warn("OLLAMA_KEEP_ALIVE", &text, "5m");
                default
            }
        }
    }

    fn load_timeout(&mut self) -> Option<Duration> {
        let default = Some(Duration::from_secs(300));
        let Some(text) = self.text("OLLAMA_LOAD_TIMEOUT") else {
            return default;
        };
        match values::duration_nanos(&text) {
            Some(nanos) => u64::try_from(nanos)
                .ok()
                .filter(|&nanos| nanos > 0)
                .map(Duration::from_nanos),
            None => {
                self.warn("OLLAMA_LOAD_TIMEOUT", &text, "5m");
                default
            }
        }
    }

    fn number<T: TryFrom<u64> + std::fmt::Display>(&mut self, name: &'static str, default: T) -> T {
        let Some(text) = self.text(name) else {
            return default;
        };
        let number = values::unsigned(&text).ok().flatten();
        match number.and_then(|number| T::try_from(number).ok()) {
            Some(number) => number,
            None => {
                self.warn(name, &text, &default.to_string());
                default
            }
        }
    }

    fn kv_cache_type(&mut self) -> String {
        let Some(text) = self.text("OLLAMA_KV_CACHE_TYPE") else {
            return "f16".to_owned();
        };
        let lower = text.to_lowercase();
        if KV_CACHE_TYPES.contains(&lower.as_str()) {
            return lower;
        }
        self.warn("OLLAMA_KV_CACHE_TYPE", &text, "f16");
        "f16".to_owned()
    }

    fn speculative(&mut self) -> String {
        const NAME: &str = "DROVER_SPECULATIVE";
        let text = self.text(NAME).unwrap_or_else(|| "auto".to_owned());
        let lower = text.to_lowercase();
        if !SPECULATIVE.contains(&lower.as_str()) {
            self.mistakes
                .push(format!("{NAME}: `{text}` is none of off, auto, on"));
        }
        lower
    }

    fn batch_hours(&mut self) -> Option<Hours> {
        const NAME: &str = "DROVER_BATCH_HOURS";
        let text = self.text(NAME)?;
        let hours = text.parse();
        if let Err(error) = &hours {
            self.mistakes.push(format!("{NAME}: `{text}`: {error}"));
        }
        hours.ok()
    }

    fn on_or_off(&mut self, name: &'static str, default: bool) -> bool {
        let Some(text) = self.text(name) else {
            return default;
        };
        let is_on = surroundings::is_on(&text);
        if is_on.is_none() {
            let mistake = format!("{name}: `{text}` is neither `on` nor `off`");
            self.mistakes.push(mistake);
        }
        is_on.unwrap_or(default)
    }

    fn log_format(&mut self) -> LogFormat {
        const NAME: &str = "DROVER_LOG_FORMAT";
        match self.text(NAME).as_deref() {
            None | Some("text") => LogFormat::Text,
            Some("json") => LogFormat::Json,
            Some(other) => {
                let mistake = format!("{NAME}: `{other}` is neither `text` nor `json`");
                self.mistakes.push(mistake);
                LogFormat::Text
            }
        }
    }

    /// OpenTelemetry's own variables, which other programs read, too: what we do not know is a warning.
    fn traces(&mut self) -> Option<Traces> {
        const PROTOCOL: &str = "OTEL_EXPORTER_OTLP_PROTOCOL";
        let is_off = |text: String| values::boolean(&text);
        if self.text("OTEL_SDK_DISABLED").is_some_and(is_off) {
            return None;
        }
        let none = |exporter: String| exporter == "none";
        if self.text("OTEL_TRACES_EXPORTER").is_some_and(none) {
            return None;
        }
        let endpoint = self.text("OTEL_EXPORTER_OTLP_ENDPOINT");
        endpoint.or_else(|| self.text("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"))?;
        let protocol = self.text("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL");
        let protocol = protocol.or_else(|| self.text(PROTOCOL));
        match protocol.as_deref() {
            None | Some("http/protobuf") => Some(Traces::Protobuf),
            Some("http/json") => Some(Traces::Json),
            Some(other) => {
                let other = other.to_owned();
                self.warn(PROTOCOL, &other, "http/protobuf");
                Some(Traces::Protobuf)
            }
        }
    }

    fn debug_level(&self) -> u8 {
        let Some(text) = self.text("OLLAMA_DEBUG") else {
            return 0;
        };
        match text.as_str() {
            "2" => 2,
            other => u8::from(values::boolean(other)),
        }
    }

    fn own_duration(&mut self, name: &'static str, default: Duration) -> Duration {
        let Some(text) = self.text(name) else {
            return default;
        };
        let nanos = values::duration_nanos(&text).and_then(|nanos| u64::try_from(nanos).ok());
        nanos.map_or_else(
            || {
                self.mistakes.push(format!(
                    "{name}: `{text}` is no duration such as `30s` or `2m`"
                ));
                default
            },
            Duration::from_nanos,
        )
    }

    fn client_timeout(&mut self) -> Duration {
        const NAME: &str = "DROVER_CLIENT_TIMEOUT";
        let timeout = self.own_duration(NAME, Duration::from_secs(60));
        if timeout.is_zero() {
            self.mistakes.push(format!("{NAME} must be more than 0"));
        }
        timeout
    }

    /// A number whose default is 0.
    fn own_number(&mut self, name: &'static str) -> usize {
        let text = self.text(name).unwrap_or_default();
        let number = values::unsigned(&text);
        let number = number.map(|number| usize::try_from(number.unwrap_or(0)));
        if let Ok(Ok(number)) = number {
            return number;
        }
        self.mistakes
            .push(format!("{name}: `{text}` is no number such as `100`"));
        0
    }

    fn responses_age(&mut self) -> Option<Duration> {
        const MONTH: Duration = Duration::from_secs(30 * 24 * 3600);
        let age = self.own_duration("DROVER_RESPONSES_AGE", MONTH);
        (!age.is_zero()).then_some(age)
    }

    fn responses_background(&mut self) -> usize {
        const NAME: &str = "DROVER_RESPONSES_BACKGROUND";
        match self.text(NAME) {
            None => 32,
            Some(_) => self.own_number(NAME),
        }
    }

    fn spill_memory(&mut self) -> Option<u64> {
        const NAME: &str = "DROVER_SPILL_MEMORY";
        if self.text(NAME).is_some_and(|text| text == "auto") {
            return None;
        }
        self.own_size(NAME)
    }

    fn body_memory(&mut self) -> Option<u64> {
        const NAME: &str = "DROVER_BODY_MEMORY";
        if self.text(NAME).is_some_and(|text| text == "auto") {
            return None;
        }
        self.own_size(NAME)
    }

    /// A number of bytes, with or without a unit; `None` when unset.
    fn own_size(&mut self, name: &'static str) -> Option<u64> {
        let text = self.text(name)?;
        let size = text.parse::<ByteSize>();
        if size.is_err() {
            self.mistakes
                .push(format!("{name}: `{text}` is no size such as `2GiB` or `0`"));
        }
        size.ok().map(|size| size.as_u64())
    }

    fn own_bytes(&mut self, name: &'static str, default: usize) -> usize {
        match self.own_size(name).map(usize::try_from) {
            None => default,
            Some(Ok(bytes)) if bytes > 0 => bytes,
            Some(_) => {
                self.mistakes.push(format!(
                    "{name} must be more than 0, and less than the memory"
                ));
                default
            }
        }
    }

    fn report_without_effect(&mut self) {
        for (name, reason) in WITHOUT_EFFECT {
            if let Some(text) = self.text(name) {
                self.warn(name, &text, &format!("no effect: {reason}"));
            }
        }
    }

    fn warn(&mut self, variable: &'static str, value: &str, default: &str) {
        let (value, default) = (value.to_owned(), default.to_owned());
        self.warnings.push(Warning {
            variable: variable.into(),
            value,
            default,
        });
    }
}

#[cfg(test)]
mod tests;
