//! The HTTP server: routes, middleware, the daemon's start and stop.
//!
//! Handlers decode, call a use case and encode; lower modules make the decisions. *Invariant:* `error.rs`
//! is the only place that turns an error into a status.

mod accept;
mod access;
mod admin;
mod anthropic;
mod assemble;
mod audit;
mod bind;
mod browser;
mod connection;
mod error;
mod extra;
mod extract;
mod gate;
mod lifecycle;
mod limits;
mod lines;
mod memory;
mod middleware;
mod ollama;
mod openai;
mod openapi;
mod origin;
mod query;
mod router;
mod state;
mod stream;
mod supervisor;
#[cfg(test)]
mod tests;
mod tls;
mod ui;
mod watched;

#[cfg(fuzzing)]
pub use extract::decode_for_fuzzing;
pub use lifecycle::serve;

use crate::keys::KeysError;
use crate::registry::RegistryError;
use crate::store::StoreError;

/// Why the daemon could not start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error(
        "listen tcp {address}: bind: address already in use\n{occupant}; stop it (`systemctl stop ollama` where Ollama is a service), or set OLLAMA_HOST to another address"
    )]
    InUse { address: String, occupant: String },
    #[error("listen tcp {address}: bind: {source}; OLLAMA_HOST says where to listen")]
    Bind {
        address: String,
        source: std::io::Error,
    },
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Registry(#[from] RegistryError),
    #[error("{path} (DROVER_TLS_CERT, DROVER_TLS_KEY): {error}")]
    Tls { path: String, error: String },
    #[error(transparent)]
    Keys(#[from] KeysError),
    #[error(transparent)]
    Io(#[from] std::io::Error),
}
