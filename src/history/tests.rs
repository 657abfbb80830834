//! The history in a temporary file.

mod owners;

use serde_json::{Value, json};

use super::*;
use crate::keys::{Owner, Seen};

const DAY: i64 = 86_400;

fn at(path: &Path, max_bytes: u64) -> History {
    let settings = Settings {
        max_age: Some(Duration::from_secs(30 * 86_400)),
        max_bytes,
        interrupted: json!({"status": "failed"}).to_string(),
    };
    History::new(path.join("responses.db"), settings)
}

fn fresh() -> (tempfile::TempDir, History) {
    let folder = tempfile::tempdir().unwrap();
    let history = at(folder.path(), 1 << 30);
    (folder, history)
}

fn item(id: &str) -> Item {
    Item {
        id: id.to_owned(),
        body: json!({"id": id}).to_string(),
    }
}

fn new(id: &str, previous: Option<&str>, now: i64) -> NewResponse {
    NewResponse {
        id: id.to_owned(),
        owner: Owner::default(),
        previous: previous.map(str::to_owned),
        conversation: None,
        is_background: false,
        now,
        body: json!({"id": id, "status": "in_progress"}).to_string(),
        input: vec![item(&format!("{id}-in"))],
    }
}

fn outcome(id: &str) -> Outcome {
    Outcome {
        body: json!({"id": id, "status": "completed"}).to_string(),
        output: vec![item(&format!("{id}-out"))],
        steps: None,
        joins: true,
    }
}

async fn save(history: &History, id: &str, previous: Option<&str>, now: i64) {
    let new = new(id, previous, now);
    history.save(new, outcome(id)).await.unwrap();
}

fn room() -> Reserve {
    Box::new(|_| true)
}

fn ids(texts: &[String]) -> Vec<String> {
    let id = |text: &String| {
        let value: Value = serde_json::from_str(text).unwrap();
        value["id"].as_str().unwrap().to_owned()
    };
    texts.iter().map(id).collect()
}

fn ascending(after: Option<&str>, limit: usize) -> Page {
    Page {
        after: after.map(str::to_owned),
        limit,
        is_descending: false,
    }
}

fn owned_by(id: &str) -> Owner {
    Owner::stored(id.to_owned())
}

/// Sees only what this owner stored.
fn of(id: &str) -> Seen {
    Seen::Of(owned_by(id))
}

async fn n_items(history: &History) -> i64 {
    let count =
        |db: &mut Connection| db.query_row("SELECT count(*) FROM item", [], |row| row.get(0));
    history.call(count).await.unwrap()
}

#[tokio::test]
async fn what_a_response_continues_comes_before_it() {
    let (_folder, history) = fresh();
    save(&history, "a", None, 1).await;
    save(&history, "b", Some("a"), 2).await;
    save(&history, "c", Some("b"), 3).await;
    save(&history, "b2", Some("a"), 4).await;
    let past = history.past("c", &Seen::All, 5, room()).await.unwrap();
    let expected = ["a-in", "a-out", "b-in", "b-out", "c-in", "c-out"];
    assert_eq!(ids(&past), expected);
    let past = history.past("b2", &Seen::All, 5, room()).await.unwrap();
    assert_eq!(ids(&past), ["a-in", "a-out", "b2-in", "b2-out"]);
    // No more is read than there is room for.
    let mut n_left = 50;
    let reserve = move |n: usize| {
        n_left -= n.min(n_left);
        n_left > 0
    };
    let busy = history.past("c", &Seen::All, 5, Box::new(reserve)).await;
    assert!(matches!(busy, Err(HistoryError::Busy)), "{busy:?}");
    history.delete_response("a", &Seen::All).await.unwrap();
    let gone = history.past("c", &Seen::All, 5, room()).await;
    assert!(matches!(gone, Err(HistoryError::NoResponse(id)) if id == "a"));
    assert_eq!(n_items(&history).await, 6);
}

#[tokio::test]
async fn a_response_that_a_kill_interrupts_is_marked_at_the_next_start() {
    let (folder, history) = fresh();
    history.begin(new("a", None, 1)).await.unwrap();
    let unfinished = history.past("a", &Seen::All, 2, room()).await;
    assert!(matches!(unfinished, Err(HistoryError::Unfinished(_))));
    drop(history);
    let history = at(folder.path(), 1 << 30);
    let found = history.response("a", &Seen::All, room()).await.unwrap();
    assert!(found.is_final);
    assert_eq!(
        found.body,
        json!({"id": "a", "status": "failed"}).to_string()
    );
    // An end that comes too late changes nothing.
    history.finish("a", 3, outcome("a")).await.unwrap();
    assert_eq!(
        history.response("a", &Seen::All, room()).await.unwrap(),
        found
    );
}

#[tokio::test]
async fn a_response_that_is_deleted_while_it_runs_does_not_come_back() {
    let (_folder, history) = fresh();
    history.begin(new("a", None, 1)).await.unwrap();
    history.delete_response("a", &Seen::All).await.unwrap();
    history.finish("a", 2, outcome("a")).await.unwrap();
    let gone = history.response("a", &Seen::All, room()).await;
    assert!(matches!(gone, Err(HistoryError::NoResponse(_))));
    assert_eq!(n_items(&history).await, 0);
}

#[tokio::test]
async fn items_come_in_pages() {
    let (_folder, history) = fresh();
    let mut new = new("a", None, 1);
    new.input = ["1", "2", "3"].map(item).to_vec();
    history.save(new, outcome("a")).await.unwrap();
    let page = |wanted: Page| {
        let history = history.clone();
        async move {
            let (items, has_more) = history
                .input_items("a", &Seen::All, wanted, room())
                .await
                .unwrap();
            let ids: Vec<_> = items.into_iter().map(|item| item.id).collect();
            (ids.join(""), has_more)
        }
    };
    assert_eq!(page(ascending(None, 2)).await, ("12".to_owned(), true));
    assert_eq!(page(ascending(Some("2"), 2)).await, ("3".to_owned(), false));
    let descending = Page {
        is_descending: true,
        ..ascending(Some("3"), 20)
    };
    assert_eq!(page(descending).await, ("21".to_owned(), false));
    let unknown = history
        .input_items("a", &Seen::All, ascending(Some("9"), 2), room())
        .await;
    assert!(matches!(unknown, Err(HistoryError::NoItem(_))));
}

#[tokio::test]
async fn a_conversation_keeps_question_and_answer_together() {
    let (_folder, history) = fresh();
    let conversation = StoredConversation {
        id: "c".to_owned(),
        created: 1,
        metadata: "{}".to_owned(),
    };
    let created = history.create_conversation(conversation, Owner::default(), vec![item("first")]);
    created.await.unwrap();
    let within = |id: &str| NewResponse {
        conversation: Some("c".to_owned()),
        ..new(id, None, 2)
    };
    history.begin(within("a")).await.unwrap();
    history.save(within("b"), outcome("b")).await.unwrap();
    history.finish("a", 3, outcome("a")).await.unwrap();
    let failed = Outcome {
        joins: false,
        ..outcome("f")
    };
    history.save(within("f"), failed).await.unwrap();
    let said = history.said("c", &Seen::All, room()).await.unwrap();
    assert_eq!(ids(&said), ["first", "b-in", "b-out", "a-in", "a-out"]);
    // A response that continues one of the conversation also has the conversation's earlier items.
    let past = history.past("a", &Seen::All, 4, room()).await.unwrap();
    assert_eq!(ids(&past), ["first", "b-in", "b-out", "a-in", "a-out"]);
    let past = history.past("b", &Seen::All, 4, room()).await.unwrap();
    assert_eq!(ids(&past), ["first", "b-in", "b-out"]);

    history.delete_item("c", &Seen::All, "b-out").await.unwrap();
    history.delete_item("c", &Seen::All, "first").await.unwrap();
    let again = history.delete_item("c", &Seen::All, "first").await;
    assert!(matches!(again, Err(HistoryError::NoItem(_))));
    // Deleting a response leaves the conversation as it is, and the other way round.
    history.delete_response("a", &Seen::All).await.unwrap();
    let said = history.said("c", &Seen::All, room()).await.unwrap();
    assert_eq!(ids(&said), ["b-in", "a-in", "a-out"]);
    history.delete_conversation("c", &Seen::All).await.unwrap();
    let past = history.past("b", &Seen::All, 4, room()).await.unwrap();
    assert_eq!(ids(&past), ["b-in", "b-out"]);
    // The items of `f` and `b`.
    assert_eq!(n_items(&history).await, 4);
}

#[tokio::test]
async fn what_nobody_used_for_long_is_swept() {
    let (_folder, history) = fresh();
    for n in 0..250 {
        save(&history, &format!("old{n}"), None, DAY).await;
    }
    save(&history, "root", None, DAY).await;
    save(&history, "leaf", Some("root"), 20 * DAY).await;
    history.begin(new("running", None, DAY)).await.unwrap();
    history
        .past("leaf", &Seen::All, 20 * DAY, room())
        .await
        .unwrap();
    assert_eq!(history.sweep(40 * DAY).await.unwrap(), 250);
    assert_eq!(
        history
            .past("leaf", &Seen::All, 40 * DAY, room())
            .await
            .unwrap()
            .len(),
        4
    );
    assert!(
        history
            .response("running", &Seen::All, room())
            .await
            .is_ok()
    );
    assert_eq!(history.sweep(40 * DAY).await.unwrap(), 0);
}

#[tokio::test]
async fn the_oldest_make_room_for_new_ones() {
    let folder = tempfile::tempdir().unwrap();
    let history = at(folder.path(), 400 << 10);
    let large = "x".repeat(50 << 10);
    for n in 0..20 {
        let mut new = new(&format!("r{n}"), None, n);
        new.input[0].body.clone_from(&large);
        history.save(new, outcome("r")).await.unwrap();
    }
    assert!(history.response("r19", &Seen::All, room()).await.is_ok());
    assert!(history.response("r0", &Seen::All, room()).await.is_err());
    let kept: i64 = history
        .call(|db| db.query_row("SELECT count(*) FROM response", [], |row| row.get(0)))
        .await
        .unwrap();
    assert!((4..8).contains(&kept), "{kept}");
    assert_eq!(n_items(&history).await, 2 * kept);
    // A response that alone exceeds the limit is kept until the next one.
    let mut new = new("huge", None, 99);
    new.input[0].body = "x".repeat(1 << 20);
    history.save(new, outcome("huge")).await.unwrap();
    assert!(history.response("huge", &Seen::All, room()).await.is_ok());
    assert_eq!(n_items(&history).await, 2);
}

#[tokio::test]
async fn what_is_too_large_for_a_page_is_on_the_next() {
    let (_folder, history) = fresh();
    let mut new = new("a", None, 1);
    new.input = ["1", "2", "3"].map(item).to_vec();
    for item in &mut new.input {
        item.body = "x".repeat(MOST / 2);
    }
    history.save(new, outcome("a")).await.unwrap();
    for (after, n, has_more) in [(None, 2, true), (Some("2"), 1, false)] {
        let listed = history.input_items("a", &Seen::All, ascending(after, 20), room());
        let (items, more) = listed.await.unwrap();
        assert_eq!((items.len(), more), (n, has_more));
    }
    let past = history.past("a", &Seen::All, 2, room()).await;
    assert!(matches!(past, Err(HistoryError::TooLarge(MOST))));
}

fn new_chat(id: &str, owner: &str, metadata: &Value, now: i64) -> NewChat {
    NewChat {
        id: id.to_owned(),
        owner: owned_by(owner),
        model: format!("model-{owner}"),
        now,
        metadata: metadata.to_string(),
        messages: json!([{"id": format!("{id}-0")}]).to_string(),
        body: json!({"id": id}).to_string(),
    }
}

fn filter(owner: Option<&str>, model: Option<&str>, metadata: &Value) -> ChatFilter {
    ChatFilter {
        seen: owner.map_or(Seen::All, of),
        model: model.map(str::to_owned),
        metadata: metadata.to_string(),
    }
}

#[tokio::test]
async fn chats_are_listed_by_owner_model_and_metadata() {
    let (_folder, history) = fresh();
    for (id, owner, metadata) in [
        ("1", "ann", json!({"topic": "a", "a\"b": "c"})),
        ("2", "bob", json!({"topic": "a"})),
        ("3", "ann", json!({"topic": "b"})),
        ("4", "", json!({})),
        ("5", "ann", json!({"topic": "a"})),
    ] {
        let chat = new_chat(id, owner, &metadata, 1);
        history.save_chat(chat).await.unwrap();
    }
    let list = |filter: ChatFilter, page: Page| {
        let history = history.clone();
        async move {
            let (chats, has_more) = history.chats(filter, page, room()).await.unwrap();
            let bodies: Vec<_> = chats.into_iter().map(|chat| chat.body).collect();
            (ids(&bodies).join(""), has_more)
        }
    };
    let none = json!({});
    for (owner, model, metadata, expected) in [
        (None, None, &none, "12345"),
        (Some("ann"), None, &none, "135"),
        (Some(""), None, &none, "4"),
        (Some("eve"), None, &none, ""),
        (None, Some("model-bob"), &none, "2"),
        (Some("ann"), Some("model-bob"), &none, ""),
        (None, None, &json!({"topic": "a"}), "125"),
        (None, None, &json!({"topic": "a", "a\"b": "c"}), "1"),
        (Some("ann"), None, &json!({"topic": "a"}), "15"),
        (None, None, &json!({"topic": ""}), ""),
    ] {
        let found = list(filter(owner, model, metadata), ascending(None, 20)).await;
        assert_eq!(found, (expected.to_owned(), false), "{owner:?} {metadata}");
    }
    let ann = || filter(Some("ann"), None, &none);
    assert_eq!(
        list(ann(), ascending(None, 2)).await,
        ("13".to_owned(), true)
    );
    assert_eq!(list(ann(), ascending(Some("3"), 2)).await.0, "5");
    let descending = Page {
        is_descending: true,
        ..ascending(Some("5"), 20)
    };
    assert_eq!(list(ann(), descending).await.0, "31");
    // The chat belongs to another owner.
    let unknown = history.chats(ann(), ascending(Some("2"), 2), room()).await;
    assert!(matches!(unknown, Err(HistoryError::NoChat(id)) if id == "2"));
}

#[tokio::test]
async fn a_chat_is_its_owners() {
    let (_folder, history) = fresh();
    let chat = new_chat("1", "ann", &json!({}), 1);
    history.save_chat(chat).await.unwrap();
    let missing = |error: HistoryError| assert!(matches!(error, HistoryError::NoChat(_)));
    missing(history.chat("1", &of("bob"), room()).await.unwrap_err());
    missing(history.chat("1", &of(""), room()).await.unwrap_err());
    missing(
        history
            .chat_messages("1", &of("bob"), room())
            .await
            .unwrap_err(),
    );
    let metadata = json!({"a": "b"}).to_string();
    let bob = of("bob");
    let update = history.update_chat("1", &bob, 2, metadata.clone());
    missing(update.await.unwrap_err());
    missing(history.delete_chat("1", &of("bob")).await.unwrap_err());
    history
        .update_chat("1", &of("ann"), 2, metadata.clone())
        .await
        .unwrap();
    let found = history.chat("1", &Seen::All, room()).await.unwrap();
    assert_eq!(found.metadata, metadata);
    let messages = history.chat_messages("1", &of("ann"), room()).await;
    assert_eq!(messages.unwrap(), json!([{"id": "1-0"}]).to_string());
    let busy = history.chat("1", &Seen::All, Box::new(|_| false)).await;
    assert!(matches!(busy, Err(HistoryError::Busy)));
    history.delete_chat("1", &of("ann")).await.unwrap();
    missing(history.chat("1", &Seen::All, room()).await.unwrap_err());
}

#[tokio::test]
async fn chats_make_room_and_are_swept_as_responses_are() {
    let folder = tempfile::tempdir().unwrap();
    let history = at(folder.path(), 400 << 10);
    save(&history, "r", None, DAY).await;
    for n in 0..20 {
        let mut chat = new_chat(&n.to_string(), "", &json!({}), (2 + n) * DAY);
        chat.messages = "x".repeat(50 << 10);
        history.save_chat(chat).await.unwrap();
    }
    assert!(history.response("r", &Seen::All, room()).await.is_err());
    assert!(history.chat("3", &Seen::All, room()).await.is_err());
    assert!(history.chat("19", &Seen::All, room()).await.is_ok());
    // The last chat's metadata was changed late, which counts as use.
    let note = history.update_chat("19", &Seen::All, 60 * DAY, "{}".to_owned());
    note.await.unwrap();
    assert!(history.sweep(80 * DAY).await.unwrap() > 2);
    let all = filter(None, None, &json!({}));
    let (left, _) = history
        .chats(all, ascending(None, 20), room())
        .await
        .unwrap();
    assert_eq!(left.len(), 1);
}

#[tokio::test]
async fn chats_that_are_too_large_for_a_page_are_on_the_next() {
    let (_folder, history) = fresh();
    for id in ["1", "2", "3"] {
        let mut chat = new_chat(id, "", &json!({}), 1);
        chat.body = "x".repeat(MOST * 2 / 3);
        history.save_chat(chat).await.unwrap();
    }
    for (after, has_more) in [(None, true), (Some("2"), false)] {
        let all = filter(None, None, &json!({}));
        let listed = history.chats(all, ascending(after, 20), room()).await;
        let (chats, more) = listed.unwrap();
        assert_eq!((chats.len(), more), (1, has_more));
    }
}
