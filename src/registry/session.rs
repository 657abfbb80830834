//! One model's conversation with one registry: addresses, token, one retry after a 401.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use reqwest::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use reqwest::{Client, ClientBuilder, RequestBuilder, Response, StatusCode, Url, redirect};
use serde::Deserialize;

use super::auth::{Challenge, authorization};
use super::{Key, RegistryError, Settings};
use crate::client::OLLAMA_VERSION;
use crate::model::ModelName;
use crate::model::name::DEFAULT_HOST;

/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// As much of an error's text is passed on.
const MAX_ERROR_BYTES: usize = 4096;

/// Answers of the protocol that are held in memory are not longer than this.
pub(super) const MAX_ANSWER_BYTES: usize = 4 << 20;

/// The connections; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Http {
    usual: Clients,
    /// Never by a proxy: no other machine reaches what is asked for.
    loopback: Clients,
}

#[derive(Debug, Clone)]
struct Clients {
    /// Follows redirects; drops the token where they lead to another host.
    following: Client,
    /// Returns redirects: uploads answer with them.
    direct: Client,
}

impl Http {
    pub(super) fn new(settings: &Settings) -> Result<Self, RegistryError> {
        // Already installed is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Ok(Self {
            usual: Clients::new(settings, Client::builder)?,
            loopback: Clients::new(settings, || Client::builder().no_proxy())?,
        })
    }

    fn of(&self, address: &str) -> &Clients {
        let url = Url::parse(address);
        let is_loopback = url.is_ok_and(|url| is_loopback(&url));
        if is_loopback {
            &self.loopback
        } else {
            &self.usual
        }
    }
}

impl Clients {
    fn new(settings: &Settings, start: impl Fn() -> ClientBuilder) -> Result<Self, RegistryError> {
        let build = |policy: redirect::Policy, silence: Option<Duration>| {
            let builder = start()
                .user_agent(user_agent())
                .connect_timeout(CONNECT_TIMEOUT)
                // Parts come over connections of their own.
                .http1_only()
                .redirect(policy);
            match silence {
                Some(silence) => builder.read_timeout(silence),
                None => builder,
            }
            .build()
        };
        Ok(Self {
            following: build(redirect::Policy::limited(10), Some(settings.stall))?,
            // Who takes an upload is silent until the last byte is there.
            direct: build(redirect::Policy::none(), None)?,
        })
    }
}

/// One model on one registry.
#[derive(Debug)]
pub(super) struct Session {
    http: Clients,
    /// `https://host/v2/namespace/model`
    base: String,
    tag: String,
    key: std::path::PathBuf,
    token: Mutex<Option<String>>,
}

#[derive(Deserialize)]
struct Token {
    #[serde(alias = "access_token")]
    token: String,
}

impl Session {
    /// The registry that a model's name says.
    pub(super) fn new(http: &Http, settings: &Settings, name: &ModelName, insecure: bool) -> Self {
        let scheme = if insecure { "http" } else { "https" };
        Self::at(http, settings, name, &format!("{scheme}://{}", name.host))
    }

    /// The registries to look for a model in, in order: mirrors stand in for the default one.
    pub(super) fn candidates(
        http: &Http,
        settings: &Settings,
        name: &ModelName,
        insecure: bool,
    ) -> Vec<Self> {
        let is_default = name.host.eq_ignore_ascii_case(DEFAULT_HOST);
        let mirrors = settings.mirrors.iter().filter(|_| is_default);
        let mirrors = mirrors.map(|mirror| Self::at(http, settings, name, mirror));
        mirrors
            .chain(std::iter::once_with(|| {
                Self::new(http, settings, name, insecure)
            }))
            .collect()
    }

    fn at(http: &Http, settings: &Settings, name: &ModelName, address: &str) -> Self {
        let address = address.trim_end_matches('/');
        Self {
            http: http.of(address).clone(),
            base: format!("{address}/v2/{}/{}", name.namespace, name.model),
            tag: name.tag.clone(),
            key: settings.key.clone(),
            token: Mutex::new(None),
        }
    }

    pub(super) fn base(&self) -> &str {
        &self.base
    }

    pub(super) fn manifest_url(&self) -> String {
        format!("{}/manifests/{}", self.base, self.tag)
    }

    pub(super) fn blob_url(&self, digest: &str) -> String {
        format!("{}/blobs/{digest}", self.base)
    }

    /// Sends a request, with redirects followed; an answer is a success.
    ///
    /// # Errors
    /// See [`RegistryError`].
    pub(super) async fn send(
        &self,
        make: impl Fn(&Client) -> RequestBuilder + Send + Sync,
    ) -> Result<Response, RegistryError> {
        refused(self.authorized(&self.http.following, make).await?).await
    }

    /// Sends a request; an answer may be a redirect.
    ///
    /// # Errors
    /// See [`RegistryError`].
    pub(super) async fn send_direct(
        &self,
        make: impl Fn(&Client) -> RequestBuilder + Send + Sync,
    ) -> Result<Response, RegistryError> {
        let response = self.authorized(&self.http.direct, make).await?;
        if response.status().is_redirection() {
            return Ok(response);
        }
        refused(response).await
    }

    /// Sends a request to an address that somebody signed: without a token.
    ///
    /// # Errors
    /// See [`RegistryError`].
    pub(super) async fn send_signed(
        &self,
        make: impl FnOnce(&Client) -> RequestBuilder + Send,
    ) -> Result<Response, RegistryError> {
        refused(make(&self.http.direct).send().await?).await
    }

    /// Sends a request with the token, if there is one; gets one and tries once more after a 401.
    async fn authorized(
        &self,
        client: &Client,
        make: impl Fn(&Client) -> RequestBuilder + Send + Sync,
    ) -> Result<Response, RegistryError> {
        let response = self.with_token(make(client)).send().await?;
        if response.status() != StatusCode::UNAUTHORIZED {
            return Ok(response);
        }
        let header = response.headers().get(WWW_AUTHENTICATE);
        let header = header.and_then(|value| value.to_str().ok());
        let challenge = Challenge::parse(header.unwrap_or_default());
        if challenge.realm.is_empty() {
            return Err(RegistryError::Unauthorized);
        }
        drop(response);
        // Whoever a redirect led to gets nothing signed.
        let asked = Url::parse(&self.base)
            .map_err(|error| RegistryError::Malformed(format!("{}: {error}", self.base)))?;
        let token = self.fetch_token(&challenge, &asked).await?;
        *self.lock() = Some(token);
        let response = self.with_token(make(client)).send().await?;
        if response.status() == StatusCode::UNAUTHORIZED {
            return Err(RegistryError::Unauthorized);
        }
        Ok(response)
    }

    fn with_token(&self, request: RequestBuilder) -> RequestBuilder {
        match self.lock().as_deref() {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    async fn fetch_token(
        &self,
        challenge: &Challenge,
        asked: &Url,
    ) -> Result<String, RegistryError> {
        let mut nonce = [0; 16];
        fastrand::fill(&mut nonce);
        let url = challenge.token_url(asked, Timestamp::now(), nonce)?;
        let path = self.key.clone();
        let key = tokio::task::spawn_blocking(move || Key::load_or_create(&path))
            .await
            .map_err(std::io::Error::from)??;
        let request = self.http.following.get(url.clone());
        let request = request.header(AUTHORIZATION, authorization(&key, &url)?);
        let answer = refused(request.send().await?).await;
        let answer = answer.map_err(|error| error.with_key(&self.key))?;
        let body = body(answer, MAX_ANSWER_BYTES).await?;
        let token: Token = serde_json::from_slice(&body)
            .map_err(|error| RegistryError::Malformed(format!("the registry's token: {error}")))?;
        Ok(token.token)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<String>> {
        self.token.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads a whole answer, if it is not too long.
///
/// # Errors
/// The connection breaks, or there is more than `most` bytes.
pub(super) async fn body(mut response: Response, most: usize) -> Result<Vec<u8>, RegistryError> {
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if bytes.len() + chunk.len() > most {
            return Err(RegistryError::Malformed(format!(
                "the registry's answer is longer than {most} bytes"
            )));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

/// Turns a refusal into an error.
async fn refused(mut response: Response) -> Result<Response, RegistryError> {
    let status = response.status();
    if status == StatusCode::NOT_FOUND {
        return Err(RegistryError::NotFound);
    }
    if status.as_u16() < 400 {
        return Ok(response);
    }
    let mut text = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        text.extend_from_slice(&chunk[..chunk.len().min(MAX_ERROR_BYTES - text.len())]);
        if text.len() >= MAX_ERROR_BYTES {
            break;
        }
    }
    Err(RegistryError::Status {
        status: status.as_u16(),
        body: String::from_utf8_lossy(&text).trim().to_owned(),
    })
}

/// Whether an address is on this machine, by what it says.
fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let address: Result<std::net::IpAddr, _> = host.parse();
    match address {
        Ok(address) => address.is_loopback(),
        Err(_) => host.eq_ignore_ascii_case("localhost"),
    }
}

/// In Ollama's form: the public registry refuses models to versions that it finds too old.
fn user_agent() -> String {
    let arch = if cfg!(target_arch = "aarch64") {
        "arm64"
    } else {
        "amd64"
    };
    format!(
        "ollama/{OLLAMA_VERSION} ({arch} linux) drover/{}",
        env!("CARGO_PKG_VERSION")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_is_known_by_name_and_number() {
        for (address, expected) in [
            ("http://localhost:5000", true),
            ("https://LOCALHOST", true),
            ("http://127.0.0.9:1", true),
            ("http://[::1]:5000", true),
            ("http://10.0.0.1", false),
            ("http://localhost.example", false),
            ("http://127.0.0.1.example", false),
        ] {
            assert_eq!(
                is_loopback(&Url::parse(address).unwrap()),
                expected,
                "{address}"
            );
        }
    }
}
