//! States in files, which outlive their runner: one file each, in a folder for all models, with one limit for
//! all of them; the least recently used are removed first.
//!
//! A file is `MAGIC`, a CRC-32 of what follows the header, the number of tokens (all `u32`, little endian), the
//! tokens (`i32`), and the backend's bytes to its end. Its name is a hash of the model and of the settings that
//! its bytes depend on, then a hash of the tokens. It reveals prompts, so only its owner may read it.

use std::io::{self, Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use fs_err as fs;
use sha2::{Digest, Sha256};

use super::SavedState;
use crate::protocol::{LoadParams, SpillFiles, Token};

const MAGIC: [u8; 4] = *b"DRV1";
const HEADER_BYTES: usize = 12;
const ENDING: &str = "state";

/// The capacity of the write queue. Each state can be large, so further states are dropped.
const QUEUE: usize = 2;

/// Temporary files of a killed writer are removed when they are this old.
const STALE: Duration = Duration::from_secs(3600);

/// The files of one model, and the thread that writes them.
#[derive(Debug)]
pub(super) struct Files {
    folder: Folder,
    known: Vec<Known>,
    queue: SyncSender<SavedState>,
    writer: JoinHandle<()>,
}

/// A file of this model; another runner may have removed it meanwhile.
#[derive(Debug, Clone)]
pub(super) struct Known {
    pub(super) tokens: Vec<Token>,
    path: PathBuf,
}

impl Known {
    /// Reads the file; removes it if it is damaged.
    pub(super) fn read(&self) -> Option<SavedState> {
        match read(&self.path) {
            Ok(state) if state.tokens == self.tokens => return Some(state),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            _ => {
                tracing::warn!("`{}` is damaged and removed", self.path.display());
                let _ = fs::remove_file(&self.path);
            }
        }
        None
    }
}

/// Makes a folder for saved states that only our user can read.
pub(in crate::engine) fn make_folder(path: &Path) -> io::Result<()> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
}

/// Where the files of one model are.
#[derive(Debug, Clone)]
pub(in crate::engine) struct Folder {
    path: PathBuf,
    /// Prefix of the names of this model's files.
    model: String,
    /// Most bytes of all files.
    limit: u64,
}

impl Files {
    /// Makes the folder and looks for files of this model.
    pub(super) fn open(wanted: &SpillFiles, params: &LoadParams) -> io::Result<Self> {
        let folder = Folder {
            path: wanted.folder.clone(),
            model: model_key(params)?,
            limit: wanted.limit_bytes,
        };
        make_folder(&folder.path)?;
        let known = folder.known()?;
        let (queue, states) = sync_channel(QUEUE);
        let background = folder.clone();
        let writer = std::thread::Builder::new()
            .name("spill".to_owned())
            .spawn(move || background.run(&states))?;
        Ok(Self {
            folder,
            known,
            queue,
            writer,
        })
    }

    pub(super) fn tokens(&self) -> impl Iterator<Item = &[Token]> {
        self.known.iter().map(|known| known.tokens.as_slice())
    }

    /// The file of these tokens.
    pub(super) fn known(&self, tokens: &[Token]) -> Option<&Known> {
        self.known.iter().find(|known| known.tokens == tokens)
    }

    /// Stops offering a state; its file stays for others.
    pub(super) fn forget(&mut self, tokens: &[Token]) {
        self.known.retain(|known| known.tokens != tokens);
    }

    /// Queues a state for writing; drops it if the disk is too slow.
    pub(super) fn write(&mut self, state: SavedState) {
        let known = Known {
            path: self.folder.file(&state.tokens),
            tokens: state.tokens.clone(),
        };
        match self.queue.try_send(state) {
            Ok(()) => self.known.push(known),
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                tracing::debug!("a prefix was not kept: the disk is busy");
            }
        }
    }

    /// Waits until everything is written; then the caller may write to the returned folder itself.
    pub(super) fn finish(self) -> Folder {
        drop(self.queue);
        // A panic there only loses cached states.
        let _ = self.writer.join();
        self.folder
    }
}

impl Folder {
    fn run(&self, states: &Receiver<SavedState>) {
        self.prune();
        for state in states {
            self.write(&state);
        }
    }

    /// Writes a state to a temporary file and renames it; then removes what exceeds the limit.
    pub(in crate::engine) fn write(&self, state: &SavedState) {
        if state.n_bytes() > self.limit {
            return;
        }
        if let Err(error) = self.try_write(state) {
            tracing::warn!("a prompt was not kept: {error}");
        }
        self.prune();
    }

    fn try_write(&self, state: &SavedState) -> io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(&self.path)?;
        let tokens: Vec<u8> = state.tokens.iter().flat_map(|t| t.to_le_bytes()).collect();
        let mut checksum = crc32fast::Hasher::new();
        checksum.update(&tokens);
        checksum.update(&state.bytes);
        let n_tokens = u32::try_from(state.tokens.len()).map_err(io::Error::other)?;
        file.write_all(&MAGIC)?;
        file.write_all(&checksum.finalize().to_le_bytes())?;
        file.write_all(&n_tokens.to_le_bytes())?;
        file.write_all(&tokens)?;
        file.write_all(&state.bytes)?;
        file.persist(self.file(&state.tokens))?;
        Ok(())
    }

    /// The path for a state of these tokens.
    fn file(&self, tokens: &[Token]) -> PathBuf {
        let mut hash = Sha256::new();
        for token in tokens {
            hash.update(token.to_le_bytes());
        }
        self.path
            .join(format!("{}-{}.{ENDING}", self.model, short(hash)))
    }

    /// This model's files, with their tokens; ignores files that are invalid or disappear meanwhile.
    fn known(&self) -> io::Result<Vec<Known>> {
        let mut known = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if name.starts_with(&self.model)
                && name.ends_with(ENDING)
                && let Ok((_, tokens)) = fs::File::open(&path).and_then(|mut file| head(&mut file))
            {
                known.push(Known { tokens, path });
            }
        }
        Ok(known)
    }

    /// Removes the least recently used files until the limit is met, and temporary files of killed writers.
    fn prune(&self) {
        let Ok(entries) = fs::read_dir(&self.path) else {
            return;
        };
        let mut files = Vec::new();
        for path in entries.flatten().map(|entry| entry.path()) {
            // A file that is already gone need not be removed.
            let Ok(metadata) = fs::metadata(&path) else {
                continue;
            };
            let used = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            let is_state = path.extension().is_some_and(|ending| ending == ENDING);
            if is_state {
                files.push((used, metadata.len(), path));
            } else if used.elapsed().is_ok_and(|age| age > STALE) {
                let _ = fs::remove_file(&path);
            }
        }
        files.sort();
        let mut n_bytes: u64 = files.iter().map(|(_, n_bytes, _)| n_bytes).sum();
        for (_, freed, path) in files {
            if n_bytes <= self.limit {
                break;
            }
            let _ = fs::remove_file(path);
            n_bytes -= freed;
        }
    }
}

/// Reads the checksum and the tokens, up to where the backend's bytes begin.
fn head(file: &mut fs::File) -> io::Result<(u32, Vec<Token>)> {
    let bad = || io::Error::from(io::ErrorKind::InvalidData);
    let mut header = [0; HEADER_BYTES];
    file.read_exact(&mut header)?;
    let rest = header.strip_prefix(&MAGIC).ok_or_else(bad)?;
    let (checksum, rest) = rest.split_first_chunk().ok_or_else(bad)?;
    let (n_tokens, _) = rest.split_first_chunk().ok_or_else(bad)?;
    let n_bytes = u64::from(u32::from_le_bytes(*n_tokens)) * size_of::<Token>() as u64;
    if n_bytes > file.metadata()?.len() {
        return Err(bad());
    }
    let mut tokens = vec![0; usize::try_from(n_bytes).map_err(io::Error::other)?];
    file.read_exact(&mut tokens)?;
    let tokens = tokens.as_chunks().0.iter();
    let tokens = tokens.map(|bytes| Token::from_le_bytes(*bytes)).collect();
    Ok((u32::from_le_bytes(*checksum), tokens))
}

/// Reads a file and notes that it was used.
fn read(path: &Path) -> io::Result<SavedState> {
    let mut file = fs::File::open(path)?;
    let (checksum, tokens) = head(&mut file)?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    let mut found = crc32fast::Hasher::new();
    for token in &tokens {
        found.update(&token.to_le_bytes());
    }
    found.update(&bytes);
    if found.finalize() != checksum {
        return Err(io::ErrorKind::InvalidData.into());
    }
    // If the time cannot be set, the file is just removed earlier.
    let _ = file.file().set_modified(SystemTime::now());
    Ok(SavedState { tokens, bytes })
}

/// What the bytes of a state depend on besides the tokens: the model's files and adapters, the layout of
/// the cache, and the version that wrote them.
fn model_key(params: &LoadParams) -> io::Result<String> {
    let mut hash = Sha256::new();
    let adapters = params.adapters.iter();
    let files = adapters.map(|adapter| (&adapter.path, adapter.scale));
    // Images are identified by their files, whatever the projector makes of them, so the projector counts, too.
    let projector = params.projector.as_ref();
    let projector = projector.map(|projector| &projector.file.path);
    let others = projector.into_iter().chain([&params.model.path]);
    for (path, scale) in files.chain(others.map(|path| (path, 1.0))) {
        let metadata = fs::metadata(path)?;
        let modified = metadata.modified()?.duration_since(SystemTime::UNIX_EPOCH);
        let modified = modified.unwrap_or_default().as_nanos();
        hash.update(format!("{path:?} {} {modified} {scale}\n", metadata.len()));
    }
    hash.update(format!(
        "{:?} {} {}",
        params.kv_cache_type,
        params.whole_window,
        env!("CARGO_PKG_VERSION")
    ));
    Ok(short(hash))
}

/// The first 16 digits of a hash.
fn short(hash: Sha256) -> String {
    let digest = hash.finalize();
    digest[..8]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::tests::load_params;

    fn open(folder: &Path, limit_bytes: u64) -> Files {
        let model = folder.parent().unwrap().join("model");
        fs::write(&model, "a model").unwrap();
        // A rewritten file has another modification time.
        let file = fs::File::open(&model).unwrap();
        file.file().set_modified(SystemTime::UNIX_EPOCH).unwrap();
        let wanted = SpillFiles {
            folder: folder.to_owned(),
            limit_bytes,
        };
        Files::open(&wanted, &load_params(&model, 256, 2)).unwrap()
    }

    fn state(token: Token, n_bytes: usize) -> SavedState {
        SavedState {
            tokens: vec![token; 10],
            bytes: (0..n_bytes).map(|n| n.to_le_bytes()[0]).collect(),
        }
    }

    #[test]
    fn states_are_found_again_and_damaged_ones_are_not() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("prompts");
        let mut files = open(&folder, 1 << 20);
        files.write(state(1, 1000));
        files.write(state(2, 1000));
        files.finish();
        let files = open(&folder, 1 << 20);
        let known = |n| files.known(&state(n, 1000).tokens);
        assert_eq!(known(1).unwrap().read(), Some(state(1, 1000)));
        let second = known(2).unwrap();
        let path = second.path.clone();
        let mut bytes = fs::read(&path).unwrap();
        bytes[500] ^= 1;
        fs::write(&path, bytes).unwrap();
        assert_eq!(second.read(), None);
        assert!(!path.exists());
        assert!(known(7).is_none());
    }

    #[test]
    fn what_was_not_used_for_longest_goes_first() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("prompts");
        let files = open(&folder, 2500);
        let folder = files.finish();
        for (token, age) in [(1, 30), (2, 20)] {
            folder.write(&state(token, 1000));
            let file = fs::File::open(folder.file(&[token; 10])).unwrap();
            let then = SystemTime::now() - Duration::from_secs(age);
            file.file().set_modified(then).unwrap();
        }
        // A read makes it recently used.
        assert!(read(&folder.file(&[1; 10])).is_ok());
        folder.write(&state(3, 1000));
        let left: Vec<Token> = folder
            .known()
            .unwrap()
            .iter()
            .map(|k| k.tokens[0])
            .collect();
        assert_eq!(left.len(), 2);
        assert!(!left.contains(&2));
        folder.write(&state(4, 5000));
        assert_eq!(
            folder.known().unwrap().len(),
            2,
            "larger than all that is allowed"
        );
    }

    #[test]
    fn files_of_another_model_or_of_no_model_are_left_alone() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("prompts");
        open(&folder, 1 << 20).finish();
        let other = folder.join("0000000000000000-0000000000000000.state");
        fs::write(&other, "no state").unwrap();
        let files = open(&folder, 1 << 20);
        assert_eq!(files.tokens().count(), 0);
        let broken = files.folder.file(&[1]);
        fs::write(&broken, b"DRV1\0\0\0\0\xff\xff\xff\x7f").unwrap();
        files.finish();
        assert_eq!(open(&folder, 1 << 20).tokens().count(), 0);
        assert!(other.exists());
    }
}
