//! `batch`: files in, files out, whatever happens in between.

use serde_json::Value;

use crate::support::{Drover, TestServer};

async fn server() -> TestServer {
    let server = TestServer::start().await;
    server.fake_model("tiny").await;
    server
}

fn lines(text: &str) -> Vec<Value> {
    let mut lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    lines.sort_by_key(|line| line["custom_id"].as_str().unwrap().to_owned());
    lines
}

fn content(line: &Value) -> &Value {
    &line["response"]["body"]["choices"][0]["message"]["content"]
}

#[tokio::test]
async fn a_table_becomes_a_file_of_answers() {
    let server = server().await;
    let drover = Drover::of(&server);
    let file = |name: &str| drover.folder().join(name);
    fs_err::write(file("in.csv"), "who,text\nme,\"one, two\"\nyou,three\n").unwrap();
    let args = ["batch", "run", "in.csv", "--model", "tiny"];
    let args = [&args[..], &["--prompt", "{who}: {text}", "-o", "out.jsonl"]].concat();
    let output = drover.run(&args).await;
    assert!(
        output
            .stderr
            .contains("completed: 2 of 2 answered, 0 failed"),
        "{output:?}"
    );
    assert_eq!(output.ok(), "");
    let answers = lines(&fs_err::read_to_string(file("out.jsonl")).unwrap());
    assert_eq!(content(&answers[0]), "me: one, two");
    assert_eq!(content(&answers[1]), "you: three");
    assert!(!file("out.errors.jsonl").exists());

    // Lines of text, answers on standard output.
    fs_err::write(file("in.txt"), "a\nb\n").unwrap();
    let text = drover
        .run(&["batch", "run", "in.txt", "--model", "tiny"])
        .await
        .ok();
    assert_eq!(
        lines(&text).iter().map(content).collect::<Vec<_>>(),
        ["a", "b"]
    );

    // Some requests fail: a status of 1, and a separate file.
    fs_err::write(file("in.jsonl"), lines_with_a_mistake()).unwrap();
    let output = drover
        .run(&["batch", "run", "in.jsonl", "-o", "x.jsonl"])
        .await;
    assert_eq!(output.code, Some(1), "{output:?}");
    assert!(
        output
            .stderr
            .contains("what was not answered is in x.errors.jsonl"),
        "{output:?}"
    );
    let errors = lines(&fs_err::read_to_string(file("x.errors.jsonl")).unwrap());
    assert_eq!(errors[0]["response"]["status_code"], 400);

    let table = drover.run(&["batch", "list"]).await.ok();
    assert_eq!(table.lines().count(), 4, "{table}");
    let listed: Value =
        serde_json::from_str(&drover.run(&["batch", "ls", "--json"]).await.ok()).unwrap();
    let id = listed["data"][0]["id"].as_str().unwrap();
    let shown = drover.run(&["batch", "show", id]).await.ok();
    assert!(
        shown.contains("requests  1 of 2 answered, 1 failed\n"),
        "{shown}"
    );
    let late = drover.run(&["batch", "cancel", id]).await.failed();
    assert_eq!(
        late,
        "Error: Cannot cancel a batch with status 'completed'.\n"
    );
}

fn lines_with_a_mistake() -> String {
    let line = |id: &str, extra: &str| {
        format!(
            r#"{{"custom_id":"{id}","method":"POST","url":"/v1/completions","body":{{"model":"tiny","prompt":"x"{extra}}}}}"#
        )
    };
    format!("{}\n{}\n", line("a", ""), line("b", r#","temperature":9"#))
}

#[tokio::test]
async fn who_does_not_wait_gets_the_answers_later() {
    let server = server().await;
    let drover = Drover::of(&server);
    fs_err::write(drover.folder().join("in.txt"), "a\nb\n").unwrap();
    let args = [
        "batch", "run", "in.txt", "--model", "tiny", "--detach", "--json",
    ];
    let batch: Value = serde_json::from_str(&drover.run(&args).await.ok()).unwrap();
    let id = batch["id"].as_str().unwrap();
    let text = drover.run(&["batch", "run", id]).await.ok();
    assert_eq!(lines(&text).len(), 2);
}

#[tokio::test]
async fn what_is_wrong_is_said() {
    let server = server().await;
    let drover = Drover::of(&server);
    fs_err::write(drover.folder().join("in.txt"), "a\n").unwrap();
    fs_err::write(drover.folder().join("in.jsonl"), "{}\n").unwrap();
    for (args, message) in [
        (
            &["run", "in.txt"][..],
            "in.txt: --model says which model answers",
        ),
        (
            &["run", "none.txt", "--model", "m"],
            "none.txt: failed to open file `none.txt`: No such file or directory (os error 2)",
        ),
        (&["run"], "accepts 1 arg(s), received 0"),
        (
            &["go"],
            "unknown action \"go\"; there are `drover batch run`, `list`, `show` and `cancel`",
        ),
        (&["show", "batch_x"], "No batch found with id 'batch_x'."),
        (
            &["run", "in.txt", "--json"],
            "--json prints the job: say with -o where the answers go",
        ),
    ] {
        let args = [&["batch"][..], args].concat();
        let said = drover.run(&args).await.failed();
        assert_eq!(said, format!("Error: {message}\n"));
    }
    let args = ["batch", "run", "in.txt", "--model", "unknown"];
    let output = drover.run(&args).await;
    assert_eq!(output.code, Some(1));
    assert!(
        output
            .stderr
            .contains("line 1: The provided model 'unknown' is not supported"),
        "{output:?}"
    );
}

#[tokio::test]
async fn at_a_terminal_there_is_a_bar_and_ctrl_c_asks() {
    let server = server().await;
    let drover = Drover::of(&server);
    let slow = "[[slow 100]] [[repeat 300]] word\n".repeat(3);
    fs_err::write(drover.folder().join("in.txt"), slow).unwrap();
    let args = ["batch", "run", "in.txt", "--model", "tiny"];
    let mut terminal = drover.at_terminal(&args, (24, 100));
    terminal.has("0/3").await;
    terminal.press("\u{3}").await;
    terminal
        .has("Cancel the job? What is done stays. [y/N]")
        .await;
    terminal.press("y\r").await;
    terminal.has("cancelled: 0 of 3 answered, 0 failed").await;
    assert_eq!(terminal.exit_code().await, Some(1));
}
