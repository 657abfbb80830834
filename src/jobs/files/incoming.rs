//! An arriving file: written piece by piece on the blocking pool, hashed and counted.

use std::io::Write as _;
use std::path::Path;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use tempfile::NamedTempFile;
use tokio::task::JoinHandle;

use super::{Files, JobsError};

/// Bytes that are collected before a write.
const WRITE_BYTES: usize = 256 << 10;

/// The prefix of the names of unfinished files.
pub(super) const UNFINISHED: &str = "incoming-";

/// An arriving file. It leaves nothing if it is dropped before it is finished.
#[derive(Debug)]
pub struct Incoming {
    files: Files,
    /// The running job, which returns the writer. `None` after a failure.
    job: Option<JoinHandle<Result<Writer, JobsError>>>,
    buffer: Vec<u8>,
    bytes: u64,
    /// The most bytes of the file.
    most: u64,
    /// The bytes of the files that existed already.
    used: u64,
}

#[derive(Debug)]
struct Writer {
    file: NamedTempFile,
    hash: Sha256,
}

impl Files {
    /// Begins a file of at most `most` bytes.
    ///
    /// # Errors
    /// The folder cannot be used.
    pub async fn begin(&self, most: u64) -> Result<Incoming, JobsError> {
        let used = self.used().await?;
        let folder = self.shared.folder.clone();
        let job = self.shared.tasks.spawn_blocking(move || {
            private_folder(&folder)?;
            let file = tempfile::Builder::new()
                .prefix(UNFINISHED)
                .tempfile_in(&folder)?;
            let hash = Sha256::new();
            Ok(Writer { file, hash })
        });
        Ok(Incoming {
            files: self.clone(),
            job: Some(job),
            buffer: Vec::new(),
            bytes: 0,
            most,
            used,
        })
    }
}

impl Incoming {
    /// The number of bytes so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Appends a piece; waits for the previous write.
    ///
    /// # Errors
    /// The file becomes too large, or the disk is full.
    pub async fn write(&mut self, piece: &Bytes) -> Result<(), JobsError> {
        let shared = &self.files.shared;
        let n = piece.len() as u64;
        let arriving = shared.arriving.fetch_add(n, Ordering::Relaxed) + n;
        self.bytes += n;
        if self.bytes > self.most {
            return Err(JobsError::TooLarge(self.most));
        }
        if self.used.saturating_add(arriving) > shared.most {
            return Err(JobsError::NoRoom(shared.most));
        }
        self.buffer.extend_from_slice(piece);
        if self.buffer.len() >= WRITE_BYTES {
            self.flush().await?;
        }
        Ok(())
    }

    /// Appends a file of the folder.
    pub(super) async fn append(&mut self, id: &str) -> Result<(), JobsError> {
        use tokio::io::AsyncReadExt as _;
        let mut file = tokio::fs::File::open(self.files.path(id)).await?;
        let mut piece = bytes::BytesMut::with_capacity(WRITE_BYTES);
        while file.read_buf(&mut piece).await? > 0 {
            self.write(&piece.split().freeze()).await?;
            piece.reserve(WRITE_BYTES);
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), JobsError> {
        let mut writer = self.writer().await?;
        let piece = std::mem::take(&mut self.buffer);
        self.job = Some(self.files.shared.tasks.spawn_blocking(move || {
            writer.file.write_all(&piece)?;
            writer.hash.update(&piece);
            Ok(writer)
        }));
        Ok(())
    }

    async fn writer(&mut self) -> Result<Writer, JobsError> {
        let Some(job) = &mut self.job else {
            return Err(std::io::Error::other("the file could not be written").into());
        };
        let written = job.await;
        self.job = None;
        written?
    }

    /// Syncs the bytes and renames the file to its id; returns digest and size.
    pub(super) async fn finish(mut self, id: &str) -> Result<(String, u64), JobsError> {
        self.flush().await?;
        let writer = self.writer().await?;
        let path = self.files.path(id);
        let finishing = self.files.shared.tasks.spawn_blocking(move || {
            writer.file.as_file().sync_all()?;
            writer.file.persist(&path).map_err(|error| error.error)?;
            sync_folder(&path)?;
            let digest = writer.hash.finalize();
            Ok::<_, JobsError>(crate::jobs::hex(&digest))
        });
        Ok((finishing.await??, self.bytes))
    }
}

impl Drop for Incoming {
    /// Removing the file also runs on the pool.
    fn drop(&mut self) {
        let shared = &self.files.shared;
        shared.arriving.fetch_sub(self.bytes, Ordering::Relaxed);
        if let Some(job) = self.job.take() {
            let tasks = shared.tasks.clone();
            shared.tasks.spawn(async move {
                if let Ok(Ok(writer)) = job.await {
                    tasks.spawn_blocking(move || drop(writer));
                }
            });
        }
    }
}

/// Makes a folder that only the user can read, for what clients send.
pub(in crate::jobs) fn private_folder(folder: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
}

/// Syncs the folder of a file, so that its name is on disk.
pub(in crate::jobs) fn sync_folder(path: &Path) -> std::io::Result<()> {
    let Some(folder) = path.parent() else {
        return Ok(());
    };
    fs_err::File::open(folder)?.sync_all()
}
