//! A projector's file for libmtmd, which opens it twice, by its path.

use std::io::{self, Write as _};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{MemfdFlags, memfd_create};

use super::numbers::Ggml;
use crate::view::{Form, ModelFile, Reader, Segment};

/// A file with a path.
#[derive(Debug)]
pub(super) enum ProjectorFile {
    Original(PathBuf),
    /// A view, written to memory: it has a path as long as it is open.
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
        Ok(Self::in_memory(memory))
    }

    /// Makes a path for a file of which only the header will be read: the rest of a view is a hole.
    ///
    /// # Errors
    /// There is no memory.
    pub(super) fn open_header(file: &ModelFile) -> io::Result<Self> {
        let Form::View(view) = &file.form else {
            return Ok(Self::Original(file.path.clone()));
        };
        let memory = memfd_create(c"projector", MemfdFlags::CLOEXEC)?;
        let mut memory = std::fs::File::from(memory);
        let header = view.segments.iter().map_while(|segment| match segment {
            Segment::Bytes(bytes) => Some(bytes),
            _ => None,
        });
        for bytes in header {
            memory.write_all(bytes)?;
        }
        memory.set_len(view.n_bytes())?;
        Ok(Self::in_memory(memory))
    }

    fn in_memory(memory: std::fs::File) -> Self {
        let path = format!("/proc/self/fd/{}", memory.as_raw_fd());
        Self::InMemory {
            path: path.into(),
            _file: memory.into(),
        }
    }

    pub(super) fn path(&self) -> &Path {
        match self {
            Self::Original(path) | Self::InMemory { path, .. } => path,
        }
    }
}
