//! Typed HTTP client of our own API: the command line's only way to the daemon.
//!
//! One method per endpoint. It also works against an Ollama daemon, as Ollama's client works
//! against ours. *Invariant:* nothing here touches the file system or the terminal.

mod batches;
mod cpu;
mod error;
mod generate;
mod keys;
mod lines;
mod models;
mod openai;
mod state;
#[cfg(test)]
mod tests;
mod transfer;

pub use cpu::Cpu;
pub use error::ClientError;
pub use lines::Lines;
#[cfg(any(test, fuzzing))]
pub use lines::lines_for_fuzzing;
#[cfg(any(test, fuzzing))]
pub use openai::events_for_fuzzing;
pub use openai::{OpenAiChoice, OpenAiDelta, OpenAiEvent, OpenAiEvents, OpenAiUsage};
pub use state::States;

use std::fmt;
use std::time::Duration;

use reqwest::{Method, RequestBuilder, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::config::HostSpec;

/// The version of Ollama that drover replaces. Clients compare it as a semantic version, and its registry refuses
/// models that need a newer one. `docs/state.md` says what it promises, and why it is not a later one.
pub const OLLAMA_VERSION: &str = "0.34.3";

/// The longest wait for a connection; answers may take as long as they like.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// A client of one daemon; cheap to clone.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    base_url: String,
    key: Option<String>,
}

impl fmt::Debug for Client {
    /// Prints everything except the key.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = formatter.debug_struct("Client");
        shown
            .field("base_url", &self.base_url)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// Makes a client of the daemon at `host`, without connecting.
    ///
    /// # Errors
    /// Fails when the system's certificates cannot be read (only for `https`).
    pub fn new(host: &HostSpec) -> Result<Self, ClientError> {
        // Fails only if a provider is already installed.
        let _ = rustls::crypto::ring::default_provider().install_default();
        // Reusing a connection that was idle while the user typed gains nothing, and it may be dead.
        let mut builder = reqwest::Client::builder()
            .user_agent(user_agent())
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_max_idle_per_host(0);
        if host.is_loopback() {
            builder = builder.no_proxy();
        }
        if host.scheme == "http" {
            // Skipped for plain HTTP: reading the system's certificates takes longer than most commands.
            builder = builder.tls_certs_only([]);
        }
        let http = builder.build().map_err(ClientError::from)?;
        Ok(Self {
            http,
            base_url: host.base_url(),
            key: None,
        })
    }

    /// Sends this key with every request.
    #[must_use]
    pub fn with_key(mut self, key: Option<String>) -> Self {
        self.key = key;
        self
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self
            .http
            .request(method, format!("{}{path}", self.base_url));
        match &self.key {
            Some(key) => request.bearer_auth(key),
            None => request,
        }
    }

    /// Sends a request and returns the answer if its status is a success.
    async fn send(request: RequestBuilder) -> Result<Response, ClientError> {
        let response = request.header("accept", "application/json").send().await?;
        if response.status().is_success() {
            return Ok(response);
        }
        Err(error::from_response(response).await)
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        let response = Self::send(self.request(Method::GET, path)).await?;
        Ok(response.json().await?)
    }

    async fn post<B: Serialize, T: DeserializeOwned>(
        &self,
        path: &str,
        body: &B,
    ) -> Result<T, ClientError> {
        let response = Self::send(self.request(Method::POST, path).json(body)).await?;
        Ok(response.json().await?)
    }

    async fn post_stream<B: Serialize, T: DeserializeOwned>(
        &self,
        path: &str,
        body: &B,
    ) -> Result<Lines<T>, ClientError> {
        let request = self.request(Method::POST, path).json(body);
        let response = request
            .header("accept", "application/x-ndjson")
            .send()
            .await?;
        if response.status().is_success() {
            return Ok(Lines::new(response));
        }
        Err(error::from_response(response).await.with_status_line())
    }
}

fn user_agent() -> String {
    let arch = if cfg!(target_arch = "x86_64") {
        "x86_64"
    } else if cfg!(target_arch = "aarch64") {
        "arm64"
    } else {
        "other"
    };
    let system = if cfg!(target_os = "linux") {
        "linux"
    } else {
        "other"
    };
    format!("drover/{} ({arch} {system})", env!("CARGO_PKG_VERSION"))
}
