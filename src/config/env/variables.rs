//! The table of variables, and of Ollama's variables that have no effect here.

/// One documented variable.
#[derive(Debug, Clone, Copy)]
pub struct Variable {
    pub name: &'static str,
    /// The default as a user would write it.
    pub default: &'static str,
    pub doc: &'static str,
}

/// The variables that `serve --help` lists.
pub const VARIABLES: &[Variable] = &[
    row("OLLAMA_HOST", "127.0.0.1:11434", "Address to listen on"),
    row("OLLAMA_MODELS", "~/.ollama/models", "Folder of the models"),
    row(
        "OLLAMA_CONTEXT_LENGTH",
        "0",
        "Cap on a request's context that sets none (0 = what fits)",
    ),
    row(
        "OLLAMA_KEEP_ALIVE",
        "5m",
        "How long an idle model stays loaded (negative = forever)",
    ),
    row(
        "OLLAMA_LOAD_TIMEOUT",
        "5m",
        "Longest time without progress while loading (0 = never)",
    ),
    row(
        "OLLAMA_MAX_LOADED_MODELS",
        "0",
        "Models loaded at once (0 = 3 per GPU, or 3)",
    ),
    row(
        "OLLAMA_NUM_PARALLEL",
        "0",
        "Requests a model serves at once (0 = automatic)",
    ),
    row(
        "OLLAMA_MAX_QUEUE",
        "512",
        "Requests that may wait for a model to load, or for a free slot of a loaded one",
    ),
    row(
        "OLLAMA_FLASH_ATTENTION",
        "automatic",
        "Flash attention on or off",
    ),
    row(
        "OLLAMA_KV_CACHE_TYPE",
        "f16",
        "Type of the KV cache: f16, q8_0, q4_0",
    ),
    row("OLLAMA_GPU_OVERHEAD", "0", "Bytes kept free on each GPU"),
    row(
        "OLLAMA_SCHED_SPREAD",
        "false",
        "Divide every model among all GPUs of a kind, although fewer would do",
    ),
    row(
        "OLLAMA_NOPRUNE",
        "false",
        "Keep blobs that no model uses at start",
    ),
    row(
        "OLLAMA_GO_TEMPLATE",
        "automatic",
        "Use a model's TEMPLATE (true) or its GGUF chat template (false)",
    ),
    row(
        "OLLAMA_ORIGINS",
        "",
        "More origins that browsers may call from, comma-separated",
    ),
    row(
        "DROVER_ALLOWED_HOSTS",
        "",
        "Names by which clients may call the server beside its own, comma-separated: box.example, *.example, * = any",
    ),
    row(
        "DROVER_KEYS_FILE",
        "keys.json in DROVER_STATE_DIR",
        "File of the API keys; one that is named must be there",
    ),
    row(
        "DROVER_KEYS_LOOPBACK",
        "open",
        "Whether programs on this machine need a key, too, once there are keys: open, required",
    ),
    row(
        "DROVER_KEYS_ANONYMOUS",
        "",
        "Scopes that everybody has without a key where there are keys, comma-separated: inference, models, metrics",
    ),
    row(
        "DROVER_TLS_CERT",
        "",
        "File of the certificate (PEM, with its chain): the server speaks HTTPS; read again on SIGHUP",
    ),
    row(
        "DROVER_TLS_KEY",
        "",
        "File of the certificate's private key (PEM)",
    ),
    row(
        "DROVER_AUDIT_LOG",
        "audit.jsonl in DROVER_STATE_DIR",
        "File that says who changed keys and models; off = only the log does",
    ),
    row(
        "DROVER_TRUSTED_PROXIES",
        "",
        "Proxies whose X-Forwarded-For says where a request comes from, comma-separated: 10.0.0.5, 10.0.0.0/8",
    ),
    row("OLLAMA_DEBUG", "0", "More log lines: 1 = debug, 2 = trace"),
    row(
        "DROVER_LOG_FORMAT",
        "text",
        "How the log is written: text, or json = one object per line",
    ),
    row(
        "DROVER_REGISTRY_MIRRORS",
        "",
        "Registries asked before the default one, comma-separated",
    ),
    row(
        "DROVER_ALLOWED_REGISTRIES",
        "",
        "Registries that every client may name, wherever they are, comma-separated: 10.0.0.5:5000, *.example, * = any",
    ),
    row(
        "DROVER_STATE_DIR",
        "~/.local/state/drover",
        "drover's own state",
    ),
    row(
        "DROVER_MAX_BODY",
        "268435456",
        "Largest request body in bytes",
    ),
    row(
        "DROVER_BODY_MEMORY",
        "auto",
        "Memory for all requests in flight: 2GiB, auto = an eighth of the machine's, at most 1GiB",
    ),
    row(
        "DROVER_MAX_CONNECTIONS",
        "0",
        "Connections at once, an eighth of them for one address (0 = 2048, or what the limit of open files allows)",
    ),
    row(
        "DROVER_CLIENT_TIMEOUT",
        "1m",
        "How long a client may send nothing of its request, and take nothing of its answer",
    ),
    row(
        "DROVER_DRAIN",
        "0s",
        "How long requests are still accepted after SIGTERM, while /ready says 503 to load balancers",
    ),
    row(
        "DROVER_GRACE",
        "10s",
        "How long streams may run on after SIGTERM",
    ),
    row(
        "DROVER_SPECULATIVE",
        "auto",
        "Speculative decoding: draft tokens from repeated text or a draft model, and verify them together: auto = where it pays, on, off",
    ),
    row(
        "DROVER_SPILL_MEMORY",
        "auto",
        "Memory per model for prompts whose place in the KV cache was needed: 2GiB, 0 = none, auto = a sixteenth of the machine's, at most 4GiB",
    ),
    row(
        "DROVER_SPILL_DISK",
        "0",
        "Disk for the prompts of all models, kept over reloads and restarts: 20GiB, 0 = none",
    ),
    row(
        "DROVER_BATCH_DISK",
        "20GiB",
        "Disk for the files that clients hand in (/v1/files) and for the results of batch jobs",
    ),
    row(
        "DROVER_RESPONSES_AGE",
        "720h",
        "How long responses, conversations and stored chats are kept after their last use (0 = for ever)",
    ),
    row(
        "DROVER_RESPONSES_SIZE",
        "1GiB",
        "Disk for responses, conversations and stored chats; the oldest make room (0 = nothing is stored)",
    ),
    row(
        "DROVER_RESPONSES_BACKGROUND",
        "32",
        "Responses that may run in the background at once",
    ),
    row(
        "DROVER_BATCH_WINDOW",
        "24h",
        "How long a batch job may take; then it ends with what it has",
    ),
    row(
        "DROVER_BATCH_HOURS",
        "",
        "Hours of the day, by this machine's clock, in which requests of batch jobs begin: 22:00-07:00",
    ),
    row(
        "DROVER_METRICS_KEYS",
        "off",
        "Count requests and tokens by API key in /metrics, too: on, off",
    ),
    row(
        "DROVER_SANDBOX",
        "on",
        "Runners and renderers reach no files, programs and networks that they do not need, as far as the kernel can: on, off",
    ),
    row(
        "DROVER_RPC",
        "",
        "Use the devices of these servers (`drover rpc-server` on other machines, host:port,…), in builds with RPC",
    ),
    row(
        "DROVER_REQUIRE_GPU",
        "false",
        "Refuse models that would run on the CPU, unless a request asks for that (num_gpu 0)",
    ),
    row(
        "DROVER_RUNNER_TIMEOUT",
        "2m",
        "A runner that is silent for this long is restarted",
    ),
    row(
        "DROVER_TEMPLATE_TIMEOUT",
        "5s",
        "Longest time for making a prompt with a model's template",
    ),
    row(
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "",
        "Where traces of requests go: http://collector:4318; without it there are none",
    ),
    row(
        "OTEL_EXPORTER_OTLP_PROTOCOL",
        "http/protobuf",
        "How they are sent: http/protobuf or http/json",
    ),
    row(
        "OTEL_EXPORTER_OTLP_HEADERS",
        "",
        "Headers for the collector, such as a key: name=value, comma-separated",
    ),
    row(
        "OTEL_SERVICE_NAME",
        "drover",
        "The name of the service in traces",
    ),
    row(
        "OTEL_TRACES_SAMPLER",
        "parentbased_always_on",
        "Which requests are traced, with OTEL_TRACES_SAMPLER_ARG: traceidratio = that share",
    ),
];

/// Variables of Ollama that change nothing here, with the reason.
pub(super) const WITHOUT_EFFECT: &[(&str, &str)] = &[
    (
        "OLLAMA_LLM_LIBRARY",
        "the back ends are chosen when drover is built or by the hardware",
    ),
    ("OLLAMA_REMOTES", "there are no cloud models"),
    ("OLLAMA_AUTH", "there are no accounts"),
    (
        "OLLAMA_DEBUG_LOG_REQUESTS",
        "what clients send is never logged",
    ),
    (
        "OLLAMA_MAX_TRANSFER_STREAMS",
        "downloads choose the number of their parts",
    ),
    ("OLLAMA_IGPU_ENABLE", "llama.cpp chooses the devices"),
    (
        "OLLAMA_VULKAN",
        "the back ends are chosen when drover is built",
    ),
    ("OLLAMA_TMPDIR", "obsolete"),
    ("OLLAMA_RUNNERS_DIR", "obsolete"),
    ("OLLAMA_NEW_ENGINE", "obsolete"),
    ("OLLAMA_MAX_VRAM", "obsolete"),
    ("OLLAMA_INTEL_GPU", "obsolete"),
    ("OLLAMA_MULTIUSER_CACHE", "obsolete"),
    ("OLLAMA_NEW_ESTIMATES", "obsolete"),
];

const fn row(name: &'static str, default: &'static str, doc: &'static str) -> Variable {
    Variable { name, default, doc }
}
