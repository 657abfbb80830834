//! Every variable: tolerated, refused, defaulted.

use super::*;
use crate::config::{KeepAlive, Traces};

fn load_from(variables: &[(&str, &str)]) -> Result<Loaded, ConfigError> {
    load(&|name| {
        let found = variables.iter().find(|(key, _)| *key == name);
        found.map(|(_, value)| (*value).to_owned())
    })
}

#[test]
fn home_alone_gives_ollamas_defaults() {
    let Loaded { config, warnings } = load_from(&[("HOME", "/home/u")]).unwrap();
    assert_eq!(config.models, PathBuf::from("/home/u/.ollama/models"));
    assert_eq!(
        config.state_dir,
        PathBuf::from("/home/u/.local/state/drover")
    );
    assert_eq!(
        (config.host.host.as_str(), config.host.port),
        ("127.0.0.1", 11434)
    );
    assert_eq!(config.keep_alive, KeepAlive::For(Duration::from_secs(300)));
    assert_eq!((config.num_parallel, config.max_queue), (0, 512));
    assert_eq!(warnings, []);
}

#[test]
fn a_service_keeps_its_state_where_systemd_says() {
    let config = load_from(&[("HOME", "/h"), ("STATE_DIRECTORY", "/var/lib/drover:/x")]);
    assert_eq!(
        config.unwrap().config.state_dir,
        PathBuf::from("/var/lib/drover")
    );
}

#[test]
fn what_ollama_tolerates_is_a_warning_and_the_default() {
    let loaded = load_from(&[
        ("HOME", "/h"),
        ("OLLAMA_NUM_PARALLEL", "four"),
        ("OLLAMA_KEEP_ALIVE", "1d"),
        ("OLLAMA_KV_CACHE_TYPE", "q3"),
        ("OLLAMA_HOST", "0.0.0.0:66000"),
        ("OLLAMA_LLM_LIBRARY", "cuda"),
    ])
    .unwrap();
    let names: Vec<&str> = loaded
        .warnings
        .iter()
        .map(|warning| &*warning.variable)
        .collect();
    assert_eq!(
        names,
        [
            "OLLAMA_HOST",
            "OLLAMA_KEEP_ALIVE",
            "OLLAMA_NUM_PARALLEL",
            "OLLAMA_KV_CACHE_TYPE",
            "OLLAMA_LLM_LIBRARY"
        ]
    );
    assert_eq!(loaded.config.num_parallel, 0);
    assert_eq!(loaded.config.host.port, 11434);
    assert_eq!(
        loaded.warnings[2],
        Warning {
            variable: "OLLAMA_NUM_PARALLEL".into(),
            value: "four".to_owned(),
            default: "0".to_owned()
        }
    );
}

#[test]
fn our_own_variables_are_strict_and_reported_together() {
    let error = load_from(&[
        ("DROVER_GRACE", "soon"),
        ("DROVER_MAX_BODY", "0"),
        ("DROVER_SPECULATIVE", "perhaps"),
        ("DROVER_SPILL_DISK", "much"),
        ("DROVER_BATCH_HOURS", "at night"),
        ("DROVER_MAX_CONNECTIONS", "-1"),
        ("DROVER_CLIENT_TIMEOUT", "0"),
        ("DROVER_LOG_FORMAT", "xml"),
        ("DROVER_SANDBOX", "perhaps"),
        ("DROVER_RPC", "10.0.0.2:50052,elsewhere"),
        ("HOME", "/h"),
    ]);
    let ConfigError(mistakes) = error.unwrap_err();
    assert_eq!(mistakes.len(), 10, "{mistakes:?}");
}

#[test]
fn sizes_may_have_a_unit() {
    for (text, memory, disk) in [
        ("0", Some(0), 0),
        ("1048576", Some(1 << 20), 1 << 20),
        ("2GiB", Some(2 << 30), 2 << 30),
        ("3 MB", Some(3_000_000), 3_000_000),
        ("", None, 0),
    ] {
        let config = load_from(&[
            ("DROVER_SPILL_MEMORY", text),
            ("DROVER_SPILL_DISK", text),
            ("HOME", "/h"),
        ]);
        let config = config.unwrap().config;
        assert_eq!((config.spill_memory, config.spill_disk), (memory, disk));
    }
    let auto = |name| load_from(&[(name, "auto"), ("HOME", "/h")]);
    assert_eq!(
        auto("DROVER_SPILL_MEMORY").unwrap().config.spill_memory,
        None
    );
    // Off is already the default, so `auto` could mean nothing else.
    assert!(auto("DROVER_SPILL_DISK").is_err());
}

#[test]
fn without_a_home_the_message_says_what_to_set() {
    let error = load_from(&[]).unwrap_err().to_string();
    assert!(
        error.contains("HOME") && error.contains("OLLAMA_MODELS"),
        "{error}"
    );
}

#[test]
fn negative_keep_alive_is_forever_and_addresses_are_not_ports() {
    for host in ["[::1]:11434", "::1", "[::]", "http://a/b", "127.0.0.1:0"] {
        let loaded = load_from(&[("HOME", "/h"), ("OLLAMA_HOST", host)]).unwrap();
        assert_eq!(loaded.warnings, [], "{host}");
    }
    let loaded = load_from(&[("HOME", "/h"), ("OLLAMA_KEEP_ALIVE", "-1")]).unwrap();
    assert_eq!(loaded.config.keep_alive, KeepAlive::Forever);
}

#[test]
fn hosts_are_named_one_by_one_or_all() {
    let load = |text: &str| {
        load_from(&[
            ("HOME", "/h"),
            ("DROVER_ALLOWED_HOSTS", text),
            ("DROVER_ALLOWED_REGISTRIES", text),
        ])
    };
    let config = load(" box.example , *.lan:80,[::1]:5, *").unwrap().config;
    assert_eq!(config.allowed_hosts.len(), 4);
    assert_eq!(config.allowed_registries, config.allowed_hosts);
    let error = load("https://box.example,ok.example,a b").unwrap_err();
    assert_eq!(error.0.len(), 4, "{error}");
    assert!(error.0[0].contains("`https://box.example` is no host"));
}

#[test]
fn proxies_are_known_by_their_hosts() {
    let config = load_from(&[
        ("HOME", "/h"),
        ("HTTPS_PROXY", "http://user:pw@Proxy.corp:3128"),
        ("all_proxy", "10.0.0.9:8080"),
        ("http_proxy", "::::"),
    ]);
    let hosts = config.unwrap().config.proxy_hosts;
    assert_eq!(hosts, ["proxy.corp", "10.0.0.9"]);
}

#[test]
fn traces_are_sent_where_opentelemetry_is_told_to() {
    let traces = |variables: &[(&str, &str)]| {
        let mut variables = variables.to_vec();
        variables.push(("HOME", "/h"));
        let loaded = load_from(&variables).unwrap();
        (loaded.config.traces, loaded.warnings.len())
    };
    let there = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318");
    assert_eq!(traces(&[]), (None, 0));
    assert_eq!(traces(&[there]), (Some(Traces::Protobuf), 0));
    let json = ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json");
    assert_eq!(traces(&[json]), (None, 0));
    assert_eq!(traces(&[there, json]), (Some(Traces::Json), 0));
    let only = (
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
        "http://c:4318/v1/traces",
    );
    assert_eq!(traces(&[only]), (Some(Traces::Protobuf), 0));
    let grpc = ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc");
    assert_eq!(traces(&[there, grpc]), (Some(Traces::Protobuf), 1));
    for off in [
        ("OTEL_SDK_DISABLED", "true"),
        ("OTEL_TRACES_EXPORTER", "none"),
    ] {
        assert_eq!(traces(&[there, off]), (None, 0));
    }
}

#[test]
fn settings_are_told_without_secrets() {
    let told = given(&|name| match name {
        "OLLAMA_HOST" => Some("0.0.0.0".to_owned()),
        "OTEL_EXPORTER_OTLP_HEADERS" => Some("authorization=secret".to_owned()),
        "OLLAMA_ORIGINS" => Some(String::new()),
        _ => None,
    });
    let expected = [
        ("OLLAMA_HOST", "0.0.0.0"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "***"),
    ];
    assert_eq!(told, expected.map(|(name, value)| (name, value.to_owned())));
}

#[test]
fn variables_that_only_look_like_ours_are_told() {
    let names = [
        "DROVER_GRACES",
        "DROVER_WHATEVER",
        "DROVER_GRACE",
        "DROVER_PROFILE",
        "OLLAMA_X",
    ];
    let warnings = unknown(names.iter().map(|name| (*name).to_owned()));
    let told: Vec<_> = warnings
        .iter()
        .map(|warning| (&*warning.variable, &*warning.default))
        .collect();
    assert_eq!(
        told,
        [
            (
                "DROVER_GRACES",
                "no effect: there is no such setting; is it DROVER_GRACE?"
            ),
            ("DROVER_WHATEVER", "no effect: there is no such setting"),
        ]
    );
}

/// The text of `docs/settings.md`, made from the table.
fn settings() -> String {
    let row = |variable: &Variable| {
        let default = match variable.default {
            "" => "–".to_owned(),
            default => format!("`{default}`"),
        };
        format!("| `{}` | {default} | {} |\n", variable.name, variable.doc)
    };
    let table = |variables: &[Variable], prefix: &str| -> String {
        let rows = variables.iter().filter(|v| v.name.starts_with(prefix));
        format!(
            "| Variable | Default | Meaning |\n| --- | --- | --- |\n{}",
            rows.map(row).collect::<String>()
        )
    };
    let without = WITHOUT_EFFECT.iter();
    let without: String = without
        .map(|(name, reason)| format!("| `{name}` | {reason} |\n"))
        .collect();
    format!(
        "# Settings\n\n\
         Environment variables of the daemon; `drover serve --help` lists them, too. For the service they are set\n\
         with `systemctl edit drover` (`[Service]`, then `Environment=NAME=VALUE` lines). This page is made from the\n\
         table that the daemon reads them by.\n\n\
         ## Ollama's\n\n\
         A value that makes no sense is a warning in the log and the default, as in Ollama.\n\n{}\n\
         ## drover's own\n\n\
         A bad value stops the start with a message; an unknown name is a warning.\n\n{}\n\
         ## OpenTelemetry's\n\n\
         Those that matter most; the SDK's other variables for traces count, too. See [deploy.md](deploy.md#traces).\n\n{}\n\
         ## Without effect\n\n\
         Ollama's variables that change nothing here; the log says so where one is set.\n\n\
         | Variable | Why |\n| --- | --- |\n{without}\n\
         ## Of the commands\n\n{}",
        table(VARIABLES, "OLLAMA_"),
        table(VARIABLES, "DROVER_"),
        table(VARIABLES, "OTEL_"),
        table(of_commands::ALL, ""),
    )
}

/// `DROVER_WRITE_DOCS=1` rewrites the file.
#[test]
fn the_page_of_settings_is_made_from_the_table() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/settings.md");
    if process("DROVER_WRITE_DOCS").is_some() {
        fs_err::write(path, settings()).unwrap();
    }
    let page = fs_err::read_to_string(path).unwrap();
    assert!(
        page == settings(),
        "write docs/settings.md anew: DROVER_WRITE_DOCS=1 cargo quick settings"
    );
}

/// Defaults that the table describes in words.
const IN_WORDS: &[&str] = &[
    "OLLAMA_MODELS",
    "OLLAMA_FLASH_ATTENTION",
    "OLLAMA_GO_TEMPLATE",
    "DROVER_KEYS_FILE",
    "DROVER_AUDIT_LOG",
    "DROVER_STATE_DIR",
];

#[test]
fn the_defaults_in_the_table_are_those_that_are_used() {
    let shown = |variables: &[(&str, &str)]| {
        let loaded = load_from(variables).unwrap();
        assert_eq!(loaded.warnings, [], "{variables:?}");
        format!("{:?}", loaded.config)
    };
    let home = ("HOME", "/h");
    let without = shown(&[home]);
    let variables = VARIABLES.iter().filter(|v| !v.default.is_empty());
    let mut n = 0;
    for variable in variables.filter(|v| !IN_WORDS.contains(&v.name)) {
        let with = shown(&[home, (variable.name, variable.default)]);
        assert_eq!(with, without, "{}", variable.name);
        n += 1;
    }
    assert!(n > 30, "{n}");
}

#[test]
fn the_table_has_what_is_read() {
    let asked = std::cell::RefCell::new(Vec::new());
    let lookup = |name: &str| {
        asked.borrow_mut().push(name.to_owned());
        (name == "HOME").then(|| "/h".to_owned())
    };
    load(&lookup).unwrap();
    let is_known = |name: &str| {
        VARIABLES.iter().any(|known| known.name == name)
            || WITHOUT_EFFECT.iter().any(|(known, _)| *known == name)
    };
    let ours = |name: &&String| name.starts_with("OLLAMA_") || name.starts_with("DROVER_");
    for name in asked.borrow().iter().filter(ours) {
        assert!(is_known(name), "{name} is in no table");
    }
    for variable in VARIABLES.iter().filter(|v| !v.name.starts_with("OTEL_")) {
        let is_asked = asked.borrow().iter().any(|name| name == variable.name);
        assert!(is_asked, "{} is not read", variable.name);
    }
}
