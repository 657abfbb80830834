//! Keys in a file: created, found, revoked, changed by others.

use std::os::unix::fs::PermissionsExt as _;

use super::*;

fn now() -> Timestamp {
    "2026-08-21T12:00:00Z".parse().unwrap()
}

fn wish(name: &str) -> Wish {
    Wish {
        name: name.to_owned(),
        ..Wish::default()
    }
}

#[test]
fn a_key_is_found_until_it_is_revoked() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state/keys.json");
    let keys = Keys::open(&path, false).unwrap();
    assert!(!keys.are_defined());
    let (secret, key) = keys.create(wish("one"), now()).unwrap();
    let (other, _) = keys.create(wish("two"), now()).unwrap();
    assert!(keys.are_defined());
    let found = keys.find(secret.reveal(), now()).unwrap();
    assert_eq!(found.record, key.record);
    assert!(found.record.scopes.have(Scope::Inference));
    assert!(!found.record.scopes.have(Scope::Models));
    assert_eq!(found.last_used(), Some(now()));
    assert_eq!(keys.find("drover_x", now()).unwrap_err(), Invalid::Unknown);
    let client = format!("{}/me/1", found.client());
    assert!(keys.of_client(&client, now()).unwrap().is_some());
    assert!(keys.of_client("127.0.0.1/me/1", now()).unwrap().is_none());
    keys.revoke("one", false).unwrap();
    assert!(found.revoked.is_cancelled());
    assert_eq!(
        keys.find(secret.reveal(), now()).unwrap_err(),
        Invalid::Unknown
    );
    assert_eq!(
        keys.of_client(&client, now()).unwrap_err(),
        Invalid::Unknown
    );
    assert!(matches!(
        keys.revoke("one", false),
        Err(KeysError::Missing(_))
    ));
    assert!(matches!(keys.revoke("two", false), Err(KeysError::Last(_))));
    keys.find(other.reveal(), now()).unwrap();
    keys.revoke("two", true).unwrap();
    assert!(!keys.are_defined());
}

#[test]
fn the_file_is_private_and_holds_no_key() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.json");
    let keys = Keys::open(&path, false).unwrap();
    let (secret, _) = keys.create(wish("one"), now()).unwrap();
    let text = fs_err::read_to_string(&path).unwrap();
    assert!(!text.contains(secret.reveal()), "{text}");
    let mode = fs_err::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    // Another process reads the same keys.
    let again = Keys::open(&path, false).unwrap();
    again.find(secret.reveal(), now()).unwrap();
}

#[test]
fn what_others_change_is_noticed_and_what_was_used_stays() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.json");
    let keys = Keys::open(&path, false).unwrap();
    let limited = Wish {
        limits: "tokens=10".parse().unwrap(),
        ..wish("one")
    };
    let (secret, key) = keys.create(limited, now()).unwrap();
    key.usage.take(10).unwrap();
    let other = Keys::open(&path, false).unwrap();
    let (second, _) = other.create(wish("two"), now()).unwrap();
    assert!(keys.find(second.reveal(), now()).is_err());
    assert!(keys.refresh().unwrap());
    assert!(!keys.refresh().unwrap());
    keys.find(second.reveal(), now()).unwrap();
    let found = keys.find(secret.reveal(), now()).unwrap();
    assert!(found.usage.take(1).is_err());
    // A change on top of the other process's change.
    other.revoke("two", false).unwrap();
    keys.create(wish("three"), now()).unwrap();
    let names: Vec<_> = keys
        .list()
        .iter()
        .map(|key| key.record.name.clone())
        .collect();
    assert_eq!(names, ["one", "three"]);
}

#[test]
fn a_file_that_is_not_valid_never_opens_the_server() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.json");
    let keys = Keys::open(&path, false).unwrap();
    let (secret, _) = keys.create(wish("one"), now()).unwrap();
    let text = fs_err::read_to_string(&path).unwrap();
    for broken in [
        String::new(),
        "{}".to_owned(),
        text.replace("\"version\": 1", "\"version\": 2"),
        text.replace("inference", "everything"),
        text.replace("\"hash\": \"", "\"hash\": \"x"),
    ] {
        fs_err::write(&path, &broken).unwrap();
        assert!(keys.refresh().is_err(), "{broken}");
        assert!(Keys::open(&path, false).is_err(), "{broken}");
        assert!(keys.create(wish("two"), now()).is_err(), "{broken}");
        keys.find(secret.reveal(), now()).unwrap();
    }
    fs_err::remove_file(&path).unwrap();
    assert!(keys.refresh().is_err() && keys.create(wish("two"), now()).is_err());
    keys.find(secret.reveal(), now()).unwrap();
    fs_err::write(&path, &text).unwrap();
    keys.refresh().unwrap();
    keys.find(secret.reveal(), now()).unwrap();
}

#[test]
fn names_are_unique_and_expired_keys_are_refused() {
    let keys = Keys::none();
    let expiring = Wish {
        expires: Some("2026-08-21T13:00:00Z".parse().unwrap()),
        ..wish("one")
    };
    let (secret, _) = keys.create(expiring.clone(), now()).unwrap();
    assert!(matches!(
        keys.create(wish("one"), now()),
        Err(KeysError::Exists(_))
    ));
    let late = "2026-08-21T13:00:00Z".parse().unwrap();
    keys.find(secret.reveal(), now()).unwrap();
    assert_eq!(
        keys.find(secret.reveal(), late).unwrap_err(),
        Invalid::Expired
    );
    // An expired key still counts: the server does not open.
    assert!(keys.are_defined());
    let over = Wish {
        name: "two".to_owned(),
        ..expiring
    };
    assert!(matches!(
        keys.create(over, late),
        Err(KeysError::Invalid(_))
    ));
}
