//! Downloads that stop, resume, and encounter other programs' files.

use super::*;

fn store() -> (tempfile::TempDir, Store) {
    let folder = tempfile::TempDir::new().unwrap();
    let store = Store::open(folder.path()).unwrap();
    (folder, store)
}

fn open(store: &Store, content: &[u8]) -> Partial {
    let size = content.len() as u64;
    store
        .partial(Digest::of(content), size, 4)
        .unwrap()
        .unwrap()
}

fn fill(partial: &Partial, content: &[u8]) {
    for part in partial.parts() {
        let missing = part.missing();
        let range = usize::try_from(missing.start).unwrap()..usize::try_from(missing.end).unwrap();
        partial.write(part, &content[range]).unwrap();
    }
}

fn files(store: &Store) -> Vec<String> {
    names_in(&store.blobs_dir()).unwrap()
}

#[test]
fn a_download_goes_on_where_it_stopped() {
    let (_folder, store) = store();
    let content = b"ten bytes.";
    let first = open(&store, content);
    let offsets: Vec<_> = first.parts().iter().map(Part::missing).collect();
    assert_eq!(offsets, [0..4, 4..8, 8..10]);
    first.write(&first.parts()[0], b"ten ").unwrap();
    first.write(&first.parts()[1], b"by").unwrap();
    first.save().unwrap();
    assert_eq!(
        store.partial(Digest::of(content), 10, 4).unwrap().map(drop),
        None
    );
    drop(first);
    let second = open(&store, content);
    assert_eq!((second.completed(), second.contiguous()), (6, 6));
    fill(&second, content);
    second.finish().unwrap();
    let name = Digest::of(content).file_name();
    assert_eq!(files(&store), [name.as_str()]);
    assert_eq!(fs_err::read(store.blobs_dir().join(name)).unwrap(), content);
}

#[test]
fn ollamas_states_are_read_and_ours_look_the_same() {
    let (_folder, store) = store();
    let content = b"0123456789";
    let name = format!("{}-partial", Digest::of(content).file_name());
    let path = store.blobs_dir().join(&name);
    fs_err::write(&path, b"01234\0\0\0\0\0").unwrap();
    let state = |number: usize, text: &str| {
        fs_err::write(store.blobs_dir().join(format!("{name}-{number}")), text).unwrap();
    };
    state(0, "{\"N\":0,\"Offset\":0,\"Size\":6,\"Completed\":5}\n");
    state(1, "{\"N\":1,\"Offset\":6,\"Size\":4,\"Completed\":0}\n");
    let partial = open(&store, content);
    let missing: Vec<_> = partial.parts().iter().map(Part::missing).collect();
    assert_eq!(missing, [5..6, 6..10]);
    partial.write(&partial.parts()[0], b"5").unwrap();
    partial.save().unwrap();
    let saved = fs_err::read_to_string(store.blobs_dir().join(format!("{name}-0"))).unwrap();
    assert_eq!(saved, "{\"N\":0,\"Offset\":0,\"Size\":6,\"Completed\":6}\n");
}

#[test]
fn states_that_are_not_those_of_the_blob_start_anew() {
    let content = b"0123456789";
    for states in [
        vec![r#"{"N":0,"Offset":0,"Size":4,"Completed":4}"#],
        vec![r#"{"N":0,"Offset":0,"Size":10,"Completed":11}"#],
        vec![
            r#"{"N":0,"Offset":0,"Size":4,"Completed":4}"#,
            r#"{"N":1,"Offset":5,"Size":5,"Completed":0}"#,
        ],
        vec!["{"],
    ] {
        let (_folder, store) = store();
        let name = format!("{}-partial", Digest::of(content).file_name());
        fs_err::write(store.blobs_dir().join(&name), [0; 10]).unwrap();
        for (number, state) in states.iter().enumerate() {
            let path = store.blobs_dir().join(format!("{name}-{number}"));
            fs_err::write(path, state).unwrap();
        }
        assert_eq!(open(&store, content).completed(), 0, "{states:?}");
    }
}

#[test]
fn a_part_takes_no_more_than_it_misses() {
    let (_folder, store) = store();
    let partial = open(&store, b"0123456789");
    assert!(partial.write(&partial.parts()[2], b"89x").is_err());
    assert_eq!(partial.completed(), 0);
}

#[test]
fn what_cannot_fit_is_refused_before_anything_is_fetched() {
    let (_folder, store) = store();
    let refused = store.partial(Digest::of(b""), u64::MAX / 2, 1 << 40);
    let error = refused.unwrap_err().to_string();
    assert!(error.contains("not enough disk space"), "{error}");
}

#[test]
fn a_save_that_comes_too_late_writes_no_states() {
    let (_folder, store) = store();
    let content = b"0123456789";
    for end in [Partial::finish, Partial::discard] {
        let partial = open(&store, content);
        fill(&partial, content);
        end(&partial).unwrap();
        partial.save().unwrap();
        let states = store.state_paths(&Digest::of(content)).unwrap();
        assert!(states.is_empty(), "{states:?}");
    }
}

#[test]
fn a_discarded_download_leaves_nothing() {
    let (_folder, store) = store();
    let mut partial = open(&store, b"0123456789");
    partial.restart_whole().unwrap();
    assert_eq!(partial.parts().len(), 1);
    assert_eq!(files(&store).len(), 2);
    partial.discard().unwrap();
    assert_eq!(files(&store), [""; 0]);
}
