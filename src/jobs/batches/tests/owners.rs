//! The owners of jobs, and the jobs of a revoked key.

use super::*;
use crate::database::Database;
use crate::jobs::{FilePage, Order, schema};

fn owner(id: &str) -> Owner {
    Owner::stored(id.to_owned())
}

fn of(id: &str) -> Seen {
    Seen::Of(owner(id))
}

fn first_page() -> BatchPage {
    BatchPage {
        limit: 9,
        ..BatchPage::default()
    }
}

fn listed(seen: Seen) -> FilePage {
    FilePage {
        seen,
        after: None,
        limit: 9,
        order: Order::NewestFirst,
        purpose: None,
    }
}

#[tokio::test]
async fn a_job_and_its_results_are_its_owners() {
    let fixture = Fixture::new(Some(2));
    fixture.start();
    let input = line("a", "one") + &line("b", "status 400");
    let file = fixture.file_of(owner("ann"), &input).await;
    let batch = fixture.create_of(owner("ann"), &file).await;
    let batch = fixture.ended(&batch.id).await;
    assert_eq!(
        (batch.status, &batch.owner),
        (Status::Completed, &owner("ann"))
    );
    let (jobs, files, now) = (&fixture.jobs.batches, &fixture.jobs.files, Timestamp::now());
    for seen in [of("bob"), of("")] {
        for id in [&batch.id, "batch_none"] {
            let unknown = format!("No batch found with id '{id}'.");
            let get = jobs.get(id, Origin::OpenAi, &seen).await.unwrap_err();
            let cancel = jobs.cancel(id, Origin::OpenAi, &seen, now).await;
            let delete = jobs.delete(id, Origin::OpenAi, &seen).await;
            for error in [get, cancel.unwrap_err(), delete.unwrap_err()] {
                assert_eq!(error.to_string(), unknown);
            }
            let (after, before) = (Some(id.to_owned()), None);
            for (after, before) in [(after.clone(), before.clone()), (before, after)] {
                let page = BatchPage {
                    after,
                    before,
                    limit: 9,
                };
                let list = jobs.list(Origin::OpenAi, &seen, page).await;
                assert_eq!(list.unwrap_err().to_string(), unknown);
            }
        }
        let (list, has_more) = jobs
            .list(Origin::OpenAi, &seen, first_page())
            .await
            .unwrap();
        assert!(list.is_empty() && !has_more);
        for file in [&file, &batch.output_file, &batch.error_file] {
            assert!(files.get(file, &seen, now).await.is_err());
        }
    }
    for seen in [of("ann"), Seen::All] {
        jobs.get(&batch.id, Origin::OpenAi, &seen).await.unwrap();
        let list = jobs.list(Origin::OpenAi, &seen, first_page()).await;
        assert_eq!(list.unwrap().0.len(), 1);
        assert_eq!(files.list(listed(seen), now).await.unwrap().0.len(), 3);
    }
}

#[tokio::test]
async fn the_file_of_another_is_no_input() {
    let fixture = Fixture::new(Some(2));
    fixture.start();
    let file = fixture.file_of(owner("ann"), &line("a", "one")).await;
    let fault = async |file: &str| {
        let batch = fixture.create_of(owner("bob"), file).await;
        let batch = fixture.ended(&batch.id).await;
        assert_eq!((batch.status, batch.faults.len()), (Status::Failed, 1));
        let mut fault = batch.faults[0].clone();
        fault.message = fault.message.replace(file, "ID");
        fault
    };
    assert_eq!(fault(&file).await, fault("file-none").await);
    assert!(fixture.script.asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_job_whose_key_is_revoked_stops_and_keeps_what_is_done() {
    let fixture = Fixture::new(Some(2));
    fixture.start();
    // The last line gets the status that routes answer once the key is gone.
    let input = line("a", "one") + &line("b", "never") + &line("c", "status 401");
    let file = fixture.file_of(owner("ann"), &input).await;
    let batch = fixture.create_of(owner("ann"), &file).await;
    fixture
        .until(&batch.id, |batch| batch.counts.completed == 1)
        .await;
    fixture.script.is_revoked.store(true, Ordering::SeqCst);
    let batch = fixture.ended(&batch.id).await;
    let counts = Counts {
        total: 3,
        completed: 1,
        failed: 0,
        not_run: 2,
    };
    assert_eq!((batch.status, batch.counts), (Status::Cancelled, counts));
    assert_eq!(batch.faults[0].code, "invalid_api_key");
    assert_eq!(ids(&fixture.lines(&batch.output_file)), ["a"]);
    assert_eq!(ids(&fixture.lines(&batch.error_file)), ["b", "c"]);
}

#[tokio::test]
async fn files_and_jobs_from_before_there_were_owners_belong_to_the_key_that_their_client_names() {
    const BEFORE: &[&str] = schema::SCHEMA.split_at(1).0;
    let folder = TempDir::new().unwrap();
    let database = Database::new(folder.path().join("jobs.db"), BEFORE);
    let written = database.call(|db| {
        db.execute_batch(
            "INSERT INTO file (id, purpose, filename, bytes, sha256, created_at)
                VALUES ('file-in', 'batch', 'in.jsonl', 1, '', 1), ('file-free', 'batch', 'in.jsonl', 1, '', 1),
                ('file-both', 'batch', 'in.jsonl', 1, '', 1);
            INSERT INTO upload (id, purpose, filename, bytes, created_at, expires_at, status)
                VALUES ('upload_1', 'batch', 'in.jsonl', 1, 1, 9999999999, 'pending');
            INSERT INTO batch (id, origin, client, endpoint, input_file, status, created_at, expires_at,
                output_file, error_file) VALUES ('batch_1', 'openai', 'key-1/me', '/v1/completions',
                'file-in', 'validating', 1, 9999999999, 'file-out', 'file-err'),
                ('batch_2', 'openai', 'key-1/me', '/v1/completions', 'file-both', 'failed', 9999999000, 9999999999, 'o', 'e'),
                ('batch_3', 'openai', 'key-2', '/v1/completions', 'file-both', 'failed', 9999999000, 9999999999, 'o3', 'e3'),
                ('batch_4', 'openai', '10.0.0.7/me', '/v1/completions', 'file-free', 'failed', 9999999000, 9999999999, 'o4', 'e4');",
        )
    });
    written.await.unwrap();
    drop(database);
    fs_err::create_dir(folder.path().join("files")).unwrap();
    for file in ["file-in", "file-free", "file-both"] {
        fs_err::write(folder.path().join("files").join(file), line("a", "one")).unwrap();
    }
    let fixture = Fixture::with(folder, Some(1), 1 << 30, 86_400);
    assert_eq!(fixture.jobs.files.sweep().await.unwrap(), 0);
    fixture.start();
    let batch = fixture.ended("batch_1").await;
    assert_eq!(batch.counts.completed, 1);
    let (jobs, files, now) = (&fixture.jobs.batches, &fixture.jobs.files, Timestamp::now());
    for (seen, found) in [
        (Seen::All, vec!["batch_1", "batch_2", "batch_3", "batch_4"]),
        (of("1"), vec!["batch_1", "batch_2"]),
        (of("2"), vec!["batch_3"]),
        (of(""), vec!["batch_4"]),
    ] {
        for id in ["batch_1", "batch_2", "batch_3", "batch_4"] {
            let is_seen = jobs.get(id, Origin::OpenAi, &seen).await.is_ok();
            assert_eq!(is_seen, found.contains(&id), "{seen:?} {id}");
        }
    }
    for (seen, found) in [
        (of("1"), vec!["file-in", "file-out"]),
        (of("2"), vec![]),
        (of(""), vec!["file-free", "file-both"]),
    ] {
        let (files, _) = files.list(listed(seen.clone()), now).await.unwrap();
        let files: HashSet<_> = files.into_iter().map(|file| file.id).collect();
        let found: HashSet<_> = found.into_iter().map(str::to_owned).collect();
        assert_eq!(files, found, "{seen:?}");
    }
    files.upload("upload_1", &of(""), now).await.unwrap();
    assert!(files.upload("upload_1", &of("1"), now).await.is_err());
}
