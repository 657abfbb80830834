//! `create`, `list`, `show`, `ps`, `cp`, `rm`, `stop`.

use serde_json::json;

use crate::support::{Drover, TestServer, models};

#[tokio::test]
async fn create_takes_a_modelfile_and_the_files_beside_it() {
    let server = TestServer::start().await;
    let drover = Drover::of(&server);
    fs_err::write(drover.folder().join("tiny.gguf"), models::fake().build()).unwrap();
    let modelfile = "FROM ./tiny.gguf\nPARAMETER num_ctx 512\nSYSTEM Be brief.\n";
    fs_err::write(drover.folder().join("Modelfile"), modelfile).unwrap();
    let output = drover.run(&["create", "mine"]).await;
    assert!(output.stderr.contains("success"), "{output:?}");
    output.ok();
    assert_eq!(
        drover.run(&["show", "mine", "--system"]).await.ok(),
        "Be brief."
    );
    let parameters = drover.run(&["show", "mine", "--parameters"]).await.ok();
    assert!(
        parameters.contains("num_ctx") && parameters.contains("512"),
        "{parameters}"
    );
    let modelfile = drover.run(&["show", "mine", "--modelfile"]).await.ok();
    assert!(
        modelfile.contains("\nFROM ") && modelfile.contains("SYSTEM Be brief."),
        "{modelfile}"
    );

    let missing = drover.run(&["create", "x", "-f", "nothing"]).await.failed();
    assert!(missing.starts_with("Error: "), "{missing}");
}

#[tokio::test]
async fn models_are_listed_copied_and_removed() {
    let server = TestServer::start().await;
    server.fake_model("tiny").await;
    let drover = Drover::of(&server);
    let list = drover.run(&["list"]).await.ok();
    let lines: Vec<&str> = list.lines().collect();
    assert!(lines[0].starts_with("NAME           ID "), "{list}");
    assert!(
        lines.len() == 2 && lines[1].starts_with("tiny:latest    "),
        "{list}"
    );

    assert_eq!(
        drover.run(&["cp", "tiny", "other"]).await.ok(),
        "copied 'tiny' to 'other'\n"
    );
    assert_eq!(drover.run(&["ls", "OTH"]).await.ok().lines().count(), 2);
    let removed = drover.run(&["rm", "tiny", "other"]).await.ok();
    assert_eq!(removed, "deleted 'tiny'\ndeleted 'other'\n");
    assert_eq!(drover.run(&["list"]).await.ok().lines().count(), 1);
    let error = drover.run(&["rm", "tiny"]).await.failed();
    assert_eq!(error, "Error: model 'tiny' not found\n");
    let error = drover.run(&["cp", "tiny", "x"]).await.failed();
    assert_eq!(error, "Error: model \"tiny\" not found\n");
    let error = drover.run(&["show", "tiny"]).await.failed();
    assert!(
        error.starts_with("Error: model 'tiny") && error.ends_with("not found\n"),
        "{error}"
    );
}

#[tokio::test]
async fn ps_shows_what_stop_ends() {
    let server = TestServer::start().await;
    server.fake_model("tiny").await;
    let drover = Drover::of(&server);
    assert_eq!(drover.run(&["ps"]).await.ok().lines().count(), 1);
    server
        .post("/api/generate", &json!({"model": "tiny", "keep_alive": -1}))
        .await
        .ok();
    let ps = drover.run(&["ps"]).await.ok();
    let row = ps.lines().nth(1).unwrap();
    assert!(
        row.starts_with("tiny:latest") && row.contains("100% CPU"),
        "{ps}"
    );
    assert!(row.trim_end().ends_with("Forever"), "{ps}");

    assert_eq!(drover.run(&["stop", "tiny"]).await.ok(), "");
    server.no_runners().await;
    assert_eq!(drover.run(&["ps"]).await.ok().lines().count(), 1);
    // Stopping a model that is not loaded is fine; stopping one that does not exist is not.
    drover.run(&["stop", "tiny"]).await.ok();
    let error = drover.run(&["stop", "nobody"]).await.failed();
    assert_eq!(error, "Error: couldn't find model \"nobody\" to stop\n");
}

#[tokio::test]
async fn show_prints_blocks() {
    let server = TestServer::start().await;
    server.fake_model("tiny").await;
    let shown = Drover::of(&server).run(&["show", "tiny"]).await.ok();
    assert!(
        shown.starts_with("  Model\n    architecture        drover-fake"),
        "{shown}"
    );
    assert!(shown.contains("context length      4096"), "{shown}");
    assert!(shown.contains("  Capabilities\n    completion"), "{shown}");
}

#[tokio::test]
async fn without_a_daemon_the_error_says_how_to_start_one() {
    // A port that was free a moment ago.
    let free = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let error = Drover::at(&free.to_string()).run(&["list"]).await.failed();
    assert!(error.starts_with("Error: no daemon answers"), "{error}");
    assert!(error.contains("`drover serve`"), "{error}");
}
