//! Whole jobs, with scripted answers.

mod fixture;
mod owners;

use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use super::*;
use crate::jobs::NewFile;
use fixture::{Fixture, line};

fn ids(lines: &[Value]) -> Vec<&str> {
    let ids = lines.iter().map(|line| line["custom_id"].as_str().unwrap());
    let mut ids: Vec<_> = ids.collect();
    ids.sort_unstable();
    ids
}

#[tokio::test]
async fn a_job_ends_with_every_line_in_one_of_two_files() {
    let fixture = Fixture::new(Some(2));
    fixture.start();
    let input = "\u{feff}".to_owned()
        + &line("a", "one")
        + "\n"
        + &line("b", "status 400")
        + &line("c", "again")
        + line("d", "status 500").trim_end();
    let batch = fixture.run(&input).await;
    assert_eq!(batch.status, Status::Completed);
    let counts = Counts {
        total: 4,
        completed: 2,
        failed: 2,
        not_run: 0,
    };
    assert_eq!((batch.counts, batch.model.as_deref()), (counts, Some("m")));
    assert_eq!((batch.usage.input, batch.usage.output), (4, 2));
    let (output, error) = (
        fixture.lines(&batch.output_file),
        fixture.lines(&batch.error_file),
    );
    assert_eq!(
        (ids(&output), ids(&error)),
        (vec!["a", "c"], vec!["b", "d"])
    );
    assert!(
        output
            .iter()
            .all(|line| line["response"]["status_code"] == 200)
    );
    let file = fixture
        .jobs
        .files
        .get(&batch.output_file, &Seen::All, Timestamp::now())
        .await
        .unwrap();
    assert_eq!(
        (file.purpose.as_str(), file.bytes),
        ("batch_output", batch.output_bytes)
    );
    assert_eq!(file.filename, format!("{}_output.jsonl", batch.id));
    assert_eq!(file.expires_at, Some(file.created_at + 3600));
    let asked = fixture.script.asked.lock().unwrap().clone();
    assert_eq!(asked[0].1, "here/me/batch-1");
    // A client error is not retried; a server failure is, several times.
    let count = |prompt: &str| asked.iter().filter(|(asked, _)| asked == prompt).count();
    assert_eq!(
        (count("status 400"), count("again"), count("status 500")),
        (1, 2, 5)
    );
}

#[tokio::test]
async fn faults_of_the_input_are_all_told_and_nothing_runs() {
    let fixture = Fixture::new(Some(2));
    fixture.start();
    let codes = |batch: &Batch| {
        let codes = batch
            .faults
            .iter()
            .map(|fault| (fault.code.clone(), fault.line));
        codes.collect::<Vec<_>>()
    };
    let other = line("b", "x").replace("\"m\"", "\"other\"");
    let input = line("a", "x") + "nothing\n" + &line("a", "x") + &other + &line("c", "x");
    let batch = fixture.run(&input).await;
    assert_eq!(batch.status, Status::Failed);
    let expected = [
        ("invalid_json_line", 2),
        ("duplicate_custom_id", 3),
        ("mismatched_model", 4),
    ];
    let expected = expected.map(|(code, line)| (code.to_owned(), Some(line)));
    assert_eq!(codes(&batch), expected);
    let unknown = fixture
        .run(&line("a", "x").replace("\"m\"", "\"unknown\""))
        .await;
    assert_eq!(codes(&unknown), [("model_not_found".to_owned(), Some(1))]);
    let empty = fixture.run("\n \n").await;
    assert_eq!(codes(&empty), [("empty_file".to_owned(), None)]);
    let missing = fixture.create("file-none").await;
    assert_eq!(missing.status, Status::Validating);
    let missing = fixture.ended(&missing.id).await;
    assert_eq!(codes(&missing), [("invalid_request".to_owned(), None)]);
    assert!(
        missing.faults[0]
            .message
            .starts_with("Cannot find file file-none")
    );
    let many: String = (0..200).map(|_| "bad\n").collect();
    assert_eq!(fixture.run(&many).await.faults.len(), 100);
    assert!(fixture.script.asked.lock().unwrap().is_empty());
    // The inputs stay, and there are no results.
    assert_eq!(fixture.names().len(), 4);
}

#[tokio::test]
async fn too_many_lines_and_too_long_ones_are_refused_in_little_memory() {
    let fixture = Fixture::new(None);
    fixture.start();
    let many: String = (0..50_001).map(|n| line(&n.to_string(), "x")).collect();
    let batch = fixture.run(&many).await;
    assert_eq!(
        (batch.status, batch.faults[0].code.as_str()),
        (Status::Failed, "too_many_tasks")
    );
    let long = line("a", &"x".repeat(validate::MAX_LINE)) + &line("b", "x");
    let batch = fixture.run(&long).await;
    assert_eq!(
        (batch.faults.len(), batch.faults[0].code.as_str()),
        (1, "line_too_long")
    );
}

#[tokio::test]
async fn a_cancelled_job_keeps_what_is_done() {
    let fixture = Fixture::new(Some(1));
    fixture.start();
    let file = fixture
        .file(&(line("a", "one") + &line("b", "never") + &line("c", "never")))
        .await;
    let batch = fixture.create(&file).await;
    fixture
        .until(&batch.id, |batch| batch.counts.completed == 1)
        .await;
    let cancelling =
        fixture
            .jobs
            .batches
            .cancel(&batch.id, Origin::OpenAi, &Seen::All, Timestamp::now());
    assert_eq!(cancelling.await.unwrap().status, Status::Cancelling);
    let batch = fixture.ended(&batch.id).await;
    assert_eq!((batch.status, batch.counts.not_run), (Status::Cancelled, 2));
    assert_eq!(ids(&fixture.lines(&batch.output_file)), ["a"]);
    let error = fixture.lines(&batch.error_file);
    assert_eq!(ids(&error), ["b", "c"]);
    assert_eq!(error[0]["error"]["code"], "batch_cancelled");
}

#[tokio::test]
async fn a_job_whose_time_is_over_keeps_what_is_done() {
    let fixture = Fixture::with(TempDir::new().unwrap(), Some(4), 1 << 30, 5);
    fixture.start();
    let batch = fixture.run(&(line("a", "one") + &line("b", "never"))).await;
    assert_eq!(
        (batch.status, batch.counts.completed, batch.counts.not_run),
        (Status::Expired, 1, 1)
    );
    let error = fixture.lines(&batch.error_file);
    assert_eq!(error[0]["error"]["code"], "batch_expired");
}

#[tokio::test]
async fn a_restart_goes_on_and_answers_nothing_twice() {
    let fixture = Fixture::new(Some(1));
    fixture.start();
    let file = fixture
        .file(&(line("a", "one") + &line("b", "never") + &line("c", "two")))
        .await;
    let batch = fixture.create(&file).await;
    fixture
        .until(&batch.id, |batch| batch.counts.completed == 2)
        .await;
    // The input may be deleted while a job needs it.
    fixture
        .jobs
        .files
        .delete(&file, &Seen::All, Timestamp::now())
        .await
        .unwrap();
    let output = fixture.jobs.files.path(&batch.output_file);
    let folder = fixture.stop().await;
    // What an append left that was not marked.
    let mut text = fs_err::read(&output).unwrap();
    text.extend_from_slice(b"{\"half");
    fs_err::write(&output, text).unwrap();

    let fixture = Fixture::with(folder, Some(1), 1 << 30, 86_400);
    assert_eq!(fixture.jobs.files.sweep().await.unwrap(), 0);
    fixture.start();
    fixture
        .until(&batch.id, |batch| batch.status == Status::InProgress)
        .await;
    let cancelling =
        fixture
            .jobs
            .batches
            .cancel(&batch.id, Origin::OpenAi, &Seen::All, Timestamp::now());
    cancelling.await.unwrap();
    let batch = fixture.ended(&batch.id).await;
    assert_eq!(ids(&fixture.lines(&batch.output_file)), ["a", "c"]);
    assert_eq!(ids(&fixture.lines(&batch.error_file)), ["b"]);
    let asked = fixture.script.asked.lock().unwrap().clone();
    assert!(
        asked.iter().all(|(prompt, _)| prompt == "never"),
        "{asked:?}"
    );
    // The input is removed with the job that needed it.
    let expected = HashSet::from([batch.output_file, batch.error_file]);
    let waiting = async {
        let mut tick = tokio::time::interval(Duration::from_millis(10));
        while fixture.names() != expected {
            tick.tick().await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(30), waiting).await;
    assert!(waited.is_ok(), "{:?}", fixture.names());
}

#[tokio::test]
async fn a_full_disk_pauses_a_job_until_there_is_room() {
    let folder = TempDir::new().unwrap();
    let lines: String = (0..20).map(|n| line(&n.to_string(), "x")).collect();
    let fixture = Fixture::with(folder, Some(4), lines.len() as u64 + 8000, 86_400);
    let ballast = {
        let mut incoming = fixture.jobs.files.begin(1 << 30).await.unwrap();
        incoming.write(&"x".repeat(7900).into()).await.unwrap();
        let new = NewFile {
            owner: Owner::default(),
            purpose: "user_data".to_owned(),
            filename: "ballast".to_owned(),
            expiry: None,
        };
        fixture
            .jobs
            .files
            .keep(incoming, new, Timestamp::now())
            .await
            .unwrap()
    };
    fixture.start();
    let file = fixture.file(&lines).await;
    let batch = fixture.create(&file).await;
    let waiting = async {
        let mut tick = tokio::time::interval(Duration::from_millis(10));
        while fixture.jobs.batches.paused().is_none() {
            tick.tick().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), waiting)
        .await
        .unwrap();
    let reason = fixture.jobs.batches.paused().unwrap();
    assert!(reason.contains("DROVER_BATCH_DISK"), "{reason}");
    assert_eq!(fixture.get(&batch.id).await.status, Status::InProgress);
    let files = &fixture.jobs.files;
    files
        .delete(&ballast.id, &Seen::All, Timestamp::now())
        .await
        .unwrap();
    files
        .delete(&file, &Seen::All, Timestamp::now())
        .await
        .unwrap();
    let batch = fixture.ended(&batch.id).await;
    assert_eq!(
        (batch.counts.completed, fixture.jobs.batches.paused()),
        (20, None)
    );
    assert_eq!(ids(&fixture.lines(&batch.output_file)).len(), 20);
}

#[tokio::test]
async fn no_more_requests_are_on_their_way_than_the_engine_needs() {
    for (places, most) in [(None, 1), (Some(1), 3), (Some(8), 12)] {
        let fixture = Fixture::new(places);
        fixture.start();
        let lines: String = (0..60).map(|n| line(&n.to_string(), "x")).collect();
        assert_eq!(fixture.run(&lines).await.counts.completed, 60);
        assert_eq!(fixture.script.most.load(Ordering::SeqCst), most);
    }
}

#[tokio::test]
async fn lines_with_a_long_head_in_common_run_one_after_the_other() {
    let fixture = Fixture::new(None);
    fixture.start();
    let [a, b] = ["a", "b"].map(|head| head.repeat(600));
    let prompts = [
        format!("{a}1"),
        format!("{b}2"),
        "short".to_owned(),
        format!("{a}3"),
        format!("{b}4"),
    ];
    let lines: String = (0..)
        .zip(&prompts)
        .map(|(n, prompt): (usize, _)| line(&n.to_string(), prompt))
        .collect();
    fixture.run(&lines).await;
    let asked = fixture.script.asked.lock().unwrap();
    let ends: String = asked
        .iter()
        .filter_map(|(prompt, _)| prompt.chars().last())
        .collect();
    assert_eq!(ends, "1324t");
}

#[tokio::test]
async fn jobs_are_listed_newest_first() {
    let fixture = Fixture::new(None);
    let mut created = Vec::new();
    for _ in 0..3 {
        created.push(fixture.create("file-none").await.id);
    }
    let listed = async |after: Option<&str>, before: Option<&str>, limit| {
        let (after, before) = (after.map(str::to_owned), before.map(str::to_owned));
        let batches = &fixture.jobs.batches;
        let (listed, has_more) = batches
            .list(
                Origin::OpenAi,
                &Seen::All,
                BatchPage {
                    after,
                    before,
                    limit,
                },
            )
            .await
            .unwrap();
        let ids: Vec<String> = listed.into_iter().map(|batch| batch.id).collect();
        (ids, has_more)
    };
    let [a, b, c] = [&created[0], &created[1], &created[2]].map(Clone::clone);
    assert_eq!(
        listed(None, None, 2).await,
        (vec![c.clone(), b.clone()], true)
    );
    assert_eq!(listed(Some(&b), None, 2).await, (vec![a.clone()], false));
    assert_eq!(listed(None, Some(&a), 1).await, (vec![b], true));
    let batches = &fixture.jobs.batches;
    let other = batches
        .get(&c, Origin::Anthropic, &Seen::All)
        .await
        .unwrap_err();
    assert_eq!(other.to_string(), format!("No batch found with id '{c}'."));
    batches
        .delete(&a, Origin::OpenAi, &Seen::All)
        .await
        .unwrap();
    assert!(batches.get(&a, Origin::OpenAi, &Seen::All).await.is_err());
}
