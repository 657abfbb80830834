//! Measurements of models, cached on disk by the models' files, the parameters, the devices and the program.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use crate::protocol::{DeviceInfo, MeasureParams, Measured};
use crate::runner_client;

/// How long measuring a model that waits to be loaded may take; after that the estimate has to do.
const LIMIT: Duration = Duration::from_secs(20);

/// Most cached answers, and most bytes that are read of one.
const MOST_FILES: usize = 512;
const MOST_BYTES: u64 = 1 << 20;

/// A folder with an answer in each file, named by a digest of the question.
#[derive(Debug, Clone)]
pub(super) struct MeasuredFiles {
    folder: PathBuf,
    /// One process measures at a time, whatever clients ask for.
    turn: Arc<Semaphore>,
}

impl MeasuredFiles {
    pub(super) fn new(state_dir: &Path) -> Self {
        Self {
            folder: state_dir.join("measured"),
            turn: Arc::new(Semaphore::new(1)),
        }
    }

    /// The same cache with a separate queue for measurements.
    pub(super) fn with_a_turn_of_its_own(&self) -> Self {
        Self {
            folder: self.folder.clone(),
            turn: Arc::new(Semaphore::new(1)),
        }
    }

    /// Measures a model, or takes the cached answer. `None` if the library has no answer, or none in time.
    pub(super) async fn measure(
        &self,
        exe: PathBuf,
        params: MeasureParams,
        devices: Vec<DeviceInfo>,
        tasks: &TaskTracker,
    ) -> Option<Measured> {
        let (files, program, question) = (self.clone(), exe.clone(), params.clone());
        let known = tokio::task::spawn_blocking(move || {
            let path = files.path(&question, &devices, &program)?;
            let measured = read(&path);
            Some((path, measured))
        });
        let (path, measured) = known.await.ok().flatten()?;
        if measured.is_some() {
            return measured;
        }
        let _turn = self.turn.acquire().await.ok()?;
        let model = params.load.model.path.clone();
        let measured = match runner_client::measure(exe, params, LIMIT, tasks).await {
            Ok(measured) => measured,
            Err(error) => {
                tracing::info!(model = %model.display(), %error, "the memory of a model is estimated");
                return None;
            }
        };
        let (folder, answer) = (self.folder.clone(), measured.clone());
        let written = tokio::task::spawn_blocking(move || write(&folder, &path, &answer)).await;
        if let Ok(Err(error)) = written {
            tracing::debug!(%error, "what a model takes is not remembered");
        }
        Some(measured)
    }

    /// The file for a question; `None` if one of the model's files cannot be read.
    fn path(&self, params: &MeasureParams, devices: &[DeviceInfo], exe: &Path) -> Option<PathBuf> {
        let load = &params.load;
        let adapters = load.adapters.iter().map(|adapter| &adapter.path);
        let projector = load.projector.as_ref().map(|params| &params.file.path);
        let draft = load.draft.as_ref().map(|draft| &draft.model.path);
        let files = [&load.model.path].into_iter().chain(projector).chain(draft);
        let stamps: Option<Vec<_>> = files.chain(adapters).map(|path| stamp(path)).collect();
        let devices = devices
            .iter()
            .map(|device| (&device.name, &device.description, device.total_bytes));
        let devices: Vec<_> = devices.collect();
        let question = (params, stamps?, devices, stamp(exe));
        let text = serde_json::to_vec(&question).ok()?;
        Some(self.folder.join(format!("{:x}.json", Sha256::digest(text))))
    }
}

/// Identifies the state of a file: its length and modification time.
fn stamp(path: &Path) -> Option<(u64, Option<Duration>)> {
    let file = fs_err::metadata(path).ok()?;
    let changed = file.modified().ok();
    let changed = changed.and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok());
    Some((file.len(), changed))
}

fn read(path: &Path) -> Option<Measured> {
    let length = fs_err::metadata(path).ok()?.len();
    if length > MOST_BYTES {
        return None;
    }
    serde_json::from_slice(&fs_err::read(path).ok()?).ok()
}

fn write(folder: &Path, path: &Path, measured: &Measured) -> std::io::Result<()> {
    fs_err::create_dir_all(folder)?;
    // Most are answers for older programs and files: all are removed, and those in use come back.
    if fs_err::read_dir(folder)?.count() >= MOST_FILES {
        fs_err::remove_dir_all(folder)?;
        fs_err::create_dir_all(folder)?;
    }
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    serde_json::to_writer(&mut file, measured)?;
    file.flush()?;
    file.persist(path)?;
    Ok(())
}
