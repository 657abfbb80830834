//! Results on disk: appended at the valid length, synced, then marked.
//!
//! *Invariant:* a file's bytes beyond the length in the job's row are invalid, and the next append replaces them. So
//! each line is in exactly one of the two files, whenever the power fails.

use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use jiff::Timestamp;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::json;
use tokio_util::task::TaskTracker;

use super::Answered;
use super::batch::{Batch, Origin, Usage};
use super::store::{Line, Mark, Marks, Store};
use crate::jobs::files::{private_folder, sync_folder};
use crate::jobs::{File, JobsError, id};
use crate::model::Digest;

/// How many lines that were not run are written at a time.
const GROUP: usize = 1000;

/// The result of a line, as it is written.
#[derive(Debug, Clone)]
pub(super) struct Outcome {
    pub(super) seq: i64,
    pub(super) number: i64,
    pub(super) mark: Mark,
    /// The line of the result file.
    pub(super) text: Vec<u8>,
    pub(super) usage: Usage,
}

/// Makes the line of an answered request.
pub(super) fn answered(custom_id: &str, answered: &Answered) -> (Mark, Vec<u8>, Usage) {
    let is_success = (200..300).contains(&answered.status);
    let mark = if is_success {
        Mark::Completed
    } else {
        Mark::Failed
    };
    let usage = if is_success {
        usage(&answered.body)
    } else {
        Usage::default()
    };
    let body = one_line(&answered.body);
    let head = format!(
        r#"{{"id":{},"custom_id":{},"response":{{"status_code":{},"request_id":{},"body":"#,
        json!(id::new("batch_req_")),
        json!(custom_id),
        answered.status,
        json!(answered.request_id),
    );
    let text = [head.as_bytes(), &body, b"},\"error\":null}\n"].concat();
    (mark, text, usage)
}

/// Makes the line of a request that was not run.
fn not_run(custom_id: &str, (code, message): (&str, &str)) -> Vec<u8> {
    let line = json!({
        "id": id::new("batch_req_"), "custom_id": custom_id, "response": null,
        "error": {"code": code, "message": message},
    });
    format!("{line}\n").into_bytes()
}

/// A body as JSON without line ends; any other body as a JSON string.
fn one_line(body: &[u8]) -> Vec<u8> {
    let body = body.trim_ascii();
    if serde_json::from_slice::<IgnoredAny>(body).is_err() {
        let text = String::from_utf8_lossy(body);
        return json!(text).to_string().into_bytes();
    }
    // Line ends are between values, since strings contain none.
    let is_end = |byte: &u8| matches!(byte, b'\n' | b'\r');
    let mut line = body.to_vec();
    if line.iter().any(is_end) {
        line.retain(|byte| !is_end(byte));
    }
    line
}

/// The counters of an answer, by the names of all APIs.
fn usage(body: &[u8]) -> Usage {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Body {
        usage: Option<Given>,
    }
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Given {
        #[serde(alias = "prompt_tokens")]
        input_tokens: Option<u64>,
        #[serde(alias = "completion_tokens")]
        output_tokens: Option<u64>,
        #[serde(alias = "prompt_tokens_details")]
        input_tokens_details: Option<Details>,
        #[serde(alias = "completion_tokens_details")]
        output_tokens_details: Option<Details>,
        cache_read_input_tokens: Option<u64>,
    }
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Details {
        cached_tokens: Option<u64>,
        reasoning_tokens: Option<u64>,
    }
    let body: Body = serde_json::from_slice(body).unwrap_or_default();
    let given = body.usage.unwrap_or_default();
    let input = given.input_tokens_details.unwrap_or_default();
    let output = given.output_tokens_details.unwrap_or_default();
    let read = given.cache_read_input_tokens.unwrap_or(0);
    Usage {
        // Anthropic counts cached tokens separately.
        input: given.input_tokens.unwrap_or(0).saturating_add(read),
        cached: input.cached_tokens.unwrap_or(read),
        output: given.output_tokens.unwrap_or(0),
        reasoning: output.reasoning_tokens.unwrap_or(0),
    }
}

impl Usage {
    fn add(&mut self, other: Self) {
        self.input = self.input.saturating_add(other.input);
        self.cached = self.cached.saturating_add(other.cached);
        self.output = self.output.saturating_add(other.output);
        self.reasoning = self.reasoning.saturating_add(other.reasoning);
    }
}

/// Writes results of one job to disk and marks their lines.
///
/// # Errors
/// In that case no result counts, and the files are cut to their old lengths if possible.
pub(super) async fn commit(
    store: &Store,
    batch: &Batch,
    outcomes: &[Outcome],
    tasks: &TaskTracker,
) -> Result<Batch, JobsError> {
    let (mut output, mut error) = (Vec::new(), Vec::new());
    let mut marks = Marks::default();
    for outcome in outcomes {
        let file = match outcome.mark {
            Mark::Completed => &mut output,
            Mark::Failed | Mark::NotRun => &mut error,
        };
        file.extend_from_slice(&outcome.text);
        marks.lines.push((outcome.number, outcome.mark));
        marks.usage.add(outcome.usage);
    }
    store
        .files
        .room_for((output.len() + error.len()) as u64)
        .await?;
    marks.output_bytes = batch.output_bytes + output.len() as u64;
    marks.error_bytes = batch.error_bytes + error.len() as u64;
    let places = [
        (
            store.files.path(&batch.output_file),
            batch.output_bytes,
            output,
        ),
        (
            store.files.path(&batch.error_file),
            batch.error_bytes,
            error,
        ),
    ];
    let writing = tasks.spawn_blocking(move || {
        for (path, length, bytes) in places {
            append(&path, length, &bytes)?;
        }
        Ok::<_, io::Error>(())
    });
    writing.await??;
    store.mark(batch.seq, marks).await
}

/// Appends at the valid length, and syncs.
fn append(path: &Path, length: u64, bytes: &[u8]) -> io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    if bytes.is_empty() {
        return Ok(());
    }
    if length == 0
        && let Some(folder) = path.parent()
    {
        private_folder(folder)?;
    }
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(length == 0).mode(0o600);
    let file = options.open(path)?;
    // Remove what an interrupted append left.
    file.set_len(length)?;
    let written = file
        .write_all_at(bytes, length)
        .and_then(|()| file.sync_data());
    if written.is_err() {
        // Frees the room for others.
        let _ = file.set_len(length);
        return written;
    }
    if length == 0 {
        sync_folder(path)?;
    }
    Ok(())
}

/// Ends a job: writes the lines that were not run, and turns the results into files.
pub(super) async fn end(
    store: &Store,
    mut batch: Batch,
    tasks: &TaskTracker,
) -> Result<Batch, JobsError> {
    // Without a valid input there are no requests.
    if batch.counts.total > 0 {
        batch = write_rest(store, batch, tasks).await?;
    }
    let now = Timestamp::now();
    let mut files = Vec::new();
    let results = [
        ("output", &batch.output_file, batch.output_bytes),
        ("error", &batch.error_file, batch.error_bytes),
    ];
    for (kind, file, bytes) in results {
        // Anthropic's results are not listed as files.
        let purpose = match batch.origin {
            Origin::OpenAi => "batch_output",
            Origin::Anthropic => crate::jobs::files::UNLISTED,
        };
        if bytes == 0 {
            continue;
        }
        let path = store.files.path(file);
        let hashing = tasks.spawn_blocking(move || digest(&path, bytes));
        let created_at = now.as_second();
        files.push(File {
            id: file.clone(),
            owner: batch.owner.clone(),
            purpose: purpose.to_owned(),
            filename: format!("{}_{kind}.jsonl", batch.id),
            bytes,
            sha256: hashing.await??.hex(),
            created_at,
            expires_at: batch.keep.map(|seconds| created_at + i64::from(seconds)),
        });
    }
    store.end(batch.seq, files, now).await
}

/// Writes the lines that were not run.
async fn write_rest(
    store: &Store,
    mut batch: Batch,
    tasks: &TaskTracker,
) -> Result<Batch, JobsError> {
    loop {
        let rest = store.waiting(batch.seq, None, GROUP).await?;
        if rest.is_empty() {
            return Ok(batch);
        }
        let why = batch.rest();
        let outcome = |line: Line| Outcome {
            seq: batch.seq,
            number: line.number,
            mark: Mark::NotRun,
            text: not_run(&line.custom_id, why),
            usage: Usage::default(),
        };
        let outcomes: Vec<Outcome> = rest.into_iter().map(outcome).collect();
        batch = commit(store, &batch, &outcomes, tasks).await?;
    }
}

/// The digest of a result file, which is first cut to its valid length.
fn digest(path: &Path, length: u64) -> io::Result<Digest> {
    let file = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)?;
    if file.metadata()?.len() != length {
        file.set_len(length)?;
        file.sync_all()?;
    }
    Digest::of_reader(&mut &file, &mut |_| {})
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn spelled(status: u16, body: &str) -> (Mark, Value, Usage) {
        let (mark, text, usage) = answered(
            "a\"b",
            &Answered {
                status,
                request_id: "req_1".to_owned(),
                body: body.to_owned().into(),
            },
        );
        let text = String::from_utf8(text).unwrap();
        assert_eq!(text.find('\n'), Some(text.len() - 1));
        (mark, serde_json::from_str(&text).unwrap(), usage)
    }

    #[test]
    fn lines_have_openais_form() {
        let body = "{\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":2,\"prompt_tokens_details\":\
                    {\"cached_tokens\":4},\"completion_tokens_details\":{\"reasoning_tokens\":1}},\n \"x\":\"\\n\"}\n";
        let (mark, line, usage) = spelled(200, body);
        assert_eq!(mark, Mark::Completed);
        assert!(line["id"].as_str().unwrap().starts_with("batch_req_"));
        assert_eq!(line["custom_id"], "a\"b");
        assert_eq!(line["error"], Value::Null);
        assert_eq!(line["response"]["status_code"], 200);
        assert_eq!(line["response"]["request_id"], "req_1");
        assert_eq!(line["response"]["body"]["x"], "\n");
        let expected = Usage {
            input: 5,
            cached: 4,
            output: 2,
            reasoning: 1,
        };
        assert_eq!(usage, expected);
        let (mark, line, _) = spelled(404, "no json\n");
        assert_eq!(
            (mark, &line["response"]["body"]),
            (Mark::Failed, &json!("no json"))
        );
        let (.., usage) = spelled(
            200,
            r#"{"usage":{"input_tokens":1,"cache_read_input_tokens":3}}"#,
        );
        assert_eq!((usage.input, usage.cached), (4, 3));
        let text = not_run("c", ("batch_expired", "late"));
        let line: Value = serde_json::from_slice(&text).unwrap();
        assert_eq!(
            line["error"],
            json!({"code": "batch_expired", "message": "late"})
        );
        assert_eq!(line["response"], Value::Null);
    }

    #[test]
    fn what_does_not_count_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/results");
        append(&path, 0, b"").unwrap();
        assert!(!path.exists());
        append(&path, 0, b"one\n").unwrap();
        append(&path, 4, b"two\nlost").unwrap();
        append(&path, 8, b"3\n").unwrap();
        assert_eq!(fs_err::read_to_string(&path).unwrap(), "one\ntwo\n3\n");
        assert!(append(&folder.path().join("gone"), 4, b"x").is_err());
        fs_err::write(&path, "one\ntwo\nrest").unwrap();
        assert_eq!(digest(&path, 8).unwrap(), Digest::of(b"one\ntwo\n"));
    }
}
