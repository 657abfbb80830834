//! A projector's file for libmtmd, which opens it by a path, twice.

use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{MemfdFlags, memfd_create};

use super::numbers::Ggml;
use crate::view::{Form, ModelFile, Reader};

/// A file with a path.
#[derive(Debug)]
pub(super) enum ProjectorFile {
    Original(PathBuf),
    /// A view, written to memory: there is a name for it as long as it is open.
    InMemory {
        path: PathBuf,
        _file: OwnedFd,
    },
}

impl ProjectorFile {
    /// Makes a path for a file.
    ///
    /// # Errors
    /// Fails when the file cannot be read, or there is no memory.
    pub(super) fn open(file: &ModelFile) -> io::Result<Self> {
        let source = fs_err::File::open(&file.path)?;
        let Form::View(view) = &file.form else {
            return Ok(Self::Original(file.path.clone()));
        };
        let memory = memfd_create(c"projector", MemfdFlags::CLOEXEC)?;
        let mut memory = std::fs::File::from(memory);
        let mut reader = Reader::new(source, view, Ggml);
        io::copy(&mut reader, &mut memory)?;
        let path = format!("/proc/self/fd/{}", memory.as_raw_fd());
        Ok(Self::InMemory {
            path: path.into(),
            _file: memory.into(),
        })
    }

    pub(super) fn path(&self) -> &Path {
        match self {
            Self::Original(path) | Self::InMemory { path, .. } => path,
        }
    }
}
