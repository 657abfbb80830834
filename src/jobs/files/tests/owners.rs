//! The owners of files and uploads.

use super::*;

fn owner(id: &str) -> Owner {
    Owner::stored(id.to_owned())
}

fn new_upload(id: &str) -> NewUpload {
    NewUpload {
        owner: owner(id),
        purpose: "batch".to_owned(),
        filename: "a.jsonl".to_owned(),
        bytes: 2,
        expiry: None,
    }
}

#[tokio::test]
async fn a_file_is_its_owners() {
    let fixture = fixture(10_000);
    let files = &fixture.jobs.files;
    let mut kept = Vec::new();
    for id in ["ann", "bob", ""] {
        let mut incoming = files.begin(1000).await.unwrap();
        incoming.write(&"content".into()).await.unwrap();
        let new = NewFile {
            owner: owner(id),
            purpose: "batch".to_owned(),
            filename: "a".to_owned(),
            expiry: None,
        };
        kept.push(files.keep(incoming, new, at(100)).await.unwrap().id);
    }
    let bob = Seen::Of(owner("bob"));
    let listed = async |seen: &Seen, after: Option<&String>| {
        let page = FilePage {
            seen: seen.clone(),
            after: after.cloned(),
            ..page(9)
        };
        let listed = files.list(page, at(100)).await;
        listed.map(|(files, _)| files.into_iter().map(|file| file.id).collect::<Vec<_>>())
    };
    assert_eq!(listed(&bob, None).await.unwrap(), [kept[1].clone()]);
    assert_eq!(listed(&Seen::All, None).await.unwrap().len(), 3);
    for id in [&kept[0], &kept[2], "file-none"] {
        let unknown = format!("No such File object: {id}");
        let after = listed(&bob, Some(&id.to_owned())).await;
        let get = files.get(id, &bob, at(100)).await.map(drop);
        let open = files.open(id, &bob, at(100)).await.map(drop);
        let delete = files.delete(id, &bob, at(100)).await;
        for answer in [after.map(drop), get, open, delete] {
            assert_eq!(answer.unwrap_err().to_string(), unknown);
        }
    }
    files.delete(&kept[0], &Seen::All, at(100)).await.unwrap();
    files.delete(&kept[1], &bob, at(100)).await.unwrap();
}

#[tokio::test]
async fn an_upload_is_its_owners_and_so_is_the_file() {
    let fixture = fixture(10_000);
    let files = &fixture.jobs.files;
    let upload = files
        .begin_upload(new_upload("ann"), at(100))
        .await
        .unwrap();
    let part = fixture.part(&upload, "ab").await.id;
    let bob = Seen::Of(owner("bob"));
    let parts = [part];
    let joined = Joined {
        parts: &parts,
        md5: None,
    };
    for id in [&upload.id, "upload_none"] {
        let unknown = format!("No such Upload object: {id}");
        let pending = files.pending_upload(id, &bob, at(100)).await.map(drop);
        let cancelled = files.cancel_upload(id, &bob, at(100)).await.map(drop);
        let completed = files.complete(id, &bob, joined, at(100)).await;
        for answer in [pending, cancelled, completed.map(drop)] {
            assert_eq!(answer.unwrap_err().to_string(), unknown);
        }
    }
    // A part of another owner's upload cannot be used.
    let own = files
        .begin_upload(new_upload("bob"), at(100))
        .await
        .unwrap();
    let stolen = files.complete(&own.id, &bob, joined, at(100)).await;
    assert!(matches!(stolen, Err(JobsError::UnknownPart(_))));
    // The owner stays the same, whoever completes the upload.
    let done = files.complete(&upload.id, &Seen::All, joined, at(100));
    let (_, file) = done.await.unwrap();
    assert_eq!(file.owner, owner("ann"));
    assert!(files.get(&file.id, &bob, at(100)).await.is_err());
}
