//! Files in a real folder, with times that the test chooses.

mod owners;

use super::*;
use crate::jobs::{Jobs, Limits, Settings};

struct Fixture {
    jobs: Jobs,
    folder: tempfile::TempDir,
}

fn fixture(disk: u64) -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    let jobs = reopened(&folder, disk);
    Fixture { jobs, folder }
}

fn reopened(folder: &tempfile::TempDir, disk: u64) -> Jobs {
    let settings = Settings {
        window: 86_400,
        hours: None,
    };
    Jobs::new(
        folder.path(),
        &Limits { disk, settings },
        &TaskTracker::new(),
    )
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

impl Fixture {
    async fn keep(&self, name: &str, text: &str, expiry: Expiry) -> Result<File, JobsError> {
        let mut incoming = self.jobs.files.begin(1000).await?;
        incoming.write(&text.to_owned().into()).await?;
        let new = NewFile {
            owner: Owner::default(),
            purpose: "user_data".to_owned(),
            filename: name.to_owned(),
            expiry,
        };
        self.jobs.files.keep(incoming, new, at(100)).await
    }

    /// Names of the files on disk.
    fn names(&self) -> Vec<String> {
        let Ok(entries) = fs_err::read_dir(self.folder.path().join("files")) else {
            return Vec::new();
        };
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.collect();
        names.sort();
        names
    }

    async fn part(&self, upload: &Upload, text: &str) -> Part {
        let mut incoming = self.jobs.files.begin(1000).await.unwrap();
        incoming.write(&text.to_owned().into()).await.unwrap();
        let kept = self.jobs.files.keep_part(incoming, upload, at(100)).await;
        kept.unwrap()
    }
}

fn page(limit: usize) -> FilePage {
    FilePage {
        seen: Seen::All,
        after: None,
        limit,
        order: Order::NewestFirst,
        purpose: None,
    }
}

#[tokio::test]
async fn a_file_comes_back_as_it_was_and_goes_for_good() {
    let fixture = fixture(10_000);
    let files = &fixture.jobs.files;
    assert!(!files.exists());
    let file = fixture.keep("a.txt", "content", None).await.unwrap();
    assert_eq!(
        (file.bytes, file.created_at, file.expires_at),
        (7, 100, None)
    );
    assert_eq!(
        file.sha256,
        "ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73"
    );
    let (_, mut bytes) = files.open(&file.id, &Seen::All, at(100)).await.unwrap();
    let mut text = String::new();
    // An open file can be read after it was deleted.
    files.delete(&file.id, &Seen::All, at(100)).await.unwrap();
    tokio::io::AsyncReadExt::read_to_string(&mut bytes, &mut text)
        .await
        .unwrap();
    assert_eq!(text, "content");
    assert_eq!(fixture.names(), Vec::<String>::new());
    let again = files
        .delete(&file.id, &Seen::All, at(100))
        .await
        .unwrap_err();
    assert_eq!(
        again.to_string(),
        format!("No such File object: {}", file.id)
    );
}

#[tokio::test]
async fn names_from_outside_lead_nowhere() {
    let fixture = fixture(10_000);
    let files = &fixture.jobs.files;
    fixture.keep("a", "a", None).await.unwrap();
    let outside = fixture.folder.path().join("jobs.db");
    for id in ["../jobs.db", "/etc/passwd", "", "."] {
        assert!(matches!(
            files.delete(id, &Seen::All, at(0)).await,
            Err(JobsError::UnknownFile(_))
        ));
        assert!(matches!(
            files.open(id, &Seen::All, at(0)).await,
            Err(JobsError::UnknownFile(_))
        ));
    }
    assert!(outside.exists());
}

#[tokio::test]
async fn an_expired_file_is_unknown_and_then_gone() {
    let fixture = fixture(10_000);
    let files = &fixture.jobs.files;
    let short = fixture.keep("a", "a", Some(3600)).await.unwrap();
    let long = fixture.keep("b", "b", None).await.unwrap();
    assert_eq!(short.expires_at, Some(3700));
    assert!(files.get(&short.id, &Seen::All, at(3699)).await.is_ok());
    assert!(files.get(&short.id, &Seen::All, at(3700)).await.is_err());
    assert_eq!(
        files.list(page(9), at(3700)).await.unwrap().0,
        std::slice::from_ref(&long)
    );
    assert_eq!(files.expire(at(3700)).await.unwrap(), 1);
    assert_eq!(fixture.names(), [long.id]);
}

#[tokio::test]
async fn lists_come_in_pages_in_both_orders() {
    let fixture = fixture(10_000);
    let files = &fixture.jobs.files;
    let mut ids = Vec::new();
    for name in ["a", "b", "c"] {
        ids.push(fixture.keep(name, name, None).await.unwrap().id);
    }
    let listed = async |page: FilePage| {
        let (files, has_more) = files.list(page, at(100)).await.unwrap();
        let ids: Vec<String> = files.into_iter().map(|file| file.id).collect();
        (ids, has_more)
    };
    let [a, b, c] = [&ids[0], &ids[1], &ids[2]].map(Clone::clone);
    assert_eq!(listed(page(2)).await, (vec![c.clone(), b.clone()], true));
    let next = FilePage {
        after: Some(b.clone()),
        ..page(2)
    };
    assert_eq!(listed(next).await, (vec![a.clone()], false));
    let oldest = FilePage {
        order: Order::OldestFirst,
        after: Some(a),
        ..page(2)
    };
    assert_eq!(listed(oldest).await, (vec![b, c], false));
    let other = FilePage {
        purpose: Some("batch".to_owned()),
        ..page(2)
    };
    assert_eq!(listed(other).await, (vec![], false));
    let unknown = FilePage {
        after: Some("file-x".to_owned()),
        ..page(2)
    };
    assert!(files.list(unknown, at(100)).await.is_err());
}

#[tokio::test]
async fn limits_hold_for_one_file_and_for_all() {
    let fixture = fixture(15);
    let files = &fixture.jobs.files;
    let mut large = files.begin(3).await.unwrap();
    let error = large.write(&"four".into()).await.unwrap_err();
    assert!(matches!(error, JobsError::TooLarge(3)), "{error}");
    drop(large);
    fixture.keep("a", "0123456789", None).await.unwrap();
    // Arriving files count, too.
    let mut first = files.begin(100).await.unwrap();
    first.write(&"0123".into()).await.unwrap();
    let error = fixture.keep("b", "01", None).await.unwrap_err();
    assert!(error.is_full(), "{error}");
    drop(first);
    fixture.keep("b", "01234", None).await.unwrap();
}

#[tokio::test]
async fn what_is_given_up_leaves_nothing_and_a_kill_leaves_nothing_for_long() {
    let mut fixture = fixture(10_000);
    let kept = fixture.keep("a", "a", None).await.unwrap();
    let mut incoming = fixture.jobs.files.begin(1000).await.unwrap();
    incoming.write(&"x".into()).await.unwrap();
    let tasks = fixture.jobs.files.shared.tasks.clone();
    drop(incoming);
    tasks.close();
    tasks.wait().await;
    assert_eq!(fixture.names(), std::slice::from_ref(&kept.id));
    let folder = fixture.folder.path().join("files");
    for name in ["incoming-x", "file-without-row"] {
        fs_err::write(folder.join(name), "left").unwrap();
    }
    fixture.jobs = reopened(&fixture.folder, 10_000);
    assert_eq!(fixture.jobs.files.sweep().await.unwrap(), 2);
    assert_eq!(fixture.names(), [kept.id]);
}

#[tokio::test]
async fn parts_become_a_file_in_the_order_of_the_request() {
    let fixture = fixture(10_000);
    let files = &fixture.jobs.files;
    let new = NewUpload {
        owner: Owner::default(),
        purpose: "batch".to_owned(),
        filename: "a.jsonl".to_owned(),
        bytes: 4,
        expiry: Some(3600),
    };
    let upload = files.begin_upload(new.clone(), at(100)).await.unwrap();
    let (second, first) = (
        fixture.part(&upload, "cd").await,
        fixture.part(&upload, "ab").await,
    );
    let spare = fixture.part(&upload, "?").await;
    let ids = [first.id.clone(), second.id];
    let complete = async |parts: &[String], md5: Option<&str>| {
        let joined = Joined { parts, md5 };
        files
            .complete(&upload.id, &Seen::All, joined, at(200))
            .await
    };
    let error = complete(&["part_x".to_owned()], None).await.unwrap_err();
    assert_eq!(error.to_string(), "No such Part object: part_x");
    let error = complete(&ids[..1], None).await.unwrap_err();
    assert!(
        matches!(
            error,
            JobsError::WrongLength {
                got: 2,
                announced: 4
            }
        ),
        "{error}"
    );
    let error = complete(&ids, Some("0")).await.unwrap_err();
    assert!(
        error
            .to_string()
            .contains("e2fc714c4727ee9395f324cd2e7f331f"),
        "{error}"
    );
    let md5 = "E2FC714C4727EE9395F324CD2E7F331F";
    let (done, file) = complete(&ids, Some(md5)).await.unwrap();
    assert_eq!(
        (done.status, done.file.as_ref()),
        (UploadStatus::Completed, Some(&file.id))
    );
    assert_eq!((file.bytes, file.expires_at), (4, Some(3800)));
    let text = fs_err::read_to_string(files.path(&file.id)).unwrap();
    assert_eq!(text, "abcd");
    // Unused parts are gone, too.
    assert_eq!(fixture.names(), [file.id]);
    let error = complete(&ids, None).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("Upload '{}' is completed.", upload.id)
    );
    assert!(!spare.id.is_empty());

    let cancelled = files.begin_upload(new.clone(), at(100)).await.unwrap();
    fixture.part(&cancelled, "ab").await;
    let ended = files
        .cancel_upload(&cancelled.id, &Seen::All, at(200))
        .await
        .unwrap();
    assert_eq!(ended.status, UploadStatus::Cancelled);
    let late = files.begin_upload(new, at(100)).await.unwrap();
    fixture.part(&late, "ab").await;
    let expired = files
        .pending_upload(&late.id, &Seen::All, at(3700))
        .await
        .unwrap_err();
    assert_eq!(
        expired.to_string(),
        format!("Upload '{}' is expired.", late.id)
    );
    files.expire(at(3700)).await.unwrap();
    assert_eq!(fixture.names().len(), 1);
}
