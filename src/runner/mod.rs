//! The daemon's side of a runner: spawn, talk, watch, reap.
//!
//! *Invariant:* only the process task starts and stops the child; dropping the last handle, or
//! the end of the task, leaves no process behind.

// STUB (owner: scheduler/runner helper): spawn.rs, process.rs, connection.rs, log.rs.

use std::sync::Arc;

use crate::protocol::{
    EmbedParams, EmbedResult, Failure, FailureKind, Finished, GenerateParams, LoadedInfo, Token,
    TokenLogprob,
};

/// A way to use a loaded runner; cheap to clone.
#[derive(Debug, Clone)]
pub struct RunnerHandle {
    _inner: Arc<()>,
}

/// Why a request to a runner failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RunnerError {
    /// The engine refused or failed this request.
    #[error("{}", .0.message)]
    Failed(Failure),
    /// The process ended; the text carries its last log line where there is one.
    #[error(
        "model runner has unexpectedly stopped, this may be due to resource limitations or an internal error, check ollama server logs for details{0}"
    )]
    Gone(String),
}

impl RunnerError {
    pub fn kind(&self) -> FailureKind {
        match self {
            Self::Failed(failure) => failure.kind,
            Self::Gone(_) => FailureKind::Internal,
        }
    }
}

/// One piece of a generation.
#[derive(Debug, Clone, PartialEq)]
pub enum GenerationEvent {
    /// The prompt was accepted.
    Started { n_prompt: u32 },
    Text {
        text: String,
        logprobs: Vec<TokenLogprob>,
    },
    /// Always the last event of a generation that did not fail.
    Finished(Finished),
}

/// The events of one generation; dropping it cancels the request within one step.
#[derive(Debug)]
pub struct Generation {
    _private: (),
}

impl Generation {
    /// Waits for the next event; `None` after `Finished` or an error.
    pub async fn next(&mut self) -> Option<Result<GenerationEvent, RunnerError>> {
        todo!()
    }
}

impl RunnerHandle {
    pub fn info(&self) -> &LoadedInfo {
        todo!()
    }

    /// Submits a generation; returns at once with the stream of its events.
    ///
    /// # Errors
    /// `Gone` when the process has ended.
    pub async fn generate(&self, _params: GenerateParams) -> Result<Generation, RunnerError> {
        todo!()
    }

    /// # Errors
    /// What the engine reports, or `Gone`.
    pub async fn embed(&self, _params: EmbedParams) -> Result<EmbedResult, RunnerError> {
        todo!()
    }

    /// Tokenizes several texts in one round trip.
    ///
    /// # Errors
    /// What the engine reports, or `Gone`.
    pub async fn tokenize(
        &self,
        _texts: Vec<String>,
        _add_special: bool,
        _parse_special: bool,
    ) -> Result<Vec<Vec<Token>>, RunnerError> {
        todo!()
    }

    /// # Errors
    /// What the engine reports, or `Gone`.
    pub async fn detokenize(&self, _tokens: Vec<Token>) -> Result<String, RunnerError> {
        todo!()
    }
}
