//! Commands that are mistyped, refused or rarely used: the texts and exit codes that scripts rely on.

use serde_json::json;

use crate::support::{Drover, TestServer, models};

const NO_ACCOUNT: &str = "ollama cloud is disabled: there is no account to sign in to or out of";

#[tokio::test]
async fn mistakes_are_told_without_a_daemon() {
    let drover = Drover::at("127.0.0.1:1");
    for (line, error) in [
        ("frob", "unknown command \"frob\" for \"drover\""),
        ("help --frob", "unknown flag: --frob"),
        (
            "stpo x",
            "unknown command \"stpo\" for \"drover\"\n\nDid you mean this?\n\tstop\n",
        ),
        ("--frob", "unknown flag: --frob"),
        ("list --frob", "unknown flag: --frob"),
        ("list -x", "unknown shorthand flag: 'x' in -x"),
        ("create m -f", "flag needs an argument: 'f' in -f"),
        ("serve x", "accepts 0 arg(s), received 1"),
        ("start x", "accepts 0 arg(s), received 1"),
        ("show", "accepts 1 arg(s), received 0"),
        ("stop a b", "accepts 1 arg(s), received 2"),
        ("cp a", "accepts 2 arg(s), received 1"),
        ("rm", "requires at least 1 arg(s), only received 0"),
        ("run", "requires at least 1 arg(s), only received 0"),
        (
            "run m --verbose=maybe",
            "invalid argument \"maybe\" for \"--verbose\" flag: strconv.ParseBool: parsing \
             \"maybe\": invalid syntax",
        ),
        (
            "run m --dimensions x",
            "invalid argument \"x\" for \"--dimensions\" flag: strconv.ParseInt: parsing \"x\": \
             invalid syntax",
        ),
        ("signin", NO_ACCOUNT),
        ("login --x", NO_ACCOUNT),
        ("signout", NO_ACCOUNT),
        ("logout", NO_ACCOUNT),
    ] {
        let args: Vec<&str> = line.split(' ').collect();
        let said = drover.run(&args).await.failed();
        assert_eq!(said, format!("Error: {error}\n"), "{line}");
    }
    // An unknown topic is not a failure, as in Ollama.
    let said = drover.run(&["help", "frob"]).await;
    let start = "Unknown help topic [`frob`]\nUsage: drover [flags]\n";
    assert!(said.stderr.starts_with(start), "{said:?}");
    assert_eq!(said.ok(), "");
    let said = drover.run(&["help", "run", "frob"]).await.ok();
    assert!(said.contains("Usage: drover run MODEL"), "{said}");
    let said = drover.run(&["launch", "code", "--", "-x"]).await.failed();
    assert!(said.contains("http://127.0.0.1:1/v1"), "{said}");
    // The version is also printed without a daemon.
    let version = drover.run(&["-v"]).await.ok();
    let mut lines = version.lines();
    assert!(
        lines.next().unwrap().starts_with("drover version "),
        "{version}"
    );
    let warning = "Warning: no daemon answers; `drover serve` starts it";
    assert_eq!(lines.next(), Some(warning));
    assert!(
        drover
            .run(&["list"])
            .await
            .failed()
            .contains("`drover serve`")
    );
    // Under Ollama's name the words are Ollama's.
    let ollama = drover.named("ollama");
    let version = ollama.run(&["-v"]).await.ok();
    assert!(
        version.starts_with("Warning: could not connect to a running Ollama instance\n"),
        "{version}"
    );
    assert_eq!(
        ollama.run(&["list"]).await.failed(),
        "Error: could not connect to ollama server, run 'ollama serve' to start it\n"
    );
}

#[tokio::test]
async fn every_command_has_help_with_examples() {
    let drover = Drover::at("127.0.0.1:1");
    let help = drover.run(&["help"]).await.ok();
    assert_eq!(drover.run(&[]).await.ok(), help);
    let commands = help
        .lines()
        .skip_while(|line| *line != "Available Commands:");
    let commands = commands.skip(1).take_while(|line| !line.is_empty());
    let mut n_commands = 0;
    for command in commands.map(|line| line.split_whitespace().next().unwrap()) {
        if command == "help" {
            continue;
        }
        n_commands += 1;
        let help = drover.run(&[command, "--help"]).await.ok();
        assert_eq!(drover.run(&["help", command]).await.ok(), help, "{command}");
        let example = format!("\nExamples:\n  drover {command}");
        assert!(help.contains(&example), "{help}");
    }
    assert!(n_commands >= 16, "{help}");
    let serve = drover.run(&["serve", "--help"]).await.ok();
    for variable in ["OLLAMA_HOST", "OLLAMA_MODELS", "DROVER_GRACE"] {
        assert!(
            serve.contains(&format!("\n      {variable:<24}   ")),
            "{serve}"
        );
    }
}

#[tokio::test]
async fn flags_are_checked_and_obeyed() {
    let server = TestServer::start().await;
    server.fake_model("plain").await;
    let embed = models::embedder();
    server.create("embed", embed.build(), json!({})).await.ok();
    let drover = Drover::of(&server);
    for (line, error) in [
        (
            "show plain --system --license",
            "only one of '--license', '--modelfile', '--parameters', '--system', or '--template' \
             can be specified",
        ),
        (
            "run --think=x plain hi",
            "invalid value for --think: \"x\" (must be true, false, high, medium, low, or max)",
        ),
        // Without `=` the level is a part of the prompt.
        (
            "run plain --think high hi",
            "400 Bad Request: \"plain\" does not support thinking",
        ),
        (
            "run plain --keepalive 5 hi",
            "time: missing unit in duration \"5\"",
        ),
        (
            "run plain --keepalive 1d hi",
            "time: unknown unit \"d\" in duration \"1d\"",
        ),
        (
            "run embed",
            "embedding models require input text. Usage: drover run embed \"your text here\"",
        ),
        (
            "run embed hi --truncate=maybe",
            "invalid argument \"maybe\" for \"--truncate\" flag: strconv.ParseBool: parsing \
             \"maybe\": invalid syntax",
        ),
        ("create a::b", "invalid model name: a::b"),
        ("create m -f none", "specified Modelfile wasn't found"),
        ("cp plain a::b", "destination \"a::b\" is invalid"),
    ] {
        let args: Vec<&str> = line.split(' ').collect();
        let said = drover.run(&args).await.failed();
        assert_eq!(said, format!("Error: {error}\n"), "{line}");
    }
    for (line, input, said) in [
        ("run plain -- --verbose", "", "--verbose\n\n"),
        ("run plain B C", "A\n", "A\n B C\n\n"),
        ("run plain", "", ""),
        ("run plain --format json hi", "", "{\"answer\":\"hi\"}\n\n"),
        (
            "run --nowordwrap --hidethinking --think=false plain hi",
            "",
            "hi\n\n",
        ),
        ("show plain --system", "", ""),
        ("show plain --license", "", "\n"),
        ("show plain --verbose=false --system=true", "", ""),
        ("create mine -f -", "FROM plain\nSYSTEM Be kind.\n", ""),
        ("show mine --system", "", "Be kind."),
        ("stop plain", "", ""),
    ] {
        let args: Vec<&str> = line.split(' ').collect();
        assert_eq!(drover.run_with(&args, input).await.ok(), said, "{line}");
    }
    let vector = drover
        .run(&["run", "embed", "hi", "--dimensions", "4"])
        .await
        .ok();
    let vector: Vec<f64> = serde_json::from_str(&vector).unwrap();
    assert_eq!(vector.len(), 4);

    // `rm` stops at the first missing model; the models before it are removed.
    let output = drover.run(&["rm", "mine", "nobody", "plain"]).await;
    assert_eq!(
        (output.code, output.stdout.as_str(), output.stderr.as_str()),
        (
            Some(1),
            "deleted 'mine'\n",
            "Error: model 'nobody' not found\n"
        )
    );
    assert_eq!(drover.run(&["ls", "PL"]).await.ok().lines().count(), 2);
}
