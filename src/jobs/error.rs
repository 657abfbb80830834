//! Errors of files and jobs.

use std::io;

use crate::database::DatabaseError;
use crate::units::format_bytes;

/// An error of files or jobs.
#[derive(Debug, thiserror::Error)]
pub enum JobsError {
    #[error("No such File object: {0}")]
    UnknownFile(String),
    #[error("No such Upload object: {0}")]
    UnknownUpload(String),
    #[error("No such Part object: {0}")]
    UnknownPart(String),
    #[error("Upload '{id}' is {status}.")]
    UploadIsOver { id: String, status: &'static str },
    #[error("The parts have {got} bytes together, but the upload was announced with {announced}.")]
    WrongLength { got: u64, announced: u64 },
    #[error("The MD5 checksum of the parts is '{got}', not the given one.")]
    WrongChecksum { got: String },
    #[error("No batch found with id '{0}'.")]
    UnknownBatch(String),
    #[error("Cannot cancel a batch with status '{status}'.")]
    TooLate { status: &'static str },
    #[error("Batch '{0}' has not ended: cancel it first.")]
    StillRuns(String),
    #[error("Too many batches or requests of batches wait already, try again later.")]
    TooManyJobs,
    #[error("The file is too large: at most {} are allowed.", format_bytes(*.0))]
    TooLarge(u64),
    /// The setting's limit on all files.
    #[error("All files together may take {} (DROVER_BATCH_DISK): delete some.", format_bytes(*.0))]
    NoRoom(u64),
    #[error("The disk is full.")]
    DiskFull,
    #[error(transparent)]
    Database(DatabaseError),
    #[error(transparent)]
    Io(io::Error),
}

impl JobsError {
    /// Whether the error will pass once there is room on the disk.
    pub fn is_full(&self) -> bool {
        matches!(self, Self::DiskFull | Self::NoRoom(_))
    }
}

impl From<DatabaseError> for JobsError {
    fn from(error: DatabaseError) -> Self {
        match error {
            DatabaseError::Full(_) => Self::DiskFull,
            error => Self::Database(error),
        }
    }
}

impl From<io::Error> for JobsError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull,
            _ => Self::Io(error),
        }
    }
}

/// A blocking job that panicked.
impl From<tokio::task::JoinError> for JobsError {
    fn from(error: tokio::task::JoinError) -> Self {
        Self::Io(error.into())
    }
}
