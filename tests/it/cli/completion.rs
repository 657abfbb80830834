//! Completion: scripts that the shells can read, and models that the server has.

use std::process::Command;

use crate::support::{Drover, TestServer};

/// Whether that shell is installed; only bash has to be.
fn is_there(shell: &str) -> bool {
    let is_there = Command::new(shell).arg("--version").output().is_ok();
    assert!(is_there || shell != "bash");
    if !is_there {
        println!("skipped: no {shell}");
    }
    is_there
}

#[tokio::test]
async fn scripts_can_be_read() {
    let drover = Drover::at("127.0.0.1:1");
    for name in ["drover", "ollama"] {
        let drover = Drover::at("127.0.0.1:1").named(name);
        for shell in ["bash", "zsh", "fish"] {
            let script = drover.run(&["completion", shell]).await.ok();
            assert!(!script.contains("NAME"), "{script}");
            if !is_there(shell) {
                continue;
            }
            let path = drover.folder().join(shell);
            fs_err::write(&path, script).unwrap();
            let output = Command::new(shell).arg("-n").arg(path).output().unwrap();
            assert!(output.status.success(), "{shell}: {output:?}");
            assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{shell}");
        }
    }
    let error = drover.run(&["completion", "tcsh"]).await.failed();
    assert_eq!(
        error,
        "Error: unknown shell \"tcsh\" (must be bash, zsh, or fish)\n"
    );
}

/// The command line, and its completions with the server's models `tiny`, `tiny:1b` and `other`.
const CASES: &[(&str, &[&str])] = &[
    ("drover run ti", &["tiny:1b", "tiny:latest"]),
    ("drover run --verbose tiny:l", &["tiny:latest"]),
    ("drover show o", &["other:latest"]),
    ("drover cp --", &["--help"]),
    ("drover run --keepalive 5m o", &["other:latest"]),
    ("drover run --keepalive o", &[]),
    ("drover run tiny o", &[]),
    ("drover rm tiny o", &["other:latest"]),
    ("drover list o", &[]),
    ("drover create -f o", &[]),
    ("drover sto", &["stop"]),
    // Hidden commands are not offered either.
    ("drover runn", &[]),
    ("drover render", &[]),
    ("drover ma", &[]),
];

async fn server() -> (TestServer, Drover) {
    let server = TestServer::start().await;
    server.fake_model("tiny").await;
    server.fake_model("tiny:1b").await;
    server.fake_model("other").await;
    let drover = Drover::of(&server).named("drover");
    for shell in ["bash", "zsh", "fish"] {
        let script = drover.run(&["completion", shell]).await.ok();
        fs_err::write(drover.folder().join(shell), script).unwrap();
    }
    (server, drover)
}

#[tokio::test]
async fn bash_completes_models() {
    let (_server, drover) = server().await;
    for (line, expected) in CASES {
        let script = format!(
            "source bash; COMP_WORDBREAKS=$' \\t\\n:'; COMP_LINE='{line}'; COMP_POINT=${{#COMP_LINE}}\n\
             read -ra COMP_WORDS <<<\"$COMP_LINE\"; COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))\n\
             last=${{COMP_WORDS[COMP_CWORD]}}\n\
             $(complete -p drover | sed 's/.* -F \\([^ ]*\\) .*/\\1/') drover \"${{last##*:}}\" \
             \"${{COMP_WORDS[COMP_CWORD-1]}}\"\n\
             printf '%s\\n' \"${{COMPREPLY[@]}}\"\n"
        );
        let found = drover.shell("bash", &script).await.ok();
        // Bash itself keeps the text before the colon.
        let before = line.rsplit(' ').next().unwrap().rfind(':');
        let expected = expected.iter().map(|name| match before {
            Some(_) => name.split_once(':').unwrap().1,
            None => name,
        });
        check(line, &found, expected.collect());
    }
}

#[tokio::test]
async fn fish_completes_models() {
    if !is_there("fish") {
        return;
    }
    let (_server, drover) = server().await;
    for (line, expected) in CASES {
        let script = format!("source fish; complete -C '{line}'");
        let found = drover.shell("fish", &script).await.ok();
        let found = found.lines().filter_map(|line| line.split('\t').next());
        // If nothing else matches, there are files.
        let found = found.filter(|name| !drover.folder().join(name).exists());
        check(
            line,
            &found.collect::<Vec<_>>().join("\n"),
            expected.to_vec(),
        );
    }
}

#[track_caller]
fn check(line: &str, found: &str, mut expected: Vec<&str>) {
    let mut found: Vec<&str> = found.lines().filter(|name| !name.is_empty()).collect();
    found.sort_unstable();
    expected.sort_unstable();
    assert_eq!(found, expected, "{line}");
}
