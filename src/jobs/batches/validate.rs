//! Validates an input file line by line. However long the file or a line is, this takes little memory.

use std::collections::{HashMap, HashSet};
use std::io::{self, BufReader};
use std::path::Path;

use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;

use super::Answer;
use super::batch::{Batch, Event, Fault};
use super::check::{self, Checked};
use super::lines::{self, Read};
use super::store::{Line, Store};
use crate::jobs::JobsError;

/// The most requests of a job, and the most embeddings inputs in all of them together.
const MAX_LINES: u64 = 50_000;
const MAX_INPUTS: u64 = 50_000;

/// The most bytes of a line.
pub(super) const MAX_LINE: usize = 32 << 20;

/// The most faults that are reported.
const MAX_FAULTS: usize = 100;

/// How many lines are added to the database at a time, and how many such groups may wait.
const GROUP: usize = 500;
const GROUPS: usize = 2;

const BUFFER: usize = 256 << 10;

/// Validates a job's input and adds its lines to the database.
pub(super) async fn validate(
    store: &Store,
    batch: &Batch,
    answer: &dyn Answer,
    tasks: &TaskTracker,
) -> Result<Event, JobsError> {
    // Lines of an interrupted validation.
    store.clear_lines(batch.seq).await?;
    let (sender, mut groups) = mpsc::channel(GROUPS);
    let path = store.files.path(&batch.input_file);
    let endpoint = batch.endpoint.clone();
    let reading = tasks.spawn_blocking(move || {
        let mut scan = Scan::new(endpoint, sender);
        let read = scan.read(&path);
        // No more lines follow.
        scan.sender = None;
        read.map(|()| scan)
    });
    while let Some(group) = groups.recv().await {
        store.add_lines(batch.seq, group).await?;
    }
    let mut scan = match reading.await? {
        Ok(scan) => scan,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(Event::Invalid(vec![no_file(&batch.input_file)]));
        }
        Err(error) => return Err(error.into()),
    };
    if scan.faults.is_empty()
        && let Some(model) = &scan.model
        && !answer.has_model(model).await
    {
        let message = format!("The provided model '{model}' is not supported by the Batch API.");
        let fault = Fault::new("model_not_found", message, Some("body.model"), Some(1));
        scan.faults.push(fault);
    }
    if scan.faults.is_empty() {
        return Ok(Event::Valid {
            total: scan.total,
            model: scan.model,
        });
    }
    store.clear_lines(batch.seq).await?;
    Ok(Event::Invalid(scan.faults))
}

/// The fault of a missing file, or of one that is not an input.
pub(super) fn no_file(id: &str) -> Fault {
    let message = format!("Cannot find file {id}, or it has another purpose than 'batch'.");
    Fault::new("invalid_request", message, Some("file_id"), None)
}

/// The state of the scan so far.
struct Scan {
    endpoint: String,
    sender: Option<mpsc::Sender<Vec<Line>>>,
    group: Vec<Line>,
    faults: Vec<Fault>,
    total: u64,
    n_inputs: u64,
    model: Option<String>,
    /// Digests of the `custom_id`s so far.
    ids: HashSet<[u8; 16]>,
    /// The first line with a prefix, by the prefix's hash.
    firsts: HashMap<u32, u32>,
}

impl Scan {
    fn new(endpoint: String, sender: mpsc::Sender<Vec<Line>>) -> Self {
        Self {
            endpoint,
            sender: Some(sender),
            group: Vec::new(),
            faults: Vec::new(),
            total: 0,
            n_inputs: 0,
            model: None,
            ids: HashSet::new(),
            firsts: HashMap::new(),
        }
    }

    fn read(&mut self, path: &Path) -> io::Result<()> {
        let mut reader = BufReader::with_capacity(BUFFER, fs_err::File::open(path)?);
        let mut buffer = Vec::new();
        let (mut offset, mut number) = (0_u64, 0_u64);
        while self.faults.len() < MAX_FAULTS {
            number += 1;
            let length = match lines::next(&mut reader, &mut buffer, MAX_LINE)? {
                Read::End => break,
                Read::TooLong(length) => {
                    let message = format!("This line is longer than {} MB.", MAX_LINE >> 20);
                    let fault = Fault::new("line_too_long", message, None, Some(number));
                    self.faults.push(fault);
                    offset += length;
                    continue;
                }
                Read::Line(length) => length,
            };
            let bom = if number == 1 && buffer.starts_with(b"\xef\xbb\xbf") {
                3
            } else {
                0
            };
            match check::check(&buffer[bom..], &self.endpoint, number) {
                Ok(None) => {}
                Ok(Some(checked)) => {
                    let place = (offset + bom as u64, length - bom as u64);
                    self.add(checked, number, place);
                }
                Err(faults) => self.faults.extend(faults),
            }
            offset += length;
            if self.total > MAX_LINES || self.n_inputs > MAX_INPUTS {
                break;
            }
            if self.group.len() >= GROUP && !self.send() {
                return Ok(());
            }
        }
        self.faults.truncate(MAX_FAULTS);
        self.finish();
        Ok(())
    }

    fn add(&mut self, checked: Checked, number: u64, (offset, length): (u64, u64)) {
        let mut fault = |code: &str, message: String, param: &str| {
            let fault = Fault::new(code, message, Some(param), Some(number));
            self.faults.push(fault);
        };
        self.total += 1;
        self.n_inputs += checked.n_inputs;
        let digest = Sha256::digest(&checked.custom_id);
        let mut short = [0; 16];
        short.copy_from_slice(&digest[..16]);
        if !self.ids.insert(short) {
            let message = format!(
                "The custom_id '{}' for this request is a duplicate of another request. The custom_id \
                 parameter must be unique for each request in a batch.",
                checked.custom_id
            );
            fault("duplicate_custom_id", message, "custom_id");
        }
        match &self.model {
            None => self.model = Some(checked.model),
            Some(model) if *model == checked.model => {}
            Some(model) => {
                let message = format!(
                    "The model '{}' of this request is not '{model}': all requests of a batch must have \
                     the same model.",
                    checked.model
                );
                fault("mismatched_model", message, "body.model");
            }
        }
        let number = u32::try_from(number).unwrap_or(u32::MAX);
        // Lines run in the order of the file, except that lines with the same prefix follow the first of them.
        let first = match checked.heads.first() {
            Some(head) => *self.firsts.entry(*head).or_insert(number),
            None => number,
        };
        let heads = checked.heads.iter().skip(1).copied();
        let rank = std::iter::once(first).chain(heads);
        self.group.push(Line {
            number: i64::from(number),
            custom_id: checked.custom_id,
            offset,
            length,
            rank: rank.flat_map(u32::to_be_bytes).collect(),
        });
    }

    /// Passes a group on; false = the receiver has gone. A file with faults does not run.
    fn send(&mut self) -> bool {
        let group = std::mem::take(&mut self.group);
        let Some(sender) = self.sender.as_ref().filter(|_| self.faults.is_empty()) else {
            return true;
        };
        sender.blocking_send(group).is_ok()
    }

    fn finish(&mut self) {
        let whole = |code: &str, message: String| Fault::new(code, message, None, None);
        if self.total > MAX_LINES {
            let message = format!("The file has more than {MAX_LINES} requests.");
            self.faults.push(whole("too_many_tasks", message));
        } else if self.n_inputs > MAX_INPUTS {
            let message = format!("The file has more than {MAX_INPUTS} inputs to embed.");
            self.faults.push(whole("too_many_tasks", message));
        } else if self.total == 0 && self.faults.is_empty() {
            let message = "The input file is empty.".to_owned();
            self.faults.push(whole("empty_file", message));
        }
        self.send();
    }
}
