//! Checks the rules of `docs/architecture.md` that the source text shows: allowed imports, crates that are confined to
//! one place, the length of files, and that every file says what it is for.
//!
//! It works on text, not syntax: comments are cut off line by line, nothing else is parsed. That is enough for imports,
//! and needs no dependency.

#[path = "tidy/circles.rs"]
mod circles;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// The top-level modules with their levels; a module imports only modules of a lower level.
const LEVELS: &[(&str, u32)] = &[
    ("units", 0),
    ("error", 0),
    ("json", 0),
    ("keys", 0),
    ("paths", 0),
    ("metrics", 0),
    ("sandbox", 0),
    ("net", 0),
    ("plain", 0),
    ("view", 0),
    ("chat", 1),
    ("template", 1),
    ("database", 1),
    ("protocol", 1),
    ("seal", 1),
    ("config", 2),
    ("fair_queue", 2),
    ("history", 2),
    ("model", 2),
    ("api", 2),
    ("store", 3),
    ("renderer", 3),
    ("parser", 3),
    ("client", 3),
    ("runner_client", 3),
    ("engine", 3),
    ("registry", 4),
    ("families", 4),
    ("device", 4),
    ("workers", 4),
    ("create", 5),
    ("scheduler", 5),
    ("deploy", 5),
    ("inference", 6),
    ("dialect", 7),
    ("jobs", 8),
    ("server", 9),
    ("telemetry", 9),
    ("cli", 10),
];

/// Confined paths: code may name them only in files under the given places.
const CONFINED: &[(&str, &[&str])] = &[
    ("llama_cpp_2", &["engine/backend/llama"]),
    ("llama_cpp_sys_2", &["engine/backend/llama"]),
    ("llguidance", &["engine/backend/llama"]),
    (
        "libc",
        &["server/memory", "engine/backend/llama/stream", "sandbox/"],
    ),
    ("landlock", &["sandbox/"]),
    ("seccompiler", &["sandbox/"]),
    ("axum", &["server/"]),
    ("tower", &["server/"]),
    (
        "utoipa",
        &["api/", "chat/", "keys/", "metrics/gpu", "server/openapi/"],
    ),
    ("tower_http", &["server/"]),
    ("reqwest", &["client/", "registry/"]),
    ("clap", &["cli/"]),
    ("csv", &["cli/"]),
    ("ratatui", &["cli/"]),
    ("clap_complete", &["cli/"]),
    ("clap_mangen", &["cli/"]),
    ("prometheus_client", &["metrics/"]),
    ("nvml_wrapper", &["device/nvml"]),
    ("opentelemetry", &["telemetry/"]),
    ("opentelemetry_otlp", &["telemetry/"]),
    ("opentelemetry_sdk", &["telemetry/"]),
    ("listenfd", &["server/"]),
    ("procfs", &["deploy/", "metrics/"]),
    ("uzers", &["deploy/"]),
    ("indicatif", &["cli/"]),
    ("rustyline", &["cli/"]),
    ("directories", &["config/"]),
    ("if_addrs", &["net/"]),
    ("dns_lookup", &["net/"]),
    ("tokio_rusqlite", &["database/"]),
    ("rusqlite_migration", &["database/"]),
];

/// What `engine` may import; everything else arrives over the socket.
const ENGINE_IMPORTS: &[&str] = &[
    "engine",
    "fair_queue",
    "protocol",
    "sandbox",
    "units",
    "view",
];

/// Words of model families. Each folder of `families/` has one here, or in [`NOT_WORDS`].
const FAMILY_WORDS: &[&str] = &[
    "cogito", "cohere", "deepseek", "gemma", "glimmer", "glm", "gptoss", "gpt-oss", "gpt_oss",
    "harmony", "laguna", "lfm2", "mistral", "mllama", "nemotron", "nomic", "olmo", "qwen",
];

/// Folders of `families/` whose names code needs for other things (an engine, a tokenizer, a kind of file), and folders
/// that are not families.
const NOT_WORDS: &[&str] = &[
    "llama", "bert", "clip", "layout", "others", "shared", "tests",
];

/// Files outside of `families/` that name one, and why.
const FAMILY_EXCEPTIONS: &[(&str, &str)] = &[
    ("cli/help.rs", "an example for users"),
    ("cli/commands/launch/mod.rs", "an example for users"),
    ("create/detect.rs", "names of the TEMPLATE files beside it"),
];

/// The most lines of a file, not counting tests.
const MAX_LINES: usize = 520;

#[test]
fn modules_import_only_lower_levels() {
    check(|file| {
        let Some(own) = file.module() else {
            return Vec::new();
        };
        let Some(own_level) = level(own) else {
            return vec![format!("`{own}` has no level: add it to tests/tidy.rs")];
        };
        let imports = file.imports();
        let foreign = imports.iter().filter(|(_, name)| name != own);
        foreign
            .filter(|(_, name)| level(name).is_none_or(|level| level >= own_level))
            .map(|(line, name)| format!("{line}: `{own}` must not import `{name}`"))
            .collect()
    });
}

#[test]
fn folders_beside_each_other_import_each_other_one_way_only() {
    let circles = circles::between_folders(&sources());
    assert!(circles.is_empty(), "\n{}", circles.join("\n"));
}

#[test]
fn the_engine_knows_only_the_protocol() {
    check(|file| {
        if file.is_test || file.module() != Some("engine") {
            return Vec::new();
        }
        let imports = file.imports();
        let foreign = imports
            .iter()
            .filter(|(_, name)| !ENGINE_IMPORTS.contains(&name.as_str()));
        foreign
            .map(|(line, name)| format!("{line}: the engine must not import `{name}`"))
            .collect()
    });
}

/// The engine's schedule only makes decisions; it neither computes nor reads the clock.
#[test]
fn the_schedule_is_pure() {
    let foreign = [
        "backend::",
        "Backend",
        "Instant::now",
        "std::thread",
        "Mutex",
        "Condvar",
        "mpsc",
        "std::fs",
        "runner::",
        "execute::",
        "inbox::",
        "outbox::",
    ];
    check(|file| {
        if file.is_test || !file.name.starts_with("engine/schedule/") {
            return Vec::new();
        }
        let found = foreign.iter().flat_map(|name| {
            let mentions = mentions(&file.code, name).into_iter();
            mentions.map(move |(line, _)| format!("{line}: the schedule must not use `{name}`"))
        });
        found.collect()
    });
}

#[test]
fn crates_stay_where_they_belong() {
    check(|file| {
        let mut found = Vec::new();
        for (name, places) in CONFINED {
            let allowed = places.iter().any(|place| file.name.starts_with(place));
            if allowed || file.is_test {
                continue;
            }
            for (line, _) in mentions(&file.code, &format!("{name}::")) {
                found.push(format!("{line}: `{name}` belongs in {places:?}"));
            }
        }
        found
    });
}

/// To read about or add a model family, one folder is enough.
#[test]
fn families_are_named_in_their_folders_only() {
    let folders = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/families");
    let mut files = Vec::new();
    collect(&folders, "rs", &mut files);
    let folder = |path: &PathBuf| {
        let mut parts = path.strip_prefix(&folders).expect("a path below it").iter();
        let first = parts.next().expect("a file").to_string_lossy().into_owned();
        parts.next().map(|_| first)
    };
    for name in files.iter().filter_map(folder) {
        let mut words = FAMILY_WORDS.iter();
        let is_known = words.any(|word| name.contains(word)) || NOT_WORDS.contains(&name.as_str());
        assert!(is_known, "`families/{name}` has no word in tests/tidy.rs");
    }
    check(|file| {
        let is_exception = FAMILY_EXCEPTIONS.iter().any(|(name, _)| file.name == *name);
        if file.is_test || is_exception || file.name.starts_with("families/") {
            return Vec::new();
        }
        let mut found = Vec::new();
        for (line, text) in (1..).zip(file.code.lines()) {
            let text = text.to_lowercase();
            for word in FAMILY_WORDS.iter().filter(|word| text.contains(**word)) {
                found.push(format!("{line}: `{word}` belongs in families/"));
            }
        }
        found
    });
}

/// Arguments are not settings: `cli` reads them itself. So does code that asks for the running executable.
#[test]
fn the_environment_is_read_in_one_place() {
    let harmless = [
        "env::args_os",
        "env::current_exe",
        "env::current_dir",
        "env::temp_dir",
    ];
    check(|file| {
        if file.is_test || file.name.starts_with("config/") {
            return Vec::new();
        }
        mentions(&file.code, "std::")
            .into_iter()
            .filter(|(_, rest)| first_names(rest).iter().any(|name| name == "env"))
            .filter(|(_, rest)| !harmless.iter().any(|name| rest.starts_with(name)))
            .map(|(line, _)| format!("{line}: settings are read in config/"))
            .collect()
    });
}

#[test]
fn files_are_short_and_say_what_they_are_for() {
    check(|file| {
        let mut found = Vec::new();
        if !file.text.starts_with("//!") {
            found.push("1: the file does not begin with `//!`".to_owned());
        }
        let lines = file.code.lines().count();
        if !file.is_test && lines > MAX_LINES {
            found.push(format!("{lines} lines, at most {MAX_LINES}: split it"));
        }
        found
    });
}

/// A comment must not refer to what readers of the repository cannot open: it states the fact itself, or names a public
/// source.
#[test]
fn no_comment_refers_to_a_document_that_is_not_here() {
    let foreign = |line: &str| {
        let words = [
            "API specification",
            "OpenAI specification",
            "store specification",
            "prompt specification",
            "scheduling specification",
            "compatibility notes",
        ];
        let line = line.to_lowercase();
        let names_one = words.iter().any(|word| line.contains(&word.to_lowercase()));
        names_one || line.contains('\u{a7}')
    };
    assert!(foreign("/// See the API specification \u{a7}1.1."));
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut report = String::new();
    for (folder, extension) in [("src", "rs"), ("tests", "rs"), ("docs", "md")] {
        let mut paths = Vec::new();
        collect(&root.join(folder), extension, &mut paths);
        assert!(paths.len() > 5, "only {} files in {folder}", paths.len());
        for path in paths.iter().filter(|path| !path.ends_with("tidy.rs")) {
            for (index, line) in read(path).lines().enumerate() {
                if foreign(line) {
                    let _ = writeln!(report, "{}:{}: {line}", path.display(), index + 1);
                }
            }
        }
    }
    assert!(report.is_empty(), "\n{report}");
}

#[test]
fn the_reader_of_imports_sees_all_spellings() {
    let source = "use crate::chat::Role;\nuse crate::{model::{digest, name}, units as u};\n\
                  // crate::server\nlet x = crate::store::open();\nfn f() { super::cli::run() }\n";
    let file = SourceFile::new("runner_client/mod.rs".to_owned(), source.to_owned());
    let expected = [
        (1, "chat"),
        (2, "model"),
        (2, "units"),
        (4, "store"),
        (5, "cli"),
    ];
    let expected = expected.map(|(line, name)| (line, name.to_owned()));
    assert_eq!(file.imports(), expected);
    let nested = SourceFile::new("runner_client/log.rs".to_owned(), source.to_owned());
    assert_eq!(nested.imports(), expected[..4]);
}

/// One file under `src/`.
struct SourceFile {
    /// Relative to `src/`.
    name: String,
    text: String,
    /// The text without comments and without the inline test module, same line numbers.
    code: String,
    /// Whether the file contains only tests.
    is_test: bool,
}

impl SourceFile {
    fn new(name: String, text: String) -> Self {
        let is_test = name.ends_with("/tests.rs") || name.contains("/tests/");
        let end = text.find("#[cfg(test)]\nmod tests {").unwrap_or(text.len());
        let mut code = String::with_capacity(end);
        for line in text[..end].lines() {
            let line = line.find("//").map_or(line, |start| {
                // `https://` is not a comment.
                if line[..start].ends_with(':') {
                    line
                } else {
                    &line[..start]
                }
            });
            let _ = writeln!(code, "{line}");
        }
        Self {
            name,
            text,
            code,
            is_test,
        }
    }

    /// The top-level module; `None` for `main.rs` and `lib.rs`.
    fn module(&self) -> Option<&str> {
        let first = self.name.split('/').next().unwrap_or_default();
        let module = first.strip_suffix(".rs").unwrap_or(first);
        (!matches!(module, "main" | "lib")).then_some(module)
    }

    /// The top-level modules that the code names, with the line.
    fn imports(&self) -> Vec<(usize, String)> {
        let mut found = Vec::new();
        let mut roots = vec!["crate::"];
        let is_top = self.name.matches('/').count() == 0 || self.name.ends_with("/mod.rs");
        if is_top && self.name.matches('/').count() <= 1 {
            roots.push("super::");
        }
        for root in roots {
            for (line, rest) in mentions(&self.code, root) {
                found.extend(first_names(rest).into_iter().map(|name| (line, name)));
            }
        }
        found.sort();
        found
    }
}

/// The places where code names a path root, with the text after it; parts of longer names do not count.
fn mentions<'a>(code: &'a str, root: &str) -> Vec<(usize, &'a str)> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices(root) {
        let before = code[..at].chars().next_back();
        // `$crate::` is how macros write the same path.
        if before.is_none_or(|c| !c.is_alphanumeric() && c != '_') {
            let line = code[..at].matches('\n').count() + 1;
            found.push((line, &code[at + root.len()..]));
        }
    }
    found
}

/// The first name of a path, or of each path of a group in braces.
fn first_names(rest: &str) -> Vec<String> {
    let name = |text: &str| -> String {
        let text = text.trim_start();
        text.chars()
            .take_while(|c| c.is_alphanumeric() || *c == '_')
            .collect()
    };
    let Some(group) = rest.strip_prefix('{') else {
        // A macro or an item of the crate's root has no module.
        return Some(name(rest))
            .filter(|name| !name.is_empty())
            .into_iter()
            .collect();
    };
    let mut names = vec![name(group)];
    let mut depth = 0;
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => names.push(name(&group[at + 1..])),
            _ => {}
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

fn level(module: &str) -> Option<u32> {
    LEVELS
        .iter()
        .find(|(name, _)| *name == module)
        .map(|(_, level)| *level)
}

/// Runs a rule over all files and fails with all findings.
fn check(rule: impl Fn(&SourceFile) -> Vec<String>) {
    let mut report = String::new();
    for file in sources() {
        for finding in rule(&file) {
            let _ = writeln!(report, "src/{}:{finding}", file.name);
        }
    }
    assert!(report.is_empty(), "\n{report}");
}

/// All files under `src/`.
fn sources() -> Vec<SourceFile> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut paths = Vec::new();
    collect(&root, "rs", &mut paths);
    assert!(
        paths.len() > 100,
        "only {} files under {}",
        paths.len(),
        root.display()
    );
    let name = |path: &Path| {
        let name = path.strip_prefix(&root).expect("a path below it");
        name.display().to_string()
    };
    let sources = paths.iter();
    sources
        .map(|path| SourceFile::new(name(path), read(path)))
        .collect()
}

#[expect(clippy::disallowed_methods, reason = "std only")]
fn read(path: &Path) -> String {
    std::fs::read_to_string(path).expect("a readable source file")
}

fn collect(folder: &Path, wanted: &str, paths: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a readable folder") {
        let path = entry.expect("a readable folder").path();
        if path.is_dir() {
            collect(&path, wanted, paths);
        } else if path
            .extension()
            .is_some_and(|extension| extension == wanted)
        {
            paths.push(path);
        }
    }
    paths.sort();
}
