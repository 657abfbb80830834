//! Objects of one owner do not exist for another.

use super::*;

/// A response, and a conversation with an item and another response's items; all belong to Ann.
async fn of_ann() -> (tempfile::TempDir, History) {
    let (folder, history) = fresh();
    let ann = |id: &str, previous: Option<&str>, conversation: Option<&str>| NewResponse {
        owner: owned_by("ann"),
        conversation: conversation.map(str::to_owned),
        ..new(id, previous, 1)
    };
    let conversation = StoredConversation {
        id: "c".to_owned(),
        created: 1,
        metadata: "{}".to_owned(),
    };
    let created = history.create_conversation(conversation, owned_by("ann"), vec![item("first")]);
    created.await.unwrap();
    for new in [ann("a", None, None), ann("b", None, Some("c"))] {
        let outcome = outcome(&new.id);
        history.save(new, outcome).await.unwrap();
    }
    (folder, history)
}

fn is_missing<T: std::fmt::Debug>(answer: Result<T, HistoryError>, id: &str) {
    match answer {
        Err(HistoryError::NoResponse(found) | HistoryError::NoConversation(found)) => {
            assert_eq!(found, id);
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_response_is_its_owners() {
    let (_folder, history) = of_ann().await;
    for other in [of("bob"), of("")] {
        is_missing(history.response("a", &other, room()).await, "a");
        is_missing(history.past("a", &other, 2, room()).await, "a");
        let items = history.input_items("a", &other, ascending(None, 9), room());
        is_missing(items.await, "a");
        is_missing(history.delete_response("a", &other).await, "a");
        for id in ["a-in", "a-out", "first", "b-in", "b-out"] {
            let found = history.item(id, &other, room()).await;
            assert!(matches!(found, Err(HistoryError::NoItem(_))), "{found:?}");
        }
    }
    for seen in [of("ann"), Seen::All] {
        history.response("a", &seen, room()).await.unwrap();
        assert_eq!(history.past("a", &seen, 2, room()).await.unwrap().len(), 2);
        for id in ["a-in", "a-out", "first", "b-in", "b-out"] {
            history.item(id, &seen, room()).await.unwrap();
        }
    }
    // An item of a deleted response still belongs to the conversation.
    history.delete_response("b", &of("ann")).await.unwrap();
    history.item("b-in", &of("ann"), room()).await.unwrap();
    assert!(history.item("b-in", &of("bob"), room()).await.is_err());
    // Another owner's item with the same id is found by that owner only.
    let mut copy = new("x", None, 3);
    copy.owner = owned_by("bob");
    copy.input = vec![Item {
        id: "a-in".to_owned(),
        body: json!({"id": "a-in", "by": "bob"}).to_string(),
    }];
    history.save(copy, outcome("x")).await.unwrap();
    let found = async |seen: Seen| history.item("a-in", &seen, room()).await.unwrap();
    assert!(!found(of("ann")).await.contains("bob"));
    assert!(found(of("bob")).await.contains("bob"));
}

#[tokio::test]
async fn a_conversation_is_its_owners() {
    let (_folder, history) = of_ann().await;
    for other in [of("bob"), of("")] {
        is_missing(history.conversation("c", &other).await, "c");
        is_missing(history.said("c", &other, room()).await, "c");
        let items = history.conversation_items("c", &other, ascending(None, 9), room());
        is_missing(items.await, "c");
        let item = history.conversation_item("c", &other, "first", room());
        is_missing(item.await, "c");
        let updated = history.update_conversation("c", &other, "{\"a\":\"b\"}".to_owned());
        is_missing(updated.await, "c");
        let added = history.add_items("c", &other, 2, vec![super::item("more")]);
        is_missing(added.await, "c");
        is_missing(history.delete_item("c", &other, "first").await, "c");
        is_missing(history.delete_conversation("c", &other).await, "c");
    }
    let ann = of("ann");
    let found = history.conversation("c", &ann).await.unwrap();
    assert_eq!(found.metadata, "{}");
    let said = history.said("c", &ann, room()).await.unwrap();
    assert_eq!(ids(&said), ["first", "b-in", "b-out"]);
    let added = history.add_items("c", &Seen::All, 2, vec![item("more")]);
    added.await.unwrap();
    history.delete_conversation("c", &ann).await.unwrap();
}

#[tokio::test]
async fn what_an_administrator_continued_shows_nothing_to_a_key_that_is_none_any_more() {
    let (_folder, history) = of_ann().await;
    let mut next = new("next", Some("a"), 2);
    next.owner = owned_by("chief");
    history.save(next, outcome("next")).await.unwrap();
    let mut joined = new("joined", None, 2);
    joined.owner = owned_by("chief");
    joined.conversation = Some("c".to_owned());
    history.save(joined, outcome("joined")).await.unwrap();
    let all = history.past("next", &Seen::All, 3, room()).await.unwrap();
    assert_eq!(ids(&all), ["a-in", "a-out", "next-in", "next-out"]);
    is_missing(history.past("next", &of("chief"), 3, room()).await, "a");
    let own = history.past("joined", &of("chief"), 3, room()).await;
    assert_eq!(ids(&own.unwrap()), ["joined-in", "joined-out"]);
}

#[tokio::test]
async fn what_was_stored_before_there_were_owners_belongs_to_nobody() {
    const BEFORE: &[&str] = SCHEMA.split_at(2).0;
    let folder = tempfile::tempdir().unwrap();
    let database = Database::new(folder.path().join("responses.db"), BEFORE);
    let written = database.call(|db| {
        db.execute_batch(
            r#"INSERT INTO response (id, is_background, is_final, used, body) VALUES ('r', 0, 1, 1, '{"id":"r"}');
            INSERT INTO conversation (id, created, used, metadata) VALUES ('c', 1, 1, '{}');
            INSERT INTO item (id, response, conversation, is_output, body) VALUES ('i', 'r', 'c', 0, '{"id":"i"}');
            INSERT INTO chat (id, owner, model, used, metadata, messages, body)
                VALUES ('x', 'ann', 'm', 1, '{}', '[]', '{"id":"x"}');"#,
        )
    });
    written.await.unwrap();
    drop(database);
    let history = at(folder.path(), 1 << 30);
    for seen in [of(""), Seen::All] {
        history.response("r", &seen, room()).await.unwrap();
        assert_eq!(ids(&history.said("c", &seen, room()).await.unwrap()), ["i"]);
        history.item("i", &seen, room()).await.unwrap();
    }
    is_missing(history.response("r", &of("ann"), room()).await, "r");
    is_missing(history.conversation("c", &of("ann")).await, "c");
    history.chat("x", &of("ann"), room()).await.unwrap();
}
