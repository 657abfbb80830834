//! A daemon that is killed while it stores responses.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::join_all;
use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{TestServer, variable};

/// Kills in a normal run; `DROVER_TEST_KILLS` sets another number.
const KILLS: u64 = 6;

/// The longest time before a kill: about as long as a dozen rounds of requests.
const LONGEST_US: u64 = 400_000;

const PATH: &str = "/v1/responses";
const CHATS: &str = "/v1/chat/completions";

/// A text that must never be on disk.
const SECRET: &str = "unstored-secret";

/// What was announced as complete: ids and texts.
type Told = Arc<Mutex<Vec<(String, String)>>>;

#[tokio::test]
async fn what_was_answered_as_complete_can_be_read_after_a_kill() {
    let n_kills = variable("DROVER_TEST_KILLS").map_or(KILLS, |text| text.parse().unwrap());
    let mut rng = fastrand::Rng::with_seed(11);
    let server = TestServer::start().await;
    server.fake_model("m").await;
    let mut root = server.stopped().await;
    let all = Told::default();
    for round in 0..n_kills {
        let mut server = start(root).await;
        let told = Told::default();
        let workers = (0..4).map(|worker| work(&server, format!("{round}-{worker}"), told.clone()));
        let moment = Duration::from_micros(rng.u64(..LONGEST_US));
        let killed = async {
            // Every second time the timer starts with the first answer, however slow the machine is.
            let mut tick = tokio::time::interval(Duration::from_millis(2));
            while round % 2 == 1 && told.lock().unwrap().is_empty() {
                tick.tick().await;
            }
            tokio::time::sleep(moment).await;
        };
        tokio::select! {
            _ = join_all(workers) => {}
            // An arbitrary moment.
            () = killed => {}
        }
        server.signal(Signal::KILL);
        server.exit_code().await;
        root = server.into_root();
        check_files(root.path());
        let server = start(root).await;
        let told = std::mem::take(&mut *told.lock().unwrap());
        check(&server, &told).await;
        all.lock().unwrap().extend(told);
        root = server.stopped().await;
    }
    let server = start(root).await;
    let all = std::mem::take(&mut *all.lock().unwrap());
    println!("{} responses were told to be complete", all.len());
    assert!(!all.is_empty());
    check(&server, &all).await;
    let root = server.stopped().await;
    check_files(root.path());
    let database = rusqlite::Connection::open(root.path().join("state/responses.db")).unwrap();
    let open = "SELECT count(*) FROM response WHERE is_final = 0";
    let n_open: i64 = database.query_row(open, [], |row| row.get(0)).unwrap();
    assert_eq!(n_open, 0, "responses that never end");
}

async fn start(root: TempDir) -> TestServer {
    TestServer::builder().root(root).start().await
}

/// Everything that was announced is stored, and each response can be continued.
async fn check(server: &TestServer, told: &[(String, String)]) {
    let (chats, responses): (Vec<_>, Vec<_>) =
        told.iter().partition(|(id, _)| id.starts_with("chatcmpl-"));
    for (id, text) in chats {
        let found = server.get(&format!("{CHATS}/{id}")).await.ok().json();
        assert_eq!(&found["choices"][0]["message"]["content"], text, "{id}");
    }
    for (id, text) in &responses {
        let found = server.get(&format!("{PATH}/{id}")).await.ok().json();
        assert_eq!(found["status"], "completed", "{id}");
        assert_eq!(&found["output"][0]["content"][0]["text"], text, "{id}");
        let items = server
            .get(&format!("{PATH}/{id}/input_items"))
            .await
            .ok()
            .json();
        assert_eq!(&items["data"][0]["content"][0]["text"], text, "{id}");
    }
    if let Some((id, _)) = responses.last() {
        let body = json!({"model": "m", "input": "on", "previous_response_id": id});
        server.post(PATH, &body).await.ok();
    }
}

/// The database is intact, and contains nothing that must not be stored.
fn check_files(root: &Path) {
    let state = root.join("state");
    for entry in fs_err::read_dir(&state).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            let bytes = fs_err::read(&path).unwrap();
            let found = memchr::memmem::find(&bytes, SECRET.as_bytes());
            assert_eq!(found, None, "{}", path.display());
        }
    }
    let path = state.join("responses.db");
    if !path.exists() {
        return;
    }
    let database = rusqlite::Connection::open(&path).unwrap();
    let verdict = |pragma: &str| {
        let mut query = database.prepare(pragma).unwrap();
        let rows = query.query_map([], |row| row.get::<_, String>(0)).unwrap();
        rows.collect::<Result<Vec<_>, _>>().unwrap()
    };
    assert_eq!(verdict("PRAGMA integrity_check"), ["ok"]);
    assert!(verdict("PRAGMA foreign_key_check").is_empty());
    let damaged = state.join("responses.db.damaged");
    assert!(!damaged.exists(), "the daemon gave up a database");
}

/// Creates responses of all kinds until the daemon dies, which may happen at any point.
async fn work(server: &TestServer, name: String, told: Told) {
    let tell = |response: &Value| {
        if response["status"] != "completed" {
            return;
        }
        let text = response["output"][0]["content"][0]["text"]
            .as_str()
            .unwrap();
        let id = response["id"].as_str().unwrap().to_owned();
        told.lock().unwrap().push((id, text.to_owned()));
    };
    let mut previous = Value::Null;
    for step in 0.. {
        let text = format!("question {name}-{step}");
        let ask = |extra: Value| {
            let mut body = json!({"model": "m", "input": text, "previous_response_id": previous});
            body.as_object_mut()
                .unwrap()
                .extend(extra.as_object().unwrap().clone());
            body
        };
        let Some(whole) = post(server, PATH, &ask(json!({}))).await else {
            return;
        };
        let Ok(whole) = serde_json::from_str::<Value>(&whole) else {
            return;
        };
        tell(&whole);
        let secret = format!("{SECRET} {text}");
        let hidden =
            json!({"model": "m", "input": secret, "store": false, "stream": step % 2 == 0});
        post(server, PATH, &hidden).await;
        let Some(events) = post(server, PATH, &ask(json!({"stream": true}))).await else {
            return;
        };
        last_response(&events).as_ref().map(tell);
        let background = ask(json!({"background": true, "stream": true}));
        let Some(events) = post(server, PATH, &background).await else {
            return;
        };
        last_response(&events).as_ref().map(tell);
        let chat = json!({"model": "m", "store": true, "stream": step % 2 == 0,
            "messages": [{"role": "user", "content": text}]});
        let Some(chat) = post(server, CHATS, &chat).await else {
            return;
        };
        if let Some(id) = chat_id(&chat) {
            told.lock().unwrap().push((id, text.clone()));
        }
        previous = whole["id"].clone();
    }
}

/// The body of an answer as far as it arrived; `None` if there was none.
async fn post(server: &TestServer, path: &str, body: &Value) -> Option<String> {
    let request = server.http.post(format!("{}{path}", server.url));
    let mut response = request.body(body.to_string()).send().await.ok()?;
    let mut bytes = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        bytes.extend_from_slice(&chunk);
    }
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// The response of the last event, if that arrived completely.
fn last_response(events: &str) -> Option<Value> {
    let whole = &events[..events.rfind("\n\n")?];
    let data = whole.rsplit_once("data: ")?.1;
    let event: Value = serde_json::from_str(data.lines().next()?).ok()?;
    (event["type"] == "response.completed").then(|| event["response"].clone())
}

/// The id of a chat, if its answer arrived completely.
fn chat_id(answer: &str) -> Option<String> {
    let line = match answer.strip_suffix("data: [DONE]\n\n") {
        Some(events) => events.lines().next()?.strip_prefix("data: ")?,
        None => answer,
    };
    let chat: Value = serde_json::from_str(line).ok()?;
    Some(chat["id"].as_str()?.to_owned())
}
